"""Errors that commands about brokers share."""

import click


class NoBroker(click.ClickException):
    """There is no broker to be had."""

    exit_code = 3


class NodeEnded(click.ClickException):
    """The node of a broker has ended that should run on."""

    exit_code = 1
