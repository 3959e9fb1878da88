"""amqpstorm: a confirm each."""

import amqpstorm

from ..model import Endpoint, Handler


class Publisher:
    """With ``confirm_deliveries``, each publish waits for its confirm."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._queue = endpoint.queue
        self._connection = amqpstorm.UriConnection(endpoint.url)
        self._channel = self._connection.channel()
        self._channel.queue.declare(endpoint.queue, durable=True, arguments=endpoint.arguments)
        self._channel.confirm_deliveries()

    def publish(self, body: bytes, count: int) -> None:
        """Publish; each is confirmed when its call returns."""
        for _ in range(count):
            if not self._channel.basic.publish(body, self._queue, properties={"delivery_mode": 2}):
                raise ConnectionError("the broker did not take a message")

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def consume(endpoint: Endpoint, prefetch: int, handler: Handler) -> None:
    """A callback for each message, which acks it."""

    def callback(message: amqpstorm.Message) -> None:
        handler(message.body)
        message.ack()

    channel = amqpstorm.UriConnection(endpoint.url).channel()
    channel.basic.qos(prefetch)
    channel.basic.consume(callback, endpoint.queue)
    channel.start_consuming()
