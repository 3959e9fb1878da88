"""One connection to the broker and the thread that serves it. The only module of the core that knows pika.

pika is not thread-safe: the I/O thread alone has it do something, and everything else asks that thread, or uses the
socket beside it. Because it does nothing else, heartbeats are answered however long a task takes.
"""

import contextlib
import functools
import itertools
import math
import queue as queues
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pika
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.adapters.utils.io_services_utils import _AsyncPlaintextTransport
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker, InvalidFrameError, StreamLostError
from pika.frame import Method, decode_frame
from pika.spec import Basic, BasicProperties

from workqueue import _frames
from workqueue._consumer import Consumer
from workqueue._explain import explain_closed, explain_refusal
from workqueue._url import safe_url
from workqueue.errors import ChannelClosed, Closed, ConnectionLost, ConsumerCancelled, InvalidURL, WorkqueueError
from workqueue.queue import Queue

if TYPE_CHECKING:
    from workqueue._session import Session

ANSWER_TIMEOUT = 30.0  # seconds that the broker may take to answer a request
CLOSE_TIMEOUT = 5.0  # seconds to close a connection politely before it is cut: a broker in alarm does not answer
PUBLISH_CHANNEL = 1
_POLL = 0.02
_CHUNK = 1 << 16  # bytes to hand to the socket at a time

OnLost = Callable[[WorkqueueError], None]
OnRefused = Callable[[ChannelClosed], None]
OnDelivery = Callable[[Consumer, int, bool, bytes, bytes], None]
T = TypeVar("T")
Answer = Callable[[T], None]


class _Connection(SelectConnection):
    """Takes the frames that come with every message away from pika, which needs several times as long for them."""

    # pika's own, for which it has no public names:
    bytes_received: int
    bytes_sent: int
    _transport: Any
    _frame_buffer: bytes
    _process_frame: Callable[[Any], None]
    _terminate_stream: Callable[[Exception], None]

    def __init__(self, writing: threading.RLock, *arguments: Any, **options: Any) -> None:
        # By channel: what is given each frame first, and says whether it took it.
        self.routes: dict[int, Callable[[int, bytes], bool]] = {}
        self.writing = writing
        self.reading = threading.RLock()
        self.beside: socket.socket | None = None  # pika's socket once more, for a thread that waits
        self._late: list[bytes] = []  # what the socket had no room for
        super().__init__(*arguments, **options)

    def write(self, frames: Iterable[bytes]) -> bool:
        """Send encoded frames; return whether there is a rest, which the I/O thread has to send."""
        data, sent, transport = b"".join(frames), 0, self._transport
        # At once, if that is possible. pika would first wait until the socket is writable, which it nearly always is.
        if data and self.beside and not self._late and transport and not transport.get_write_buffer_size():
            sent = _try(self.beside.send, data) or 0
            self.bytes_sent += sent
        self._late += [data[at : at + _CHUNK] for at in range(sent, len(data), _CHUNK)]
        return bool(self._late)

    def take_over(self) -> None:
        """Have pika read 64 KiB at a time, rather than 4, and not once more to see that there is nothing left.

        And send and receive beside it. Not with TLS, which keeps bytes that no poll would tell of, and is not for two
        threads.
        """
        transport: Any = self._transport
        if isinstance(transport, _AsyncPlaintextTransport) and hasattr(select, "poll"):
            transport._MAX_RECV_BYTES = _CHUNK  # type: ignore[attr-defined]
            transport._MAX_CONSUME_BYTES = 1  # type: ignore[attr-defined]
            transport._nbio.remove_reader(transport._sock.fileno())  # type: ignore[attr-defined]
            self.beside = transport._sock.dup()  # type: ignore[attr-defined]  # pika closes its own at any time
            self.ioloop.add_handler(self.beside.fileno(), self._on_readable, IOLoop.READ)

    def release(self) -> None:
        """Send and receive beside pika no more."""
        with self.reading, self.writing:
            if self.beside:
                self.ioloop.remove_handler(self.beside.fileno())
                self.beside.close()
            self.beside = None

    def watch(self, events: int = IOLoop.READ) -> None:
        """Have the I/O thread look at the socket, or not."""
        with self.reading:
            if self.beside:
                self.ioloop.update_handler(self.beside.fileno(), events)

    def receive(self, frame: bytes, due: Callable[[], bool]) -> None:
        """Wait a moment for this very frame, and take it in the caller's thread. Leave anything else to the I/O thread.

        This saves a change of threads, if the frame is all that is to come, which ``due`` tells.
        """
        try:
            with self.reading:
                if not (self.beside and due()):
                    return
                readable = select.poll()
                readable.register(self.beside, select.POLLIN)
                self.watch(0)  # or it would wake up, too
            # Holding nothing: a signal handler may take its time.
            ready = readable.poll(_POLL * 1000)
            with self.reading:
                # Not if it is the rest of another frame.
                taking = self.beside if ready and due() and not self._frame_buffer else None
                if taking and _try(taking.recv, len(frame) + 1, socket.MSG_PEEK) == frame:
                    self._on_data_available(taking.recv(len(frame)))
        finally:
            self.watch()

    def _on_readable(self, *_: object) -> None:
        with self.reading:
            self._transport._on_socket_readable()

    def _output_marshaled_frames(self, frames: Sequence[bytes]) -> None:
        with self.writing:
            late, self._late = self._late, []
            super()._output_marshaled_frames([*late, *frames])  # type: ignore[misc]

    def _on_data_available(self, data_in: bytes) -> None:
        buffer = self._frame_buffer + data_in if self._frame_buffer else data_in
        self.bytes_received += len(data_in)  # the heartbeat checker looks at it
        start = 0
        while len(buffer) - start > _frames.FRAME_OVERHEAD - 1 and not self.is_closed:
            kind, channel, size = _frames.frame.unpack_from(buffer, start)
            end = start + size + _frames.FRAME_OVERHEAD
            if kind > _frames.HEARTBEAT:
                raise InvalidFrameError("what answers there does not speak AMQP 0-9-1")
            if end > len(buffer):
                break
            route = self.routes.get(channel)
            payload = buffer[start + 7 : end - 1]
            if route is None or buffer[end - 1] != _frames.END or not route(kind, payload):
                with self.writing:
                    self._process_frame(decode_frame(buffer[start:end])[1])
            start = end
        self._frame_buffer = buffer[start:]


