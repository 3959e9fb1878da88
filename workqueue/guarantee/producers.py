"""A producer that keeps publishing while the broker goes down under it."""

import threading

import pika
import pika.adapters.blocking_connection as blocking
from pika.exceptions import AMQPError

from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import PATIENCE, barrier

# Seconds between publishes: what matters is to publish at the moment of the cut, and all of it has to be drained.
_PACE = 0.002


class Producer:
    """Publishes persistent tasks from a thread of its own until its connection is cut.

    `published` is what it handed to its connection, `confirmed` what the broker confirmed; a publish that was under
    way at the cut is in the first alone.
    """

    def __init__(self, url: str, queue: str, *, confirm: bool) -> None:
        self.published: list[str] = []
        self.confirmed: list[str] = []
        self._queue = queue
        self._stop = threading.Event()
        self._connection = blocking.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        if confirm:
            self._channel.confirm_delivery()
        self._confirm = confirm
        self._cut_off = False
        self._thread = threading.Thread(target=self._publish, name="producer", daemon=True)
        self._thread.start()

    def wait_until_published(self, count: int) -> None:
        """Wait until it has published so many."""
        barrier(f"the producer publishes {count} tasks", lambda: len(self.published) >= count)

    def wait_until_cut_off(self) -> None:
        """Wait until it has noticed that its connection is gone."""
        self._thread.join(PATIENCE)
        if not self._cut_off:
            raise Unknown("the producer was not cut off: the fault did not reach its connection")

    def stop(self) -> None:
        """Stop publishing, if it still does, and leave."""
        self._stop.set()
        self._thread.join(PATIENCE)

    def _publish(self) -> None:
        properties = pika.BasicProperties(delivery_mode=2)
        try:
            while not self._stop.wait(_PACE):
                task = f"task {len(self.published) + 1}"
                self.published.append(task)
                self._channel.basic_publish("", self._queue, task.encode(), properties)
                if self._confirm:
                    self.confirmed.append(task)
            self._connection.close()
        except AMQPError:
            self._cut_off = True
