"""Several worker processes: start them, start another one for each that dies, and end them all together."""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import workqueue
from workqueue._backoff import Backoff
from workqueue.cli._lifeline import SUBSCRIBED

_GRACE = 10.0  # seconds beyond the shutdown timeout, after which a process that does not end is killed
_STABLE = 60.0  # seconds after which a process that died is taken to have died of something new
_LONGEST_WAIT = 3600.0  # seconds; no selector takes more than 25 days
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Ended:
    """A process ended that was not asked to, or could not be started.

    ``number`` counts from 1. ``pid``: None if it could not be started. ``how``: what happened, in words.
    ``restart_in``: seconds until another takes its place; None if none does, and all end.
    """

    number: int
    pid: int | None
    how: str
    restart_in: float | None


def how_it_ended(status: int) -> str:
    """An exit status, or minus the number of the signal that killed a process, in words."""
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"


@dataclass
class _Place:
    """Where one process after the other is at work."""

    number: int
    arguments: Sequence[str]
    due: float | None = None  # when to start the next one
    process: subprocess.Popen[bytes] | None = None
    link: socket.socket | None = None  # our end of its lifeline
    heard: bool = False  # it has told us anything, so its options and the broker's answer were fine
    subscribed: bool = False
    started: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(first=1.0, cap=30.0))


class Supervisor:
    """Runs ``workqueue worker`` with each of these arguments, as a fresh process with this environment.

    * ``shutdown_timeout``: how many seconds a worker gives itself to stop. One that takes much longer is killed.
    * ``tell``: hears of each process that ended by itself.

    A process that dies is replaced, after a delay that grows while that goes on. The others are started once the first
    has found its options to be right and the broker's answer not to be final, so that a mistake is told once; a
    process that ends with status 3, or with 1 before it ever was subscribed, would only end so again, and ends all.
    """

    def __init__(
        self,
        workers: Sequence[Sequence[str]],
        environment: Mapping[str, str],
        *,
        shutdown_timeout: float,
        tell: Callable[[Ended], object],
    ) -> None:
        self._places = [_Place(number, arguments) for number, arguments in enumerate(workers, 1)]
        self._environment = environment
        self._shutdown_timeout = shutdown_timeout
        self._tell = tell
        self._code = 0
        self._deadline: float | None = None  # once all are to end, when those that are left are killed
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Until SIGTERM or SIGINT; returns the exit code. Call it in the main thread.

        The first signal has all processes finish what they have in hand. A second one kills them, and us.
        """
        with self._signals():
            self._places[0].due = time.monotonic()
            while True:
                self._look()
                if self._deadline is not None and all(place.process is None for place in self._places):
                    return self._code
                self._wait()

    def _look(self) -> None:
        """See who has ended, and start whoever is due."""
        now = time.monotonic()
        for place in self._places:
            if place.process is not None and (status := place.process.poll()) is not None:
                self._ended(place, place.process.pid, status)
            elif place.due is not None and place.due <= now and self._deadline is None:
                self._start(place)

    def _wait(self) -> None:
        """Until something happens, or is due."""
        moments = [place.due for place in self._places if place.due is not None and self._deadline is None]
        if self._deadline is not None:
            moments.append(self._deadline)
        timeout = min(max(0.0, min(moments) - time.monotonic()), _LONGEST_WAIT) if moments else None
        for key, _ in self._selector.select(timeout):
            key.data()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._kill()

    def _start(self, place: _Place) -> None:
        ours, theirs = socket.socketpair()
        # The package that we are; and not what a folder of this name, here, may have in it.
        isolated = [] if Path(workqueue.__file__).parents[1] == Path.cwd() else ["-P"]
        command = [sys.executable, *isolated, "-m", "workqueue", "worker", *place.arguments]
        with theirs:
            try:
                place.process = subprocess.Popen(
                    [*command, "--lifeline", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    env=self._environment,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # CTRL+C in a terminal is for us alone
                )
            except OSError as error:  # no memory, or too many processes: the others go on
                ours.close()
                self._again(place, None, f"cannot be started: {error}")
                return
        place.due, place.link = None, ours
        place.heard = place.subscribed = False
        place.started = time.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(place, ours))

    def _hear(self, place: _Place, link: socket.socket) -> None:
        if place.link is not link:
            return  # cut a moment ago
        said = link.recv(64)
        if not said:
            self._selector.unregister(link)  # it ends; SIGCHLD says when it has
            return
        place.subscribed |= SUBSCRIBED in said
        if not place.heard:
            place.heard = True
            for other in self._places:
                if other.process is None and other.due is None:
                    other.due = time.monotonic()

    def _ended(self, place: _Place, pid: int, status: int) -> None:
        place.process = None
        self._cut(place)
        if self._deadline is not None:
            # One that was still starting when a signal reached it, too, had nothing in hand.
            if status > 0 or (status < 0 and place.subscribed):
                self._code = self._code or 1
            return
        if status == 3 or (status == 1 and not place.subscribed):
            self._tell(Ended(place.number, pid, how_it_ended(status), None))
            self._code = status
            self._stop()
            return
        if time.monotonic() - place.started >= _STABLE:
            place.backoff.attempts = 0
        self._again(place, pid, how_it_ended(status))

    def _again(self, place: _Place, pid: int | None, how: str) -> None:
        delay = place.backoff.next()
        place.due = time.monotonic() + delay
        self._tell(Ended(place.number, pid, how, delay))

    def _stop(self) -> None:
        self._deadline = time.monotonic() + self._shutdown_timeout + _GRACE
        for place in self._places:
            self._cut(place)

    def _cut(self, place: _Place) -> None:
        if place.link is None:
            return
        with contextlib.suppress(KeyError):
            self._selector.unregister(place.link)
        place.link.close()
        place.link = None

    def _kill(self) -> None:
        for place in self._places:
            if place.process is not None and place.process.poll() is None:
                os.killpg(place.process.pid, signal.SIGKILL)  # with what its handler may have started

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals wake `_wait` up, and are taken there, where nothing else is going on."""
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        self._selector.register(woken, selectors.EVENT_READ, lambda: self._take(woken.recv(64)))
        previous_fd = signal.set_wakeup_fd(waker.fileno())
        numbers = (*_STOP_SIGNALS, signal.SIGCHLD)
        previous = {number: signal.signal(number, lambda *_: None) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            signal.set_wakeup_fd(previous_fd)
            self._selector.close()
            woken.close()
            waker.close()

    def _take(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGCHLD:
                continue
            if self._deadline is None:
                self._stop()
            else:
                self._kill()
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
