"""kombu on py-amqp: a confirm each."""

import kombu

from ..model import Endpoint, Handler


def _queue(endpoint: Endpoint) -> kombu.Queue:
    return kombu.Queue(endpoint.queue, durable=True, queue_arguments=endpoint.arguments)


class Publisher:
    """With the transport option ``confirm_publish``, each publish waits for its confirm."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._queue = endpoint.queue
        self._connection = kombu.Connection(endpoint.url, transport_options={"confirm_publish": True})
        _queue(endpoint)(self._connection.default_channel).declare()
        self._producer = self._connection.Producer()

    def publish(self, body: bytes, count: int) -> None:
        """Publish; each is confirmed when its call returns."""
        for _ in range(count):
            self._producer.publish(body, routing_key=self._queue, delivery_mode="persistent")

    def close(self) -> None:
        """Disconnect."""
        self._connection.release()


def consume(endpoint: Endpoint, prefetch: int, handler: Handler) -> None:
    """A callback for each message, which acks it."""

    def callback(body: bytes, message: kombu.Message) -> None:
        handler(body)
        message.ack()

    connection = kombu.Connection(endpoint.url)
    with connection.Consumer([_queue(endpoint)], callbacks=[callback], prefetch_count=prefetch):
        while True:
            connection.drain_events()
