"""Clients that keep at it while the broker goes down under them."""

import abc
import threading

import pika
import pika.adapters.blocking_connection as blocking
from pika.exceptions import AMQPError

from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import HARNESS_PATIENCE, barrier

# Seconds between publishes: what matters is to publish at the moment of the cut, and all of it has to be drained.
_PACE = 0.002


class Persistent(abc.ABC):
    """Does something again and again, in a thread of its own, until its connection is cut."""

    def __init__(self, url: str) -> None:
        self._stop = threading.Event()
        self._cut_off = False
        self._connection = blocking.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__.lower(), daemon=True)

    def wait_until_cut_off(self) -> None:
        """Wait until it has noticed that its connection is gone."""
        self._thread.join(HARNESS_PATIENCE)
        if not self._cut_off:
            raise Unknown("it was not cut off: the fault did not reach its connection")

    def stop(self) -> None:
        """Stop, if it still goes on, and leave."""
        self._stop.set()
        self._thread.join(HARNESS_PATIENCE)

    def _run(self) -> None:
        try:
            while not self._stop.wait(_PACE):
                self._step()
            self._connection.close()
        except AMQPError:
            self._cut_off = True

    @abc.abstractmethod
    def _step(self) -> None: ...


class Producer(Persistent):
    """Publishes persistent tasks.

    `published` is what it handed to its connection, `confirmed` what the broker confirmed; a publish that was under
    way at the cut is in the first alone.
    """

    def __init__(self, url: str, queue: str, *, confirm: bool) -> None:
        super().__init__(url)
        self.published: list[str] = []
        self.confirmed: list[str] = []
        self._queue = queue
        self._confirm = confirm
        if confirm:
            self._channel.confirm_delivery()
        self._thread.start()

    def wait_until_published(self, count: int) -> None:
        """Wait until it has published so many."""
        barrier(f"the producer publishes {count} tasks", lambda: len(self.published) >= count)

    def _step(self) -> None:
        task = f"task {len(self.published) + 1}"
        self.published.append(task)
        self._channel.basic_publish("", self._queue, task.encode(), pika.BasicProperties(delivery_mode=2))
        if self._confirm:
            self.confirmed.append(task)


class Declarer(Persistent):
    """Declares one durable queue after the other; `declared` holds the names of those that the broker confirmed."""

    def __init__(self, url: str, prefix: str, queue_type: str) -> None:
        super().__init__(url)
        self.declared: list[str] = []
        self.attempted: list[str] = []
        self._prefix = prefix
        self._arguments = {"x-queue-type": queue_type}
        self._thread.start()

    def wait_until_declared(self, count: int) -> None:
        """Wait until it has declared so many."""
        barrier(f"{count} queues are declared", lambda: len(self.declared) >= count)

    def _step(self) -> None:
        name = f"{self._prefix}-{len(self.declared) + 1}"
        self.attempted.append(name)  # it may be there although the confirmation never came
        self._channel.queue_declare(name, durable=True, arguments=self._arguments)
        self.declared.append(name)
