"""Connections that run in a thread of their own, so that heartbeats are answered and nothing waits to be read."""

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

import pika
from pika.channel import Channel
from pika.exceptions import AMQPError

from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import HARNESS_PATIENCE, barrier

T = TypeVar("T")

_LOOK = 0.02  # seconds


class Connection:
    """A connection and the thread that runs it; channels are its `Client` objects."""

    def __init__(self, url: str) -> None:
        self.closed_by: BaseException | None = None
        """Why it is closed, or None while it is open."""
        self.blocked: list[str] = []
        """The reasons of ``connection.blocked``, in order."""
        self.unblocked = 0
        """How often ``connection.unblocked`` came."""
        opened: Future[None] = Future()
        self._connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda _: opened.set_result(None),
            on_open_error_callback=lambda _, error: self._on_refused(opened, error),
            on_close_callback=self._on_closed,
        )
        self._connection.add_on_connection_blocked_callback(
            lambda _, frame: self.blocked.append(str(frame.method.reason))
        )
        self._connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._thread = threading.Thread(target=self._connection.ioloop.start, name="client", daemon=True)
        self._thread.start()
        opened.result(HARNESS_PATIENCE)

    @property
    def is_open(self) -> bool:
        """Whether it is open, as far as has been heard."""
        return self.closed_by is None

    def run(self, step: Callable[[], object]) -> None:
        """Have its thread do something, soon; nothing happens if it is closed by then."""
        if self.is_open:
            self._connection.ioloop.add_callback_threadsafe(step)

    def open_channel(self) -> Channel:
        """Open a channel."""
        opened: Future[Channel] = Future()
        self.run(lambda: self._connection.channel(on_open_callback=opened.set_result))
        return answer_of(opened, "a channel is opened", lambda: self.closed_by)

    def end(self) -> None:
        """Close it properly; returns when it is closed."""
        self.run(self._close)
        barrier("the connection is closed", lambda: not self.is_open)

    def close(self) -> None:
        """Close it, if it is open, and end its thread. Call it once, last."""
        self.run(self._close)
        self._thread.join(HARNESS_PATIENCE)
        if not self._thread.is_alive():
            # Else the sockets that wake up its loop are left to the garbage collector.
            self._connection.ioloop.close()

    def _close(self) -> None:
        if self._connection.is_open:
            self._connection.close()

    def _on_unblocked(self, *_: object) -> None:
        self.unblocked += 1

    def _on_refused(self, opened: "Future[None]", error: BaseException | str) -> None:
        self.closed_by = _exception(error)
        opened.set_exception(self.closed_by)
        self._connection.ioloop.stop()

    def _on_closed(self, _: pika.SelectConnection, reason: BaseException) -> None:
        self.closed_by = reason
        self._connection.ioloop.stop()


def answer_of(answer: Future[T], what: str, closed_by: Callable[[], BaseException | None]) -> T:
    """The answer, or what closed the channel instead of one."""

    deadline = time.monotonic() + HARNESS_PATIENCE
    while time.monotonic() < deadline:
        # Who waits for an answer is woken by it; whether there will be none is asked now and then.
        with contextlib.suppress(FutureTimeout):
            return answer.result(_LOOK)
        if (reason := closed_by()) is not None and not answer.done():
            raise _exception(reason)
    raise Unknown(f"the harness waited {HARNESS_PATIENCE:g} s in vain: {what}")


def _exception(error: BaseException | str) -> BaseException:
    return error if isinstance(error, BaseException) else AMQPError(error)
