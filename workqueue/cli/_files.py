"""The file that a report is to go to, as an option of a command named it."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from workqueue.report import writing


class ReportFile:
    """Where a report goes: a file, whatever else the path leads to, or nowhere if it is None.

    :param path: what the user gave.
    :param what: what goes there, to begin a sentence with.
    """

    def __init__(self, path: Path | None, what: str = "The report") -> None:
        self._path = path
        self._what = what
        self._failure: OSError | None = None

    def check(self) -> None:
        """See to it, before anything is done, that it can be written.

        :raises click.UsageError: if not.
        """
        if self._path is not None:
            with self._usage():
                writing.check_writable(self._path)

    def discard(self) -> None:
        """Remove an earlier report, which must not pass for that of a run that comes to none."""
        if self._path is not None:
            with self._usage():
                writing.discard(self._path)

    def begin(self, content: Mapping[str, Any]) -> None:
        """Write what is to be there should the run be killed; what cannot be written over gets the last word alone."""
        if self._path is not None and writing.can_be_replaced(self._path):
            with self._usage():
                writing.write_json(content, self._path)

    def write_json(self, content: Mapping[str, Any]) -> None:
        """Write it as JSON. If that fails, `settle` tells, so that what is shown on the terminal comes before."""
        self.write_text(writing.as_json(content))

    def write_text(self, text: str) -> None:
        """Write it. If that fails, `settle` tells, so that what is shown on the terminal comes before."""
        if self._path is None:
            return
        try:
            writing.write_text(text, self._path)
        except OSError as error:
            self._failure = error

    def settle(self, code: int) -> int:
        """What a command ends with that would end with this code: not with 0 if its report could not be written."""
        if self._failure is None:
            return code
        click.echo(f"Error: {self._complaint(self._failure)}", err=True)
        return code or 2

    @contextlib.contextmanager
    def _usage(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise click.UsageError(self._complaint(error)) from error

    def _complaint(self, error: OSError) -> str:
        return f"{self._what} cannot be written to {self._path}: {error.strerror or error}."
