"""pika's SelectConnection, with confirms that are streamed."""

from collections.abc import Callable
from typing import Any

import pika
from pika.channel import Channel

from ..model import Endpoint, Handler

WINDOW = 1000


def _connect(url: str, on_channel: Callable[[Channel], object]) -> pika.SelectConnection:
    def failed(_: object, error: BaseException | str) -> None:
        raise ConnectionError(str(error))

    return pika.SelectConnection(
        pika.URLParameters(url),
        on_open_callback=lambda connection: connection.channel(on_open_callback=on_channel),
        on_open_error_callback=failed,
        on_close_callback=lambda connection, _: connection.ioloop.stop(),
    )


class Publisher:
    """Publishes on in the callback of a confirm, at most 1000 unconfirmed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._queue = endpoint.queue
        self._body = b""
        self._persistent = pika.BasicProperties(delivery_mode=2)
        self._sent = self._settled = self._wanted = 0
        self._beyond: set[int] = set()
        self._channel: Channel

        def opened(channel: Channel) -> None:
            self._channel = channel
            channel.queue_declare(endpoint.queue, durable=True, arguments=endpoint.arguments, callback=declared)

        def declared(_: object) -> None:
            self._channel.confirm_delivery(self._on_confirm, callback=lambda _: self._connection.ioloop.stop())

        self._connection = _connect(endpoint.url, opened)
        self._connection.ioloop.start()

    def publish(self, body: bytes, count: int) -> None:
        """Publish, and run the I/O loop until all is confirmed."""
        self._body = body
        self._wanted += count
        self._fill()
        self._connection.ioloop.start()
        if self._settled < self._wanted:
            raise ConnectionError("the connection was closed")

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()
        self._connection.ioloop.start()

    def _fill(self) -> None:
        room = WINDOW - (self._sent - self._settled - len(self._beyond))
        for _ in range(min(room, self._wanted - self._sent)):
            self._channel.basic_publish("", self._queue, self._body, self._persistent)
            self._sent += 1

    def _on_confirm(self, frame: Any) -> None:
        answer = frame.method
        if not isinstance(answer, pika.spec.Basic.Ack):
            raise ConnectionError("the broker did not take a message")
        if answer.multiple:
            self._settled = answer.delivery_tag
            self._beyond = {each for each in self._beyond if each > self._settled}
        else:
            self._beyond.add(answer.delivery_tag)
        while self._settled + 1 in self._beyond:
            self._settled += 1
            self._beyond.remove(self._settled)
        if self._settled == self._wanted:
            self._connection.ioloop.stop()
        else:
            self._fill()


def consume(endpoint: Endpoint, prefetch: int, handler: Handler) -> None:
    """A callback for each message, which acks it."""

    def callback(channel: Channel, method: Any, _properties: object, body: bytes) -> None:
        handler(body)
        channel.basic_ack(method.delivery_tag)

    def opened(channel: Channel) -> None:
        channel.basic_qos(prefetch_count=prefetch, callback=lambda _: channel.basic_consume(endpoint.queue, callback))

    _connect(endpoint.url, opened).ioloop.start()
