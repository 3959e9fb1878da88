"""``workqueue new-task -``: a task for each line of a stream, pipelined, and an account of what became of each."""

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

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from workqueue.errors import OutcomeUnknown, PublishError, WorkqueueError
from workqueue.producer import Producer
from workqueue.queue import Queue

_SECONDS = 0.1  # between two updates on a terminal
_SECONDS_ELSEWHERE = 5.0
_GLANCE = 0.1  # seconds after which a wait is begun anew: a signal just before its beginning does not end it
_PATIENCE = 10.0  # seconds that the broker has to answer for what was sent, after a signal; Kubernetes gives us 30
_ONE = 1.0  # seconds in which signals count as one: timeout(1) sends two, to its child and to the group that it is in
_CHUNK = 1 << 16  # bytes to read at a time


class Interrupts:
    """Takes CTRL+C and SIGTERM while it is entered, and does nothing but note them.

    ``first``: when the first has come. ``again``: whether there was another that was meant as one.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self.again = False

    def __enter__(self) -> Self:
        # Also where whoever started us had SIGINT ignored, as shells do for what they start in the background.
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        # No lock and no exception here: it may have come in the middle of anything.
        now = time.monotonic()
        if self.first is None:
            self.first = now
        self.again = self.again or now - self.first > _ONE


class Sending:
    """Sends lines until there are no more, until one is not confirmed, or until a signal. Counts lines from 1.

    After a failure nothing more is sent: what follows would most probably fail as well, and where to go on is plain.
    So what has to be kept is bounded by what may wait for its confirmation at a time.

    * ``declare``: connects, and returns the queue.
    * ``confirmed``, ``skipped``: how many tasks are in the queue, and how many lines were empty.
    * ``absent``, ``unknown``: the numbers of the lines whose tasks are not in the queue, or may be, or may not.
    * ``read``: the number of the last line that was sent or skipped. ``complete``: whether that was the last of all.
    * ``size``: how many bytes that were.
    * ``error``: the first failure. ``unreadable``: why no more could be read.
    * ``settled``: whether each task that was sent has had its answer. ``connecting``: whether none could be sent yet.

    All are final once ``run`` returns. A thread of its own reads and sends, so that whatever that waits for, a signal
    has only to be noted, and is taken where nothing else is going on: a task is counted, or was not sent.
    """

    def __init__(self, lines: BinaryIO, producer: Producer, declare: Callable[[], Queue]) -> None:
        self._lines = lines
        self._producer = producer
        self._declare = declare
        self._changed = threading.Condition()  # guards all below
        self._pending: set[int] = set()  # the lines that have no answer yet
        self._stopped = self._ended = False
        self._raised: BaseException | None = None
        self.confirmed = self.skipped = self.read = self.size = 0
        self.absent: list[int] = []
        self.unknown: list[int] = []
        self.error: WorkqueueError | None = None
        self.unreadable: OSError | None = None
        self.complete = False
        self.settled = self.connecting = True

    @property
    def sent(self) -> int:
        """How many tasks were given to the producer."""
        return self.read - self.skipped

    def run(self, interrupts: Interrupts, tell: Callable[[Self], object]) -> None:
        """Send what there is to read, and wait for its answers. ``tell`` is called now and then.

        Raises what ``declare`` raises.
        """
        threading.Thread(target=self._run, name="lines", daemon=True).start()
        told = False
        while not self._wait(_GLANCE):
            tell(self)
            if interrupts.first is None:
                continue
            waited = time.monotonic() - interrupts.first
            with self._changed:
                self._stopped = True
                pending = len(self._pending)
                if pending and (interrupts.again or waited > _PATIENCE):
                    self.settled = False
                    self.unknown += self._pending
                    break
            if pending and waited > _ONE and not told:
                told = True
                click.echo(
                    f"The broker has not answered yet for {pending:,} of the tasks. This waits {_PATIENCE:g} s for it "
                    "altogether, unless it is interrupted again.",
                    err=True,
                )
        if self._raised is not None:
            raise self._raised

    def _wait(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: (self._ended or self._stopped) and not self._pending, seconds)

    def _run(self) -> None:
        try:
            try:
                queue = self._declare()
            finally:
                self.connecting = False
            # Not ended by a line that was not sent, nor by what cannot be read.
            self.complete = all(self._send(queue, line) for line in self._read()) and self.unreadable is None
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
            self._raised = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _read(self) -> Iterator[bytes]:
        """Each line without its newline, as soon as it is there."""
        # Not by the stream's own methods: it could not be closed when the interpreter ends in the middle of one.
        begun: list[bytes] = []
        while chunk := self._read_some():
            first, *more = chunk.split(b"\n")
            begun.append(first)
            if more:
                yield b"".join(begun)
                yield from more[:-1]
                begun = more[-1:]
        if (last := b"".join(begun)) and self.unreadable is None:
            yield last

    def _read_some(self) -> bytes:
        try:
            return os.read(self._lines.fileno(), _CHUNK)
        except OSError as error:
            self.unreadable = error
            return b""

    def _send(self, queue: Queue, line: bytes) -> bool:
        with self._changed:
            if self._stopped or self.error is not None:  # it may have failed while there was nothing to read
                return False
            self.read += 1
            self.size += len(line) + 1
            number = self.read
            if not line:
                self.skipped += 1
                return True
            self._pending.add(number)
        try:
            future = self._producer.send_async(queue, line)
        except WorkqueueError as error:
            with self._changed:
                if self.settled:
                    self.read -= 1  # it was not sent
                    self._answered(number, error)
            return False
        future.add_done_callback(functools.partial(self._settle, number))
        return True

    def _settle(self, number: int, future: "Future[None]") -> None:
        error = future.exception()
        with self._changed:
            if not self.settled:
                return  # nobody waits for it any more, and it was told of
            if error is None:
                self.confirmed += 1
            else:
                assert isinstance(error, PublishError)
                (self.unknown if isinstance(error, OutcomeUnknown) else self.absent).append(number)
            self._answered(number, error)

    def _answered(self, number: int, error: WorkqueueError | None) -> None:
        self.error = self.error or error
        self._pending.discard(number)
        if not self._pending:
            self._changed.notify_all()


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

    def __call__(self, sending: Sending) -> None:
        """Show it, unless that was done a moment ago."""
        moment = time.monotonic()
        if self._quiet or moment < self._due:
            return
        rate = sending.confirmed / max(moment - self._started, 0.001)
        line = f"{sending.sent:,} sent, {sending.confirmed:,} confirmed ({rate:,.0f} a second)"
        if self._bar is not None:
            self._due = moment + _SECONDS
            self._bar.update(self._task, description=line, completed=sending.size)
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