class Link:
    """A connection, whose methods may be called from any thread.

    ``on_lost`` is called in the I/O thread, once, when the link is of no more use, be it by ``close``.
    ``abandoned`` is asked now and then while a caller waits; once it is true, the caller gets Closed.
    """

    def __init__(self, url: str, name: str, on_lost: OnLost, abandoned: Callable[[], bool]) -> None:
        self._parameters = _parameters(url, name)
        self.safe_url = safe_url(url)
        self._on_lost = on_lost
        self._notice_blocked: Callable[[str | None], None] = lambda _: None
        self._abandoned = abandoned
        self._lock = threading.Lock()
        self.writing = threading.RLock()
        """Held by whoever sends, so that it is in order, and while the broker may be closing a channel."""
        self._opened: queues.SimpleQueue[None] = queues.SimpleQueue()
        self._channels = itertools.cycle(range(PUBLISH_CHANNEL + 1, 64))
        self._loop = IOLoop()
        self._connection: _Connection
        self._thread = threading.Thread(target=self._serve, name=f"{name} I/O", daemon=True)
        self.failure: WorkqueueError | None = None  # why the link is of no more use
        self.usable = False  # whether it is open, and neither lost nor given up
        self.blocked: str | None = None  # why the broker reads nothing that is published, such as "low on memory"
        self.frame_max = 0  # how many bytes a frame may have; none until it is open

    def open(self) -> None:
        """Connect. Raises ConnectionFailed (AccessRefused, if the broker did not like the credentials)."""
        self._thread.start()
        self._await(self._opened, math.inf)  # pika gives each address of the host its time, and then up

    def give_up(self, reason: WorkqueueError) -> None:
        """Begin to close it, as lost for this reason."""
        self.usable = False  # at once: whoever hears of it may send again
        self.call_soon(lambda: self.shut(reason))

    def close(self) -> None:
        """Close politely, else by force; wait until the I/O thread is gone."""
        self.give_up(Closed("the connection was closed"))
        if self._thread.ident is not None:
            self._thread.join(CLOSE_TIMEOUT * 2)

    def forbid_waiting_for_itself(self) -> None:
        """Raise RuntimeError in the I/O thread."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("this waits for the broker and cannot be called from a future's callback")

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Have the I/O thread call it, in the order of the calls. Dropped if the link is lost."""
        with self._lock:
            if self.failure is None:
                self._loop.add_callback_threadsafe(lambda: self._call(callback))

    def write(self, frames: Iterable[bytes]) -> None:
        """Send encoded frames at once."""
        with self.writing:
            if self._connection.write(frames):
                self.call_soon(lambda: self._connection._output_marshaled_frames([]))

    def receive(self, frame: bytes, due: Callable[[], bool]) -> None:
        """Wait a moment for this very frame, and take it in this thread. Leave anything else to the I/O thread.

        ``due`` tells whether it may still be the next to come.
        """
        self._connection.receive(frame, due)

    def ask(self, start: Callable[[Answer[T]], None], timeout: float = ANSWER_TIMEOUT) -> T:
        """Have the I/O thread start something; wait for its answer. Raises what the link was lost to."""
        self.forbid_waiting_for_itself()
        answers: queues.SimpleQueue[T] = queues.SimpleQueue()  # as in Producer.send
        self.call_soon(lambda: start(answers.put))
        return self._await(answers, timeout)

    def declare(self, queue: Queue, timeout: float = ANSWER_TIMEOUT) -> None:
        """Declare the queue and where its dead letters go. Raises TopologyMismatch, ChannelClosed."""
        for each in queue.with_dead_letters():
            # What this raises would end the connection, in the I/O thread.
            pika.spec.Queue.Declare(arguments=each.arguments()).encode()
            if refusal := self.ask(functools.partial(self._declare, each), timeout):
                raise refusal

    def publisher(self, session: "Session") -> None:
        """Open PUBLISH_CHANNEL in confirm mode, to be written to with ``write``.

        The session's ``on_…`` are called in the I/O thread, ``on_open`` each time the channel is open.
        """

        def returned(_: Channel, method: Basic.Return, described: BasicProperties, __: bytes) -> None:
            reason = f"{method.reply_code} {method.reply_text}"
            session.on_return(method.routing_key, described.message_id, reason)

        def start(answer: Answer[None]) -> None:
            def opened(channel: Channel) -> None:
                channel.add_on_return_callback(returned)
                channel.confirm_delivery(lambda _: None, ready)

            def ready(_: object) -> None:
                session.on_open()
                answer(None)

            def refused(error: ChannelClosed) -> None:
                session.on_refused(error)
                # Not now: pika still has the old one under this number. Nobody waits for the new one.
                self.call_soon(lambda: start(lambda _: None))

            self._connection.routes[PUBLISH_CHANNEL] = functools.partial(_frames.take_confirm, session.on_confirm)
            self._open_channel(opened, refused, PUBLISH_CHANNEL)

        self._notice_blocked = session.on_blocked
        self.ask(start)

    def consumer(self, queue: str, prefetch: int, on_delivery: OnDelivery) -> Consumer:
        """Subscribe with manual acks. If the subscription ends, so does the link.

        ``on_delivery(consumer, tag, redelivered, properties, body)`` is called in the I/O thread.
        """
        ended = ConsumerCancelled(f"the broker ended the subscription to queue {queue!r}")

        def start(answer: Answer[Consumer]) -> None:
            def opened(channel: Channel) -> None:
                def cancel(answer: Answer[None]) -> None:
                    # Not basic_cancel, which answers only once. The broker answers whoever asks again, too.
                    method = Basic.Cancel(consumer_tag=tag, nowait=False)
                    answers = [(Basic.CancelOk, {"consumer_tag": tag})]
                    channel._rpc(method, lambda _: answer(None), answers)  # type: ignore[attr-defined]

                consumer = Consumer(self, channel.channel_number, cancel)
                deliveries = _frames.Deliveries(functools.partial(on_delivery, consumer))
                self._connection.routes[channel.channel_number] = deliveries.take
                channel.add_on_cancel_callback(lambda _: self.shut(ended))
                channel.basic_qos(prefetch_count=prefetch)
                # pika sends it once qos is answered. What is delivered takes the route above.
                tag = channel.basic_consume(queue, lambda *_: None, callback=lambda _: answer(consumer))

            self._open_channel(opened, self.shut)

        return self.ask(start)

    def _await(self, answers: "queues.SimpleQueue[T]", timeout: float = ANSWER_TIMEOUT) -> T:
        # Bit by bit: that the link was lost, or nobody needs it any more, is no answer.
        deadline = time.monotonic() + timeout
        while self.failure is None and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queues.Empty):
                return answers.get(timeout=min(left, _POLL))
            if self._abandoned():
                raise Closed("stopped before the broker answered")
        alarm = f", {self.blocked}" if self.blocked else ""
        late = f"the broker at {self.safe_url} did not answer within {timeout:g} s{alarm}"
        raise self.failure or ConnectionLost(late)

    # From here on: in the I/O thread.

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call it in so many seconds, unless the link is lost by then."""
        self._loop.call_later(seconds, lambda: self._call(callback))

    def _call(self, callback: Callable[[], None]) -> None:
        if self.failure is None:
            callback()

    def watch(self) -> None:
        """Look at the socket again, whatever keeps a thread that receives from leaving that to this one."""
        self._connection.watch()

    def _serve(self) -> None:
        try:
            self._connection = _Connection(
                self.writing,
                self._parameters,
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_closed,
                on_close_callback=self._on_closed,
                custom_ioloop=self._loop,
            )
            self._connection.add_on_connection_blocked_callback(self._on_blocked)
            self._connection.add_on_connection_unblocked_callback(self._on_blocked)
            self._loop.start()
        finally:
            # Only an exception gets here with no failure noted. Nobody may wait for a thread that is gone.
            self._fail(ConnectionLost(f"the thread that serves {self.safe_url} has crashed"))
            self._loop.close()

    def _on_open(self, _: object) -> None:
        self._connection.take_over()
        self.frame_max = int(self._connection.params.frame_max)
        self.usable = True
        self._opened.put(None)

    def _declare(self, queue: Queue, answer: Answer[ChannelClosed | None]) -> None:
        # On a channel of its own, because a refusal closes it.
        def opened(channel: Channel) -> None:
            def declared(_: object) -> None:
                answer(None)
                if channel.is_open:  # and not closed meanwhile, with the connection
                    channel.close()

            channel.queue_declare(queue.name, durable=True, arguments=queue.arguments(), callback=declared)

        self._open_channel(opened, answer, next(self._channels))

    def _open_channel(
        self, on_open: Callable[[Channel], None], on_refused: OnRefused, number: int | None = None
    ) -> None:
        """``on_refused`` is called with the broker's reason when it closes it, but for the whole connection."""

        def closed(_: Channel, reason: Exception) -> None:
            if isinstance(reason, ChannelClosedByBroker) and self.failure is None:
                on_refused(explain_refusal(reason.reply_code, reason.reply_text))

        self._connection.channel(number, on_open_callback=on_open).add_on_close_callback(closed)

    def _on_blocked(self, _: object, frame: "Method[Any]") -> None:
        if self.failure is None:
            self.blocked = getattr(frame.method, "reason", None)  # connection.unblocked has none
            self._notice_blocked(self.blocked)

    def _on_closed(self, _: object, reason: BaseException) -> None:
        self._fail(explain_closed(reason, self.safe_url, opened=self.frame_max > 0))
        self._connection.release()
        self._loop.stop()

    def _fail(self, reason: WorkqueueError) -> None:
        with self._lock:
            if self.failure is not None:
                return
            self.failure, self.blocked, self.usable = reason, None, False
        self._on_lost(reason)

    def shut(self, reason: WorkqueueError) -> None:
        """Close it, as lost for this reason, which is told first."""
        self._fail(reason)
        self._connection.watch()  # an interrupted thread may have left it
        # Without the broker's consent, for which pika has no public way. Ends in _on_closed.
        cut = functools.partial(self._connection._terminate_stream, StreamLostError("no longer needed"))
        if self._connection.is_open:
            self._connection.close()
            self._loop.call_later(CLOSE_TIMEOUT, cut)
        elif not (self._connection.is_closing or self._connection.is_closed):
            cut()  # still opening: close() makes pika 1.4 trip over an assertion


