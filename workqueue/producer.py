"""Publishing: a send that returns was confirmed by the broker, and is in a queue."""

import collections
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

from workqueue._confirms import ConfirmWindow, Publish, Settled
from workqueue._io import Link, Properties
from workqueue._url import check_url, safe_url
from workqueue.errors import Closed, NotSent, OutcomeUnknown, WorkqueueError
from workqueue.queue import Queue


class Producer:
    """Publishes messages, every one confirmed. May be used by several threads at once.

    * ``url``: ``amqp://user:password@host:port/vhost``, or ``amqps://`` for TLS. A query may set what pika's
      URLParameters knows, such as ``?heartbeat=10``.
    * ``window``: how many messages may wait for their confirmation at a time. Beyond it, sending waits.
    * ``confirm_timeout``: seconds to wait for a confirmation in ``send``, and for room in the window.

    It connects when first used, or by ``with``, which closes it at the end. Once a connection was lost, it
    connects anew when next used. Raises InvalidURL.
    """

    def __init__(self, url: str, *, window: int = 1000, confirm_timeout: float = 30.0) -> None:
        check_url(url)
        if window < 1:
            raise ValueError(f"a window holds at least one message, not {window}")
        self._url = url
        self._window = window
        self._confirm_timeout = confirm_timeout
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._closed = False

    def __enter__(self) -> Self:
        self._connected()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "not connected" if self._session is None else self._session.state
        return f"<Producer {safe_url(self._url)} {'closed' if self._closed else state}>"

    def declare(self, queue: Queue) -> None:
        """Declare the queue unless this connection has done so. Sending does it by itself.

        Raises TopologyMismatch if it exists with other properties, ChannelClosed if the broker refuses for
        another reason, ConnectionFailed, ConnectionLost.
        """
        self._connected().declare(queue)

    def send(self, queue: Queue | str, body: bytes, *, message_id: str | None = None, persistent: bool = True) -> None:
        """Publish one message; return once the broker has it in a queue and has confirmed that.

        A Queue is declared first, a name is not. Without a ``message_id`` it gets a unique one. Raises
        Unroutable, Nacked, NotSent, OutcomeUnknown (the connection was lost, or ``confirm_timeout`` has
        passed), and what ``declare`` raises.
        """
        session = self._connected()
        session.forbid_waiting_for_itself()
        message_id = message_id or uuid.uuid4().hex
        future = self._publish(session, queue, body, message_id, persistent)
        try:
            future.result(self._confirm_timeout)
        except TimeoutError:
            problem = f"the broker did not confirm within {self._confirm_timeout:g} s; {session.state}"
            raise OutcomeUnknown(problem, message_id=message_id) from None

    def send_async(
        self, queue: Queue | str, body: bytes, *, message_id: str | None = None, persistent: bool = True
    ) -> Future[None]:
        """Publish one message without waiting for its confirmation; the future ends as ``send`` would have.

        Waits while the window is full, ``confirm_timeout`` seconds at most, then raises NotSent. The future
        cannot be cancelled: the message is on its way. Its callbacks run in the I/O thread and must not wait.
        """
        return self._publish(self._connected(), queue, body, message_id or uuid.uuid4().hex, persistent)

    def close(self) -> None:
        """Wait for outstanding confirmations, ``confirm_timeout`` seconds at most, then disconnect.

        What is not confirmed by then fails as OutcomeUnknown. Closing twice is fine.
        """
        with self._lock:
            self._closed = True
            session = self._session
        if session is not None:
            session.close(self._confirm_timeout)

    def _publish(
        self, session: "_Session", queue: Queue | str, body: bytes, message_id: str, persistent: bool
    ) -> Future[None]:
        name = queue.name if isinstance(queue, Queue) else queue
        for what, text in (("queue's name", name), ("message id", message_id)):
            if len(text.encode()) > 255:
                raise ValueError(f"a {what} has at most 255 bytes: {text!r}")
        described = Properties(message_id=message_id, delivery_mode=2 if persistent else 1)
        if isinstance(queue, Queue):
            session.declare(queue)
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        session.publish(Publish(name, message_id, future), body, described, self._confirm_timeout)
        return future

    def _connected(self) -> "_Session":
        with self._lock:
            if self._closed:
                raise Closed("the producer was closed")
            if self._session is None or self._session.link.failure is not None:
                self._session = _Session(self._url, self._window)
            return self._session


class _Session:
    """One connection of a producer, from its opening to its loss, with every message that was given to it."""

    def __init__(self, url: str, window: int) -> None:
        self._window = ConfirmWindow(window)
        self._declared: set[Queue] = set()
        # Guards the window and all below. Futures are resolved outside it, since their callbacks may publish.
        self._changed = threading.Condition()
        self._outbox: collections.deque[tuple[Publish, bytes, Properties]] = collections.deque()
        self._lost: WorkqueueError | None = None
        self.link = Link(url, "workqueue producer", self._on_lost, abandoned=lambda: False)
        try:
            self.link.open()
            self._write = self.link.publisher(self._on_return, self._on_confirm)
        except BaseException:
            self.link.close()
            raise

    @property
    def state(self) -> str:
        if self._lost is not None:
            return "disconnected"
        connected = "connected" if self.link.blocked is None else f"blocked ({self.link.blocked})"
        return f"{connected}, {len(self._window)} of {self._window.limit} unconfirmed"

    def forbid_waiting_for_itself(self) -> None:
        if self.link.in_io_thread:
            raise RuntimeError("this waits for the broker and cannot be called from a future's callback")

    def declare(self, queue: Queue) -> None:
        if queue not in self._declared:
            self.link.declare(queue)
            self._declared.add(queue)

    def publish(self, publish: Publish, body: bytes, described: Properties, timeout: float) -> None:
        with self._changed:
            if self._window.full:
                self.forbid_waiting_for_itself()
                self._changed.wait_for(lambda: self._lost is not None or not self._window.full, timeout)
            if self._lost is not None:
                raise NotSent(f"not sent: {self._lost}", message_id=publish.message_id) from self._lost
            if self._window.full:
                problem = f"not sent: no room in the window for {timeout:g} s; {self.state}"
                raise NotSent(problem, message_id=publish.message_id)
            self._window.reserve(publish)
            self._outbox.append((publish, body, described))
            first = len(self._outbox) == 1
        if first:  # one wake-up of the I/O thread for a burst of messages
            self.link.call_soon(self._flush)

    def close(self, timeout: float) -> None:
        if not self.link.in_io_thread:
            with self._changed:
                self._changed.wait_for(lambda: self._lost is not None or not len(self._window), timeout)
        self.link.close()

    # In the I/O thread:

    def _flush(self) -> None:
        with self._changed:
            while self._outbox:
                publish, body, described = self._outbox.popleft()
                self._write(publish.routing_key, body, described)
                self._window.sent(publish)

    def _on_return(self, message_id: str | None, reason: str) -> None:
        with self._changed:
            self._window.returned(message_id, reason)

    def _on_confirm(self, is_ack: bool, tag: int, multiple: bool) -> None:
        self._settle(lambda: self._window.confirmed(tag, multiple=multiple, is_ack=is_ack))

    def _on_lost(self, reason: WorkqueueError) -> None:
        def lost() -> list[Settled]:
            self._lost = reason
            self._outbox.clear()
            return self._window.lost(str(reason))

        self._settle(lost)

    def _settle(self, settle: Callable[[], list[Settled]]) -> None:
        with self._changed:
            settled = settle()
            self._changed.notify_all()
        for publish, error in settled:
            if error is None:
                publish.future.set_result(None)
            else:
                publish.future.set_exception(error)
