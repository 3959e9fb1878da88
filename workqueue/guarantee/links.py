"""An AMQP connection that is only a socket: it sends what it is told to and reads what came, and nothing else happens.

The reference model is compared with a broker after each single step, thousands of times. That needs no thread, and
nothing between the frames and who looks at them; the frames themselves are pika's.
"""

import contextlib
import socket
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pika
from pika import frame, spec
from pika.amqp_object import Method
from pika.exceptions import AMQPError

from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import PATIENCE

_READ = 1 << 16  # bytes


@dataclass(frozen=True, slots=True)
class Came:
    """A method that the broker sent, with the body if it has one."""

    channel: int
    method: Any
    body: bytes = b""


class Closed(AMQPError):  # noqa: N818 - what the broker did
    """The broker closed a channel or the connection, and said why."""


class Link:
    """A connection, open and with heartbeats off. What comes is in `inbox`, in order.

    :raises pika.exceptions.AMQPError: if the broker refuses it.
    """

    def __init__(self, url: str) -> None:
        self.inbox: deque[Came] = deque()
        self._buffer = b""
        self._content: dict[int, tuple[Any, int, bytes]] = {}
        parameters = pika.URLParameters(url)
        self._socket = socket.create_connection((parameters.host, parameters.port), timeout=PATIENCE)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if parameters.ssl_options is not None:
                self._socket = parameters.ssl_options.context.wrap_socket(
                    self._socket, server_hostname=parameters.ssl_options.server_hostname or parameters.host
                )
            self._open(parameters)
        except BaseException:
            self._socket.close()
            raise

    def _open(self, parameters: pika.URLParameters) -> None:
        self._socket.sendall(frame.ProtocolHeader().marshal())
        start = self.expect(0, spec.Connection.Start)
        mechanism, response = parameters.credentials.response_for(start.method)
        self.send(0, spec.Connection.StartOk({}, str(mechanism), cast("Any", response), "en_US"))
        tune = self.expect(0, spec.Connection.Tune).method
        self.send(0, spec.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self.ask(0, spec.Connection.Open(parameters.virtual_host), spec.Connection.OpenOk)

    def send(self, channel: int, *methods: Method) -> None:
        """Send methods that have no content."""
        self._socket.sendall(b"".join(frame.Method(channel, method).marshal() for method in methods))

    def publish(self, channel: int, queue: str, bodies: list[bytes]) -> None:
        """Publish persistent messages to a queue, in order."""
        properties = spec.BasicProperties(delivery_mode=2)
        data = b""
        for body in bodies:
            data += frame.Method(channel, spec.Basic.Publish(exchange="", routing_key=queue)).marshal()
            data += frame.Header(channel, len(body), properties).marshal() + frame.Body(channel, body).marshal()
        self._socket.sendall(data)

    def ask(self, channel: int, method: Method, *answers: type[Method]) -> Came:
        """Send a method, and wait for its answer; whatever else comes is in the inbox."""
        self.send(channel, method)
        return self.expect(channel, *answers)

    def expect(self, channel: int, *answers: type[Method]) -> Came:
        """Wait for one of these methods.

        :raises Closed: if the broker closes the channel or the connection instead.
        :raises Unknown: if nothing of it comes in time.
        """
        deadline = time.monotonic() + PATIENCE
        looked = 0
        while True:
            for place in range(looked, len(self.inbox)):
                came = self.inbox[place]
                if came.channel == channel and isinstance(came.method, answers):
                    del self.inbox[place]
                    return came
            looked = len(self.inbox)
            if not self.read(deadline - time.monotonic()):
                raise Unknown(f"the broker did not answer with {answers[0].NAME} within {PATIENCE:g} s")

    def read(self, seconds: float) -> bool:
        """Wait so long for something to come, and put all that came into the inbox; whether anything did.

        :raises Closed: if the broker closed a channel or the connection.
        :raises pika.exceptions.AMQPError: if the connection broke.
        """
        self._socket.settimeout(max(seconds, 0.0))
        try:
            data = self._socket.recv(_READ)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError as error:
            raise AMQPError(f"the connection broke: {error}") from error
        finally:
            self._socket.settimeout(PATIENCE)
        if not data:
            raise AMQPError("the broker closed the socket")
        self._buffer += data
        for came in self._decoded():
            if isinstance(came.method, spec.Channel.Close | spec.Connection.Close):
                closed = came.method
                raise Closed(f"sent {closed.NAME}: {closed.reply_code} {closed.reply_text}")
            self.inbox.append(came)
        return True

    def _decoded(self) -> Iterator[Came]:
        while True:
            size, decoded = frame.decode_frame(self._buffer)
            if decoded is None or isinstance(decoded, frame.ProtocolHeader):
                return
            self._buffer = self._buffer[size:]
            channel = decoded.channel_number
            if isinstance(decoded, frame.Method):
                if spec.has_content(decoded.method.INDEX):
                    self._content[channel] = (decoded.method, -1, b"")
                else:
                    yield Came(channel, decoded.method)
                continue
            if isinstance(decoded, frame.Header):
                self._content[channel] = (self._content[channel][0], decoded.body_size, b"")
            elif isinstance(decoded, frame.Body):
                method, expected, body = self._content[channel]
                self._content[channel] = (method, expected, body + decoded.fragment)
            else:
                continue
            method, expected, body = self._content[channel]
            if len(body) == expected:
                del self._content[channel]
                yield Came(channel, method, body)

    def fileno(self) -> int:
        """Its socket, for `select`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it as it should be, as far as the broker still takes part. Call it once, last."""
        with contextlib.suppress(AMQPError, OSError, Unknown):
            self.ask(0, spec.Connection.Close(200, "", 0, 0), spec.Connection.CloseOk)
        self._socket.close()

    def drop(self) -> None:
        """Close the socket and say nothing, as the operating system does for a process that died."""
        self._socket.close()
