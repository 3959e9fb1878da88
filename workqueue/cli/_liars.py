"""Names of liars, as people type them."""

import click

from workqueue.guarantee.lying import no_such_liar


def check_liar(name: str) -> None:
    """See whether there is a liar of that name.

    :raises click.UsageError: if there is none; it says which were perhaps meant.
    """
    if wrong := no_such_liar(name):
        raise click.UsageError(wrong)
