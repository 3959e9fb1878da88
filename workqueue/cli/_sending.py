"""``workqueue new-task -``: a task for each line of a stream, pipelined, and an account of what became of each."""

import contextlib
import functools
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import FrameType
from typing import BinaryIO, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from workqueue.errors import OutcomeUnknown, PublishError, WorkqueueError
from workqueue.producer import Producer
from workqueue.queue import Queue

_SECONDS = 0.1  # between two updates on a terminal
_SECONDS_ELSEWHERE = 5.0


class Sending:
    """Sends lines until there are no more, until one is not confirmed, or until CTRL+C. Counts lines from 1.

    After a failure nothing more is sent: what follows would most probably fail as well, and where to go on is plain.
    So what has to be kept is bounded by what may wait for its confirmation at a time.

    * ``confirmed``, ``skipped``: how many tasks are in the queue, and how many lines were empty.
    * ``absent``, ``unknown``: the numbers of the lines whose tasks are not in the queue, or may be, or may not.
    * ``read``: the number of the last line that was sent or skipped. ``complete``: whether that was the last of all.
    * ``error``: the first failure. ``interrupted``: whether CTRL+C ended it.

    All are final once the producer is closed.
    """

    def __init__(self, producer: Producer, queue: Queue) -> None:
        self._producer = producer
        self._queue = queue
        self._lock = threading.Lock()
        self._reading = False
        self.confirmed = self.skipped = self.read = 0
        self.absent: list[int] = []
        self.unknown: list[int] = []
        self.error: WorkqueueError | None = None
        self.interrupted = self.complete = False

    @property
    def sent(self) -> int:
        """How many tasks were given to the producer."""
        return self.read - self.skipped

    def run(self, lines: BinaryIO, tell: Callable[[Self, int], object]) -> None:
        """Send what there is to read. ``tell`` hears now and then how far it is, and how many bytes that were."""
        size = 0
        with self._interruptible():
            while line := self._next(lines):
                size += len(line)
                body = line.removesuffix(b"\n")
                try:
                    if body:
                        future = self._producer.send_async(self._queue, body)
                        future.add_done_callback(functools.partial(self._settled, self.read + 1))
                    else:
                        self.skipped += 1
                except WorkqueueError as error:
                    self._failed(error)
                    return  # this line was not sent
                self.read += 1
                tell(self, size)

    def _next(self, lines: BinaryIO) -> bytes:
        try:
            self._reading = True
            line = b"" if self.interrupted else lines.readline()
            self.complete = not line and not self.interrupted
        except KeyboardInterrupt:
            return b""
        finally:
            self._reading = False
        # It may have failed while there was nothing to read.
        return b"" if self._has_failed() else line

    def _settled(self, number: int, future: "Future[None]") -> None:
        error = future.exception()
        with self._lock:
            if error is None:
                self.confirmed += 1
                return
            (self.unknown if isinstance(error, OutcomeUnknown) else self.absent).append(number)
        assert isinstance(error, PublishError)
        self._failed(error)

    def _has_failed(self) -> bool:
        return self.error is not None

    def _failed(self, error: WorkqueueError) -> None:
        with self._lock:
            self.error = self.error or error

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """CTRL+C cuts short the wait for a line, and nothing else: a task is counted, or was not sent."""

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            if self._reading or self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt
            self.interrupted = True

        previous = signal.signal(signal.SIGINT, on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)


class Shown:
    """Shows how far it is: a bar on a terminal, a line every few seconds elsewhere; nothing while people type."""

    def __init__(self, lines: BinaryIO) -> None:
        self._console = Console(stderr=True)
        self._started = time.monotonic()
        self._due = self._started + _SECONDS_ELSEWHERE
        self._bar: Progress | None = None
        self._quiet = lines.isatty()
        if self._console.is_terminal and not self._quiet:
            columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=_size(lines))
            self._due = self._started

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, sending: Sending, size: int) -> None:
        """Show it, unless that was done a moment ago."""
        moment = time.monotonic()
        if self._quiet or moment < self._due:
            return
        rate = sending.confirmed / max(moment - self._started, 0.001)
        line = f"{sending.sent:,} sent, {sending.confirmed:,} confirmed ({rate:,.0f} a second)"
        if self._bar is not None:
            self._due = moment + _SECONDS
            self._bar.update(self._task, description=line, completed=size)
        else:
            self._due = moment + _SECONDS_ELSEWHERE
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _size(lines: BinaryIO) -> int | None:
    """How many bytes there will be, if that can be known."""
    status = os.fstat(lines.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def ranges(numbers: list[int]) -> str:
    """Numbers as people write them: 1-3, 7."""
    parts: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1] = (parts[-1][0], number)
        else:
            parts.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
