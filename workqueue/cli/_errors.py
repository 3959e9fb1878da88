"""Errors that commands about brokers share."""

import click


class NoBroker(click.ClickException):
    """There is no broker to be had."""

    exit_code = 3
