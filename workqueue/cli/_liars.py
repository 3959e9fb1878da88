"""Names of liars, as people type them."""

import difflib

import click

from workqueue.wire.liars import KNOWN


def check_liar(name: str) -> None:
    """See whether there is a liar of that name.

    :raises click.UsageError: if there is none; it says which were perhaps meant.
    """
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`workqueue liar` lists them."
        raise click.UsageError(f"There is no liar {name!r}; {hint}")
