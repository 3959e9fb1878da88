"""Standard output that does not arrive: the disk behind it is full, or its reader has gone."""

import contextlib
import errno
import io
import sys
from collections.abc import Iterator
from typing import IO, Any

import click


class OutputLost(click.ClickException):
    """What a command had to say was not taken. It ends with 2: with 1 it would say that it has found something."""

    exit_code = 2

    def __init__(self, error: OSError) -> None:
        super().__init__(f"Standard output cannot be written to: {error.strerror or error}. Not all of it was shown.")
        self._reader_has_gone = error.errno == errno.EPIPE

    def show(self, file: IO[Any] | None = None) -> None:
        """Say so, unless it was the reader's will, as that of ``head`` is."""
        if not self._reader_has_gone:
            super().show(file)


class _Output(io.FileIO):
    """Raises `OutputLost` instead of an `OSError`, which click and rich would end with exit code 1."""

    lost: OutputLost | None = None

    def write(self, data: Any, /) -> int:
        if self.lost is not None:
            return memoryview(data).nbytes  # what is left in buffers, flushed when they end, fails no second time
        try:
            return super().write(data)
        except OSError as error:
            self.lost = OutputLost(error)
            raise self.lost from error


@contextlib.contextmanager
def output_has_to_arrive() -> Iterator[None]:
    """Within it, `OutputLost` is raised if standard output does not take what a command has to say."""
    plain = sys.stdout
    if plain is None or plain is not sys.__stdout__ or not isinstance(plain, io.TextIOWrapper):
        yield  # there is none, or somebody listens in
        return
    plain.flush()
    output = _Output(plain.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(output), plain.encoding, plain.errors, line_buffering=plain.line_buffering
    )
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout = plain
    if output.lost is not None:  # and somebody made light of it
        raise output.lost
