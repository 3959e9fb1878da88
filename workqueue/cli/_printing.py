"""Printing what has happened already, where standard output may not take it: a full disk, a pipe that nobody reads."""

import contextlib
import os
import sys

import click


def print_done(line: str, *, else_say: str) -> None:
    """Print a line about what was done. If that cannot be, say so on standard error, with what was done.

    It was done all the same, so this is no failure of the command: whoever tries again would do it twice.
    """
    try:
        click.echo(line)
    except (OSError, UnicodeEncodeError) as error:
        with contextlib.suppress(OSError):
            click.echo(f"Warning: standard output cannot be written to: {why(error)}. {else_say}", err=True)
        # What is left in the buffer would fail once more when the interpreter ends, and have it end with 120.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def why(error: OSError | UnicodeEncodeError) -> str:
    """What is wrong with a stream, in the system's words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
