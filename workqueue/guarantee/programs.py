"""Programs that specs run in processes of their own: what they print, and the signals that end them."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import HARNESS_PATIENCE, barrier, claim
from workqueue.warden import Warden

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a program printed, standard output and error alike.

    :param at: :func:`time.monotonic` reading when it was read.
    """

    at: float
    text: str


class Program:
    """A running (or ended) program. It dies with the run, however the run ends."""

    def __init__(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], warden: Warden, evidence: Evidence
    ) -> None:
        self.name = name
        self._evidence = evidence
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        stdin, self._stdin = os.pipe()
        self._stdout, stdout = os.pipe()
        try:
            self._process = warden.spawn(
                [sys.executable, "-P", *argv], env={**_inherited(), **env}, stdin=stdin, stdout=stdout, stderr=stdout
            )
        finally:
            os.close(stdin)
            os.close(stdout)
        self._reader = threading.Thread(target=self._read, name=f"reader of {name}", daemon=True)
        self._reader.start()

    def __repr__(self) -> str:
        return f"<{self.name} {self._state()}, printed {self.output!r}>"

    @property
    def lines(self) -> list[Line]:
        """What it printed so far."""
        with self._lock:
            return list(self._lines)

    @property
    def output(self) -> str:
        """What it printed so far, as one text."""
        return "".join(f"{line.text}\n" for line in self.lines)

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def prints(self, text: str, *, within: float | None = None) -> Line:
        """Claim that it prints a line; returns that line."""
        return claim(f"{self.name} prints {text!r}", lambda: self._printed(text), within=within)

    def wait_until_printed(self, text: str) -> Line:
        """Wait until it has printed a line that the harness needs to see."""
        return self._barrier(f"{self.name} prints {text!r}", lambda: self._printed(text))

    def wait_until_ended(self) -> int:
        """Wait until it has ended, and all that it printed was read; returns its exit status."""
        try:
            status = self._process.wait(HARNESS_PATIENCE)
        except TimeoutError as error:
            raise Unknown(f"{self!r} does not end within {HARNESS_PATIENCE:g} s") from error
        self._reader.join(HARNESS_PATIENCE)
        return status

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self._end(signal.SIGKILL)

    def interrupt(self) -> None:
        """Ctrl+C (SIGINT); returns when the process is gone."""
        self._end(signal.SIGINT)

    def dispose(self) -> None:
        """End it, whatever it is doing, and free its pipes."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(HARNESS_PATIENCE)
        os.close(self._stdin)
        self._reader.join()
        os.close(self._stdout)

    def _end(self, number: signal.Signals) -> None:
        if (status := self._process.poll()) is not None:
            raise Unknown(f"{self.name} had already ended (status {status}) before {number.name} was sent")
        self._process.send_signal(number)
        self._gone(f"{number.name} was sent to process {self._process.pid}")

    def _gone(self, what: str) -> None:
        status = self.wait_until_ended()
        self._evidence.proof(self.name, f"{what}; it is gone (status {status})")

    def _state(self) -> str:
        status = self._process.poll()
        return "running" if status is None else f"ended with {status}"

    def _write(self, line: str) -> None:
        try:
            os.write(self._stdin, line.encode() + b"\n")
        except BrokenPipeError as error:
            raise Unknown(f"{self!r} cannot be told to {line}: it has ended") from error

    def _barrier(self, what: str, condition: Callable[[], T | None]) -> T:
        try:
            return barrier(what, condition)
        except Unknown as error:
            raise Unknown(f"{error}; {self!r}") from None

    def _printed(self, text: str) -> Line | None:
        return next((line for line in self.lines if line.text == text), None)

    def _read(self) -> None:
        with open(self._stdout, encoding="utf-8", errors="replace", closefd=False) as lines:
            for line in lines:
                self._keep(Line(time.monotonic(), line.rstrip("\n")))

    def _keep(self, line: Line) -> None:
        with self._lock:
            self._lines.append(line)


def _inherited() -> dict[str, str]:
    """Our environment without what is meant for a user's own workers, such as the handler that they are to call."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("WORKQUEUE_") or name == "WORKQUEUE_PATIENCE"
    }
