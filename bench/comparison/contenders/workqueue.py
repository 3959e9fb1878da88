"""The core itself."""

import collections
from concurrent.futures import Future

from workqueue import Producer, Queue, Worker

from ..model import Endpoint, Handler

WINDOW = 1000


def _queue(endpoint: Endpoint) -> Queue:
    return Queue(endpoint.queue, type=endpoint.queue_type)


class Send:
    """``send``, which returns when the message is confirmed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._queue = _queue(endpoint)
        self._producer = Producer(endpoint.url, window=WINDOW)
        self._producer.__enter__()
        self._producer.declare(self._queue)

    def publish(self, body: bytes, count: int) -> None:
        """Publish one after the other."""
        for _ in range(count):
            self._producer.send(self._queue, body)

    def close(self) -> None:
        """Disconnect."""
        self._producer.close()


class SendAsync(Send):
    """``send_async``. The result of every future is taken, as far behind as the window reaches."""

    def publish(self, body: bytes, count: int) -> None:
        """Publish, and wait for every confirm."""
        pending: collections.deque[Future[None]] = collections.deque()
        for _ in range(count):
            pending.append(self._producer.send_async(self._queue, body))
            if len(pending) > WINDOW:
                pending.popleft().result()
        while pending:
            pending.popleft().result()


def consume(endpoint: Endpoint, prefetch: int, handler: Handler) -> None:
    """A Worker."""
    Worker(endpoint.url, _queue(endpoint), lambda message: handler(message.body), prefetch=prefetch).run()
