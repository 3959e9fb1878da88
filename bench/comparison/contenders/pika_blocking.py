"""pika's BlockingConnection: as in RabbitMQ's tutorial, and with a confirm each."""

from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from ..model import Endpoint, Handler


class Unconfirmed:
    """The tutorial's way. That it returns says nothing about the broker having the message."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._queue = endpoint.queue
        self._connection = pika.BlockingConnection(pika.URLParameters(endpoint.url))
        self._channel = self._connection.channel()
        self._channel.queue_declare(endpoint.queue, durable=True, arguments=endpoint.arguments)

    def publish(self, body: bytes, count: int) -> None:
        """Publish."""
        persistent = pika.BasicProperties(delivery_mode=2)
        for _ in range(count):
            self._channel.basic_publish("", self._queue, body, persistent)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class Confirmed(Unconfirmed):
    """With ``confirm_delivery``, each publish waits for its confirm."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._channel.confirm_delivery()


def consume(endpoint: Endpoint, prefetch: int, handler: Handler) -> None:
    """The tutorial's callback loop."""

    def callback(channel: BlockingChannel, method: Any, _properties: object, body: bytes) -> None:
        handler(body)
        channel.basic_ack(method.delivery_tag)

    channel = pika.BlockingConnection(pika.URLParameters(endpoint.url)).channel()
    channel.basic_qos(prefetch_count=prefetch)
    channel.basic_consume(endpoint.queue, callback)
    channel.start_consuming()