def _try(method: Callable[..., T], *arguments: object) -> T | None:
    """Have a socket do it; None if it cannot, which the I/O thread will find out."""
    try:
        return method(*arguments)
    except OSError as error:
        if error.__traceback__ and error.__traceback__.tb_next:
            raise  # a signal handler's, such as TimeoutError
        return None


def read_properties(properties: bytes) -> tuple[str | None, Mapping[str, object]]:
    """The message id and the headers. Raises ValueError if nobody can decode them."""
    message_id = _frames.read_plain_properties(properties)
    if message_id is not None:
        return message_id, {}
    described = _decoded(properties)
    if isinstance(described.message_id, bytes):  # what pika makes of one that is no UTF-8
        raise ValueError(f"its message id cannot be decoded: {described.message_id!r}")
    return described.message_id, described.headers or {}


def copy_properties(properties: bytes, message_id: str, headers: Mapping[str, Any], *, expires: bool) -> bytes:
    """The properties of a copy of a message: persistent, with further headers, without what only its publisher may say.

    A copy that is a dead letter does not expire.
    """
    described = _decoded(properties)
    described.message_id = message_id
    described.headers = {**(described.headers or {}), **headers}
    described.headers.pop("CC", None)  # the queues named there have had theirs
    described.delivery_mode = 2
    described.user_id = None
    if not expires:
        described.expiration = None
    return b"".join(described.encode())


def _decoded(properties: bytes) -> BasicProperties:
    described = BasicProperties()
    try:
        described.decode(properties)
    except Exception as error:  # pika raises whatever the broken bytes lead to
        raise ValueError(f"its properties cannot be decoded: {error!r}") from error
    return described


def _parameters(url: str, name: str) -> pika.URLParameters:
    try:
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError, SyntaxError, AttributeError, OSError) as error:
        # Only the query can be wrong now. ssl_options may hold a passphrase, so what it says is not repeated.
        said = error if isinstance(error, OSError) or "ssl_options" not in url else type(error).__name__
    else:
        parameters.client_properties = {"connection_name": name, **(parameters.client_properties or {})}
        return parameters
    raise InvalidURL(f"the part of the URL after ? cannot be used: {said}")
