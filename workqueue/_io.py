"""One connection to the broker and the thread that serves it. The only module of the core that knows pika.

pika is not thread-safe: the I/O thread alone touches its objects, and everything else asks that thread.
Because it does nothing else, heartbeats are answered however long a task takes.
"""

import functools
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar, cast

import pika
import pika.data
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.channel import Channel
from pika.exceptions import AMQPError, ChannelClosedByBroker, StreamLostError
from pika.frame import Method
from pika.spec import Basic, BasicProperties

from workqueue._explain import explain_closed, explain_refusal
from workqueue._url import check_url, safe_url
from workqueue.errors import Closed, ConnectionLost, ConsumerCancelled, InvalidURL, WorkqueueError
from workqueue.message import Message
from workqueue.queue import Queue

ANSWER_TIMEOUT = 30.0  # seconds that the broker may take to answer a request
CLOSE_TIMEOUT = 5.0  # seconds to close a connection politely before it is cut: a broker in alarm does not answer
_POLL = 0.1

Properties = BasicProperties
Publisher = Callable[[str, bytes, Properties], None]
OnLost = Callable[[WorkqueueError], None]
T = TypeVar("T")


class Link:
    """A connection, whose methods may be called from any thread.

    ``on_lost`` is called in the I/O thread, once, when the link is of no more use, be it by ``close``.
    ``abandoned`` is asked now and then while a caller waits; once it is true, the caller gets Closed.
    """

    def __init__(self, url: str, name: str, on_lost: OnLost, abandoned: Callable[[], bool]) -> None:
        self._parameters = _parameters(url, name)
        self._safe_url = safe_url(url)
        self._on_lost = on_lost
        self._abandoned = abandoned
        self._lock = threading.Lock()
        self._opened: Future[None] = Future()
        self._waiting: set[Future[Any]] = {self._opened}
        self._loop = IOLoop()
        self._connection: SelectConnection
        self._thread = threading.Thread(target=self._serve, name=f"{name} I/O", daemon=True)
        self.failure: WorkqueueError | None = None  # why the link is of no more use
        self.blocked: str | None = None  # why the broker reads nothing that is published, such as "low on memory"

    @property
    def in_io_thread(self) -> bool:
        """Whether the caller is the I/O thread, which must never wait for itself."""
        return threading.current_thread() is self._thread

    def open(self) -> None:
        """Connect. Raises ConnectionFailed (AccessRefused, if the broker did not like the credentials)."""
        self._thread.start()
        self._await(self._opened)

    def close(self) -> None:
        """Close politely, else by force; wait until the I/O thread is gone."""
        self.call_soon(lambda: self._shut(Closed("the connection was closed")))
        if not self.in_io_thread:
            self._thread.join(CLOSE_TIMEOUT * 2)

    def call_soon(self, callback: Callable[[], None]) -> bool:
        """Have the I/O thread call it, in the order of the calls. Dropped, and False, if the link is lost."""

        def run() -> None:
            if self.failure is None:
                callback()

        with self._lock:
            if self.failure is not None:
                return False
            self._loop.add_callback_threadsafe(run)
        return True

    def ask(self, start: Callable[[Future[T]], None]) -> T:
        """Have the I/O thread start something; wait for its answer. Raises what the link was lost to."""
        if self.in_io_thread:
            raise RuntimeError("this waits for the broker and cannot be called from a future's callback")
        answer: Future[T] = Future()
        with self._lock:
            self._waiting.add(answer)
        try:
            if not self.call_soon(functools.partial(start, answer)):
                raise self.failure or Closed("the connection was closed")
            return self._await(answer)
        finally:
            with self._lock:
                self._waiting.discard(answer)

    def declare(self, queue: Queue) -> None:
        """Declare the queue and where its dead letters go. Raises TopologyMismatch, ChannelClosed."""
        for each in queue.with_dead_letters():
            arguments: dict[str, Any] = each.arguments()
            try:  # here: in the I/O thread, the same exception would end the connection
                pika.data.encode_table([], arguments)
            except (AMQPError, struct.error) as error:
                raise ValueError(f"no AMQP arguments for queue {each.name!r}: {error!r}") from error
            self.ask(functools.partial(self._declare, each.name, arguments))

    def publisher(
        self, on_return: Callable[[str | None, str], None], on_confirm: Callable[[bool, int, bool], None]
    ) -> Publisher:
        """Open a channel in confirm mode. Returns what publishes on it, to be called in the I/O thread.

        ``on_return(message_id, reason)`` and ``on_confirm(is_ack, tag, multiple)`` are called there, too.
        """

        def returned(_: Channel, method: Basic.Return, described: Properties, __: bytes) -> None:
            on_return(described.message_id, f"{method.reply_code} {method.reply_text}")

        def confirmed(frame: Method[Any]) -> None:
            answer = frame.method
            on_confirm(isinstance(answer, Basic.Ack), answer.delivery_tag, answer.multiple)

        def start(answer: Future[Publisher]) -> None:
            def opened(channel: Channel) -> None:
                def publish(routing_key: str, body: bytes, described: Properties) -> None:
                    channel.basic_publish("", routing_key, body, described, mandatory=True)

                channel.add_on_return_callback(returned)
                channel.confirm_delivery(confirmed, lambda _: _resolve(answer, publish))

            self._connection.channel(on_open_callback=opened).add_on_close_callback(self._on_channel_closed)

        return self.ask(start)

    def consumer(
        self, queue: str, prefetch: int, on_delivery: Callable[[int, Message], None], on_cancelled: OnLost
    ) -> "Consumer":
        """Subscribe with manual acks. Both callbacks are called in the I/O thread."""

        def delivered(_: Channel, method: Basic.Deliver, described: Properties, body: bytes) -> None:
            headers = described.headers or {}
            message = Message(body, queue, described.message_id, bool(method.redelivered), headers)
            on_delivery(cast("int", method.delivery_tag), message)

        def cancelled(_: object) -> None:
            on_cancelled(ConsumerCancelled(f"the broker ended the subscription to queue {queue!r}"))

        def start(answer: "Future[Consumer]") -> None:
            def opened(channel: Channel) -> None:
                def ready(frame: Method[Any]) -> None:
                    _resolve(answer, Consumer(self, channel, frame.method.consumer_tag))

                channel.add_on_cancel_callback(cancelled)
                channel.basic_qos(prefetch_count=prefetch)
                channel.basic_consume(queue, delivered, callback=ready)  # pika sends it once qos is answered

            self._connection.channel(on_open_callback=opened).add_on_close_callback(self._on_channel_closed)

        return self.ask(start)

    def _await(self, answer: Future[T]) -> T:
        waited = 0.0
        while waited < ANSWER_TIMEOUT:
            try:
                return answer.result(_POLL)
            except TimeoutError:
                if self._abandoned():
                    raise Closed("stopped before the broker answered") from None
                waited += _POLL
        raise ConnectionLost(f"the broker at {self._safe_url} did not answer within {ANSWER_TIMEOUT:g} s")

    # From here on: in the I/O thread.

    def _serve(self) -> None:
        try:
            self._connection = SelectConnection(
                self._parameters,
                on_open_callback=lambda _: _resolve(self._opened, None),
                on_open_error_callback=self._on_closed,
                on_close_callback=self._on_closed,
                custom_ioloop=self._loop,
            )
            self._connection.add_on_connection_blocked_callback(self._on_blocked)
            self._connection.add_on_connection_unblocked_callback(self._on_blocked)
            self._loop.start()
        finally:
            # Only an exception gets here with no failure noted. Nobody may wait for a thread that is gone.
            self._fail(ConnectionLost(f"the thread that serves {self._safe_url} has crashed"))
            self._loop.close()

    def _declare(self, name: str, arguments: dict[str, Any], answer: Future[None]) -> None:
        # On a channel of its own, because a refusal closes it.
        def opened(channel: Channel) -> None:
            def declared(_: object) -> None:
                _resolve(answer, None)
                channel.close()

            channel.queue_declare(name, durable=True, arguments=arguments, callback=declared)

        def closed(_: Channel, reason: Exception) -> None:
            if isinstance(reason, ChannelClosedByBroker) and not answer.done():
                answer.set_exception(explain_refusal(reason.reply_code, reason.reply_text))

        self._connection.channel(on_open_callback=opened).add_on_close_callback(closed)

    def _on_blocked(self, _: object, frame: Method[Any]) -> None:
        self.blocked = getattr(frame.method, "reason", None)  # connection.unblocked has none

    def _on_channel_closed(self, _: Channel, reason: Exception) -> None:
        # Without its channel a link is useless. When the whole connection is gone, _on_closed says why.
        if isinstance(reason, ChannelClosedByBroker):
            self._shut(explain_refusal(reason.reply_code, reason.reply_text))

    def _on_closed(self, _: object, reason: BaseException) -> None:
        self._fail(explain_closed(reason, self._safe_url, opened=self._opened.done()))
        self._loop.stop()

    def _fail(self, reason: WorkqueueError) -> None:
        with self._lock:
            if self.failure is not None:
                return
            self.failure = reason
            waiting = list(self._waiting)
        for answer in waiting:
            if not answer.done():
                answer.set_exception(reason)
        self._on_lost(reason)

    def _shut(self, reason: WorkqueueError) -> None:
        self._fail(reason)
        if self._connection.is_open:
            self._connection.close()
            self._loop.call_later(CLOSE_TIMEOUT, self._cut)
        elif not (self._connection.is_closing or self._connection.is_closed):
            self._cut()  # still opening, where close() makes pika 1.4 trip over its own assertion

    def _cut(self) -> None:
        # pika has no public way to drop a connection without the broker's consent. Ends in _on_closed.
        self._connection._terminate_stream(StreamLostError("cut"))  # type: ignore[attr-defined]


