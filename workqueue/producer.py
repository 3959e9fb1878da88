"""Publishing: a send that returns was confirmed by the broker, and is in a queue."""

import itertools
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

from workqueue import _frames, errors
from workqueue._backoff import Backoff
from workqueue._confirms import ConfirmWindow, Publish, Settled
from workqueue._io import PUBLISH_CHANNEL, Link
from workqueue._url import check_url, safe_url
from workqueue.events import Blocked, Connected, Disconnected, Observer, Published, PublishFailed, Teller
from workqueue.queue import Queue

PASSING = (errors.ConnectionFailed, errors.ConnectionLost, errors.Nacked, errors.NotSent, errors.OutcomeUnknown)
"""What may be gone at the next attempt (unless it is AccessRefused)."""


class Producer:
    """Publishes messages, every one confirmed. May be used by several threads at once.

    * ``url``: ``amqp://user:password@host:port/vhost``, or ``amqps://`` for TLS. A query may set what pika's
      URLParameters knows, such as ``?heartbeat=10``.
    * ``window``: how many messages may wait for their confirmation at a time (and 64 MiB of bodies, or a single one
      that is larger). Beyond it, sending waits.
    * ``confirm_timeout``: seconds that the confirmation of each message may take, room in the window, and the
      declaration of a queue.
    * ``observer``: is called with what happens; see :mod:`workqueue.events`.

    It connects when first used, or by ``with``, which closes it at the end. Once a connection was lost, it
    connects anew when next used. Raises InvalidURL.
    """

    def __init__(
        self, url: str, *, window: int = 1000, confirm_timeout: float = 30.0, observer: Observer | None = None
    ) -> None:
        check_url(url)
        if window < 1:
            raise ValueError(f"a window holds at least one message, not {window}")
        self._url = url
        self._window = window
        self._timeout = confirm_timeout
        self._tell = Teller(observer)
        self._ids = map(f"{uuid.uuid4().hex}-{{:x}}".format, itertools.count())
        self._connecting = threading.Lock()
        self._session: _Session | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        self._connected()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "not connected" if self._session is None else self._session.state
        return f"<Producer {safe_url(self._url)} {'closed' if self._closed.is_set() else state}>"

    @property
    def blocked(self) -> str | None:
        """Why the broker reads nothing that is published, such as "low on memory"; None if it does."""
        return None if self._session is None else self._session.link.blocked

    def declare(self, queue: Queue) -> None:
        """Declare the queue unless this connection has done so. Sending does it by itself.

        Raises TopologyMismatch if it exists with other properties, ChannelClosed if the broker refuses for
        another reason, ConnectionFailed, ConnectionLost.
        """
        self._connected().declare(queue)

    def send(
        self, queue: Queue | str, body: bytes, *, message_id: str | None = None, persistent: bool = True, retry: int = 0
    ) -> None:
        """Publish one message; return once the broker has it in a queue and has confirmed that.

        A Queue is declared first, a name is not. Without a ``message_id`` it gets a unique one.

        ``retry`` is how many more times to try, after some time, if there is no connection, the broker declines, or
        nobody can tell. The message keeps its id, by which consumers can notice what this may cause: **if the outcome
        was unknown, the message may end up in the queue more than once.**

        Raises Unroutable, Refused, Nacked, NotSent, OutcomeUnknown (the connection was lost, or ``confirm_timeout``
        has passed), and what ``declare`` raises.
        """
        message_id = message_id or next(self._ids)
        self._deliver(queue, body, message_id, _frames.plain_properties(message_id, persistent=persistent), retry)

    def send_async(
        self, queue: Queue | str, body: bytes, *, message_id: str | None = None, persistent: bool = True
    ) -> Future[None]:
        """Publish one message without waiting for its confirmation; the future ends as ``send`` would have.

        It ends within ``confirm_timeout`` seconds. Waits while the window is full, as long at most, then raises
        NotSent. The future cannot be cancelled: the message is on its way. Its callbacks run in the I/O thread and
        must not wait.
        """
        message_id = message_id or next(self._ids)
        properties = _frames.plain_properties(message_id, persistent=persistent)
        return self._publish(queue, body, message_id, properties, now=False)

    def close(self) -> None:
        """Wait for outstanding confirmations, ``confirm_timeout`` seconds at most, then disconnect.

        What is not confirmed by then fails as OutcomeUnknown. Closing twice is fine.
        """
        self._close(self._timeout)

    def _close(self, timeout: float) -> None:
        self._closed.set()
        with self._connecting:
            session = self._session
        if session is not None:
            session.close(timeout)

    def _deliver(self, queue: Queue | str, body: bytes, message_id: str, properties: bytes, retry: int) -> None:
        backoff = Backoff()
        while True:
            try:
                if self._session is not None:
                    self._session.link.forbid_waiting_for_itself()
                return self._publish(queue, body, message_id, properties, now=True).result()
            except PASSING as error:
                if backoff.attempts >= retry or isinstance(error, errors.AccessRefused):
                    raise
                if self._closed.wait(backoff.next()):
                    raise

    def _publish(
        self, queue: Queue | str, body: bytes, message_id: str, properties: bytes, *, now: bool
    ) -> Future[None]:
        name = queue.name if isinstance(queue, Queue) else queue
        # Here, since in the I/O thread it would end the connection, and the messages of others with it.
        if len(name.encode()) > 255:
            raise ValueError(f"a queue's name has at most 255 bytes: {name!r}")
        if not isinstance(body, bytes):
            raise TypeError(f"a body is bytes, not {type(body).__name__}")
        session = self._connected()
        if isinstance(queue, Queue):
            session.declare(queue)
        publish = Publish(name, message_id, properties, body, _Confirmation())
        session.publish(publish, now=now)
        return publish.future

    def _connected(self) -> "_Session":
        with self._connecting:
            if self._closed.is_set():
                raise errors.Closed("the producer was closed")
            if self._session is None or self._session.link.failure is not None:
                self._session = _Session(self._url, self._window, self._timeout, self._tell, self._closed.is_set)
            return self._session


