"""Publishing: a send that returns was confirmed by the broker, and is in a queue."""

import itertools
import os
import threading
import uuid
import weakref
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Self

from workqueue import _frames, errors
from workqueue._backoff import Backoff
from workqueue._confirms import OnSettled, Publish
from workqueue._session import Session
from workqueue._url import check_url, safe_url
from workqueue.events import Observer, Teller
from workqueue.queue import Queue, check_name

PASSING = (errors.ConnectionFailed, errors.ConnectionLost, errors.QueueUnavailable, errors.PublishError)
"""What may be gone at the next attempt."""

FINAL = (errors.AccessRefused, errors.Refused)
"""What of that will not."""


class Producer:
    """Publishes messages, every one confirmed. May be used by several threads at once.

    * ``url``: ``amqp://user:password@host:port/vhost``, or ``amqps://`` for TLS. A query may set what pika's
      URLParameters knows, such as ``?heartbeat=10``.
    * ``window``: how many messages may wait for their confirmation at a time (and 64 MiB of bodies, or a single one
      that is larger). Beyond it, sending waits.
    * ``confirm_timeout``: seconds that the confirmation of each message may take, room in the window, and the
      declaration of a queue.
    * ``observer``: is called with what happens; see :mod:`workqueue.events`.

    It connects when first used, or by ``with``, which closes it at the end. Once a connection was lost, or the broker
    has left a message without an answer, it connects anew when next used. A forked process has connections, and ids of
    messages, of its own. Raises InvalidURL.
    """

    def __init__(
        self, url: str, *, window: int = 1000, confirm_timeout: float = 30.0, observer: Observer | None = None
    ) -> None:
        check_url(url)
        if window < 1 or not 0 < confirm_timeout <= threading.TIMEOUT_MAX:
            raise ValueError(f"window ({window}) is 1 or more, confirm_timeout ({confirm_timeout}) more than 0 seconds")
        self._url = url
        self._window = window
        self._timeout = confirm_timeout
        self._tell = Teller(observer)
        self._closed = threading.Event()
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        """In a forked process once more: what its parent has is not to be touched."""
        self._ids = map(f"{uuid.uuid4().hex}-{{:x}}".format, itertools.count())
        self._connecting = threading.Lock()
        self._session: Session | None = None
        self._failed: errors.WorkqueueError | None = None  # why the last attempt to connect was in vain

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

        A Queue is declared first, a name is not. Without a ``message_id`` it gets a unique one. If one that is given is
        that of another message on its way to the same queue, and the broker returns either, both are Unroutable.

        ``retry`` is how many more times to try, after some time, if there is no connection, no such queue, the broker
        declines, or nobody can tell. The message keeps its id, by which consumers can notice what this may cause: **if
        the outcome was unknown, the message may end up in the queue more than once.**

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
        confirmation = _Confirmation()
        properties = _frames.plain_properties(message_id, persistent=persistent)
        # With None as its exception, it ends well.
        self._publish(queue, body, message_id, properties, confirmation.set_exception, now=False)
        return confirmation

    def close(self) -> None:
        """Wait for outstanding confirmations, ``confirm_timeout`` seconds at most, then disconnect.

        What is not confirmed by then fails as OutcomeUnknown. Closing twice is fine, but not in a future's callback.
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
                # Not by a future: a signal handler that raises could keep locked what it waits by.
                settled: SimpleQueue[errors.PublishError | None] = SimpleQueue()
                self._publish(queue, body, message_id, properties, settled.put, now=True)
                if error := settled.get():
                    raise error
                return
            except PASSING as passing:
                if isinstance(passing, FINAL) or backoff.attempts >= retry or self._closed.wait(backoff.next()):
                    raise

    def _publish(
        self, queue: Queue | str, body: bytes, message_id: str, properties: bytes, settled: OnSettled, *, now: bool
    ) -> None:
        """Begin to send: at once, since somebody waits for it, or with others."""
        name = queue.name if isinstance(queue, Queue) else queue
        check_name(name)
        if not isinstance(body, bytes):
            raise TypeError(f"a body is bytes, not {type(body).__name__}")
        session = self._connected()
        if isinstance(queue, Queue):
            session.declare(queue)
        session.publish(Publish(name, message_id, properties, body, settled), now=now)

    def _connected(self) -> Session:
        failed = self._failed
        with self._connecting:
            if self._closed.is_set():
                raise errors.Closed("the producer was closed")
            if self._session is not None and not self._session.link.usable:
                # Once more: the first time may have been interrupted.
                self._session.link.give_up(errors.ConnectionLost("interrupted"))
                self._session = None
            if self._session is None:
                if self._failed is not failed and self._failed is not None:  # while this thread waited
                    raise self._failed
                try:
                    self._session = Session(self._url, self._window, self._timeout, self._tell, self._closed.is_set)
                except errors.WorkqueueError as error:
                    self._failed = error
                    raise
            return self._session


_all: weakref.WeakSet[Producer] = weakref.WeakSet()


def _forked() -> None:
    for producer in _all:
        producer._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class _Confirmation(Future[None]):
    """A future that cannot be cancelled."""

    def cancel(self) -> bool:
        return False