class Consumer:
    """A subscription. Its methods may be called from any thread, and settlements keep their order."""

    def __init__(self, link: Link, channel: Channel, consumer_tag: str) -> None:
        self._link = link
        self._channel = channel
        self._consumer_tag = consumer_tag
        self._cancelled = False

    def ack(self, tag: int) -> None:
        """The task is done."""
        self._link.call_soon(lambda: self._channel.basic_ack(tag))

    def reject(self, tag: int, *, requeue: bool) -> None:
        """The task failed. Counts toward the delivery limit of a quorum queue."""
        self._link.call_soon(lambda: self._channel.basic_reject(tag, requeue=requeue))

    def hand_back(self, tag: int) -> None:
        """The task was not started. Not a reject, which RabbitMQ 4.3 counts as a failure."""
        self._link.call_soon(lambda: self._channel.basic_nack(tag, requeue=True))

    def cancel(self) -> None:
        """End the subscription, once. What was on its way here is delivered before this returns."""
        if self._cancelled:
            return
        self._cancelled = True

        def start(answer: Future[None]) -> None:
            # Not basic_cancel: after it, pika rejects what still arrives, and that would count as a failure.
            self._channel._rpc(  # type: ignore[attr-defined]
                Basic.Cancel(consumer_tag=self._consumer_tag, nowait=False),
                lambda _: _resolve(answer, None),
                [(Basic.CancelOk, {"consumer_tag": self._consumer_tag})],
            )

        self._link.ask(start)


def _resolve(answer: Future[T], value: T) -> None:
    if not answer.done():  # nobody waits any more when the link was lost in between
        answer.set_result(value)


def _parameters(url: str, name: str) -> pika.URLParameters:
    check_url(url)
    try:
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError, SyntaxError, AttributeError, OSError) as error:
        # Only the query can be wrong now. ssl_options may hold a passphrase, so what it says is not repeated.
        said = error if isinstance(error, OSError) or "ssl_options" not in url else type(error).__name__
    else:
        parameters.client_properties = {"connection_name": name, **(parameters.client_properties or {})}
        return parameters
    raise InvalidURL(f"the part of the URL after ? cannot be used: {said}")