class _Confirmation(Future[None]):
    """A future that cannot be cancelled."""

    def cancel(self) -> bool:
        return False


class _Session:
    """One connection of a producer, from its opening to its loss, with every message that was given to it."""

    def __init__(self, url: str, window: int, timeout: float, tell: Teller, abandoned: Callable[[], bool]) -> None:
        self._timeout = timeout
        self._tell = tell
        self._window = ConfirmWindow(window)
        self._declared: set[Queue] = set()
        self._declaring = threading.Lock()
        # Guards the window and all below. Futures are resolved outside it, since their callbacks may publish.
        self._changed = threading.Condition(threading.Lock())
        self._open = False
        self._timing = False
        self.link = Link(url, "workqueue producer", self._on_lost, self._on_blocked, abandoned)
        try:
            self.link.open()
            self.link.publisher(self._on_return, self._on_confirm, self._on_open, self._on_refused)
        except BaseException:
            self.link.close()
            raise
        tell(Connected(self.link.safe_url, "producer"))

    @property
    def state(self) -> str:
        if self.link.failure is not None:
            return "disconnected"
        connected = "connected" if self.link.blocked is None else f"blocked ({self.link.blocked})"
        return f"{connected}, {len(self._window)} of {self._window.limit} unconfirmed"

    def declare(self, queue: Queue) -> None:
        if queue not in self._declared:
            self.link.forbid_waiting_for_itself()
            # Once, and not by every thread that comes first: RabbitMQ 4.0 may nack what is published meanwhile.
            with self._declaring:
                if queue not in self._declared:
                    self.link.declare(queue, self._timeout)
                    self._declared.add(queue)

    def publish(self, publish: Publish, *, now: bool) -> None:
        size = len(publish.body)
        if (room := self.link.frame_max - _frames.HEADER_OVERHEAD) < len(publish.properties):
            raise ValueError(f"its properties have {len(publish.properties)} bytes, and there is room for {room}")
        with self._changed:
            if not self._window.has_room(size):
                self.link.forbid_waiting_for_itself()
                self._changed.wait_for(lambda: self.link.failure or self._window.has_room(size), self._timeout)
            # Noted before what is in the window is settled: what is reserved now will be.
            if lost := self.link.failure:
                raise errors.NotSent(f"not sent: {lost}", message_id=publish.message_id) from lost
            if not self._window.has_room(size):
                problem = f"not sent: no room in the window for {self._timeout:g} s; {self.state}"
                raise errors.NotSent(problem, message_id=publish.message_id)
            publish.started = time.monotonic()
            publish.deadline = publish.started + self._timeout
            first = self._window.reserve(publish)
        if now:  # whoever waits for the answer should not wait for the I/O thread, too
            self._flush()
        elif first:  # one wake-up of the I/O thread for a burst of messages
            self.link.call_soon(self._flush)

    def close(self, timeout: float) -> None:
        if not self.link.in_io_thread:
            with self._changed:
                self._changed.wait_for(lambda: self.link.failure or not len(self._window), timeout)
        self.link.close()

    def _flush(self) -> None:
        with self.link.writing:  # what is taken first has to be sent first: the broker counts
            with self._changed:
                # What a broker in alarm does not read stays here: when its time is over, it was certainly not sent.
                taken = self._window.take() if self._open and self.link.blocked is None else []
            frames: list[bytes] = []
            for each in taken:
                frames += _frames.publish(PUBLISH_CHANNEL, each.queue, each.properties, each.body, self.link.frame_max)
            self.link.write(frames)
        if not self._timing:
            self.link.call_soon(self._watch_deadlines)

    # In the I/O thread:

    def _watch_deadlines(self) -> None:
        with self._changed:
            deadline = None if self._timing else self._window.next_deadline()
        if deadline is not None:
            self._timing = True
            self.link.call_later(max(0.0, deadline - time.monotonic()), self._on_deadline)

    def _on_deadline(self) -> None:
        self._timing = False
        self._settle(lambda: self._window.expired(time.monotonic(), f"within {self._timeout:g} s; {self.state}"))
        self._watch_deadlines()

    def _on_open(self) -> None:
        self._open = True
        self._flush()

    def _on_refused(self, code: int, text: str) -> None:
        self._open = False
        # Later: nothing may be sent now, and the callback of a future may wait for a thread that is about to.
        self.link.call_soon(lambda: self._settle(lambda: self._window.channel_closed(code, text)))

    def _on_blocked(self, reason: str | None) -> None:
        self._tell(Blocked(reason, "producer"))
        self._flush()

    def _on_return(self, message_id: str | None, reason: str) -> None:
        with self._changed:
            self._window.returned(message_id, reason)

    def _on_confirm(self, is_ack: bool, tag: int, multiple: bool) -> None:
        self._settle(lambda: self._window.confirmed(tag, multiple=multiple, is_ack=is_ack))

    def _on_lost(self, reason: errors.WorkqueueError) -> None:
        self._settle(lambda: self._window.lost(str(reason)))
        if not isinstance(reason, errors.Closed):
            self._tell(Disconnected(reason, "producer"))

    def _settle(self, settle: Callable[[], list[Settled]]) -> None:
        with self._changed:
            settled = settle()
            self._changed.notify_all()
        for publish, error in settled:
            if error is None:
                publish.future.set_result(None)
                if self._tell:
                    self._tell(Published(publish.queue, publish.message_id, time.monotonic() - publish.started))
            else:
                publish.future.set_exception(error)
                self._tell(PublishFailed(publish.queue, publish.message_id, error))
