"""Consuming: every task is settled once its work is over, and not before."""

import contextlib
import functools
import logging
import queue as queues
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from workqueue._io import Consumer, Link
from workqueue._url import check_url, safe_url
from workqueue.errors import Closed, Reject, WorkqueueError
from workqueue.message import Message
from workqueue.queue import Queue

ACK_GRACE = 0.1
"""Seconds between the last settlement and the end of the channel.

A quorum queue may lose acks that are sent right before their channel closes, be it politely (rabbitmq-server
#10327). A client that stayed for half of this lost none.
"""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger("workqueue")


class Worker:
    """Takes tasks from a queue and gives each to ``handler``, one at a time.

    * ``url``: as for :class:`~workqueue.Producer`.
    * ``queue``: where the tasks are. A Queue is declared first, a name is taken to exist.
    * ``handler``: called with a Message in the thread that called ``run``. If it returns, the task is
      acknowledged. If it raises :class:`~workqueue.Reject`, the task is dead-lettered where the queue says
      so, else dropped. If it raises another exception, that is logged, and the task goes back as failed.
    * ``prefetch``: how many unsettled tasks the broker may give to this worker, from 1 to 65535. 1 is fair
      dispatch: no task waits here while another worker is free.
    * ``on_ready``: called once tasks can arrive, before the first is handled.

    A task that is not settled when the connection ends, for whatever reason, goes to another worker.
    """

    def __init__(
        self,
        url: str,
        queue: Queue | str,
        handler: Callable[[Message], object],
        *,
        prefetch: int = 1,
        on_ready: Callable[[], object] | None = None,
    ) -> None:
        check_url(url)
        if not 1 <= prefetch <= 65535:
            raise ValueError(f"prefetch is a number from 1 to 65535, not {prefetch}")
        self._url = url
        self._queue = queue
        self._name = queue.name if isinstance(queue, Queue) else queue
        self._handler = handler
        self._prefetch = prefetch
        self._on_ready = on_ready
        self._state = "not started"
        self._stopping = False
        self._lost: WorkqueueError | None = None
        # None wakes the worker up. SimpleQueue, because a signal handler may put while the same thread gets.
        self._inbox: queues.SimpleQueue[tuple[int, Message] | None] = queues.SimpleQueue()
        self._in_hand: Message | None = None
        self._settled_at: float | None = None
        self._ended = threading.Event()

    def __repr__(self) -> str:
        hand = "nothing" if self._in_hand is None else "one task"
        return f"<Worker {self._name!r} at {safe_url(self._url)} {self._state}, {hand} in hand>"

    def run(self) -> None:
        """Work until stopped. A worker runs once.

        In the main thread, SIGTERM or SIGINT stops it as ``stop`` does. A second one has its default action:
        the process ends at once, and the task in hand goes to another worker.

        Raises whatever else ended it: TopologyMismatch, ConnectionFailed (AccessRefused), ConnectionLost,
        ConsumerCancelled, ChannelClosed. It does not connect again.
        """
        with self._signals():
            # Until there is a subscription, there is nothing to finish that would be worth waiting for.
            abandoned = lambda: self._stopping and self._state == "connecting"  # noqa: E731
            link = Link(self._url, "workqueue worker", self._on_lost, abandoned)
            try:
                self._state = "connecting"
                consumer = self._subscribe(link)
                if consumer is not None:
                    self._state = "consuming"
                    unstarted = self._work(consumer)
                    self._state = "draining"
                    self._drain(consumer, unstarted)
            finally:
                link.close()
                self._state = "stopped"

    def stop(self) -> None:
        """Finish the task in hand, hand back what was not started, and have ``run`` return.

        May be called from any thread and from a signal handler, any number of times.
        """
        self._stopping = True
        self._inbox.put(None)

    def _ending(self) -> bool:
        return self._stopping or self._lost is not None

    def _subscribe(self, link: Link) -> Consumer | None:
        try:
            link.open()
            if isinstance(self._queue, Queue):
                link.declare(self._queue)
            return link.consumer(self._name, self._prefetch, lambda *delivery: self._inbox.put(delivery), self._on_lost)
        except Closed:
            if self._stopping:
                return None
            raise

    def _on_lost(self, reason: WorkqueueError) -> None:
        self._lost = self._lost or reason
        self._ended.set()
        self._inbox.put(None)

    def _work(self, consumer: Consumer) -> list[int]:
        """Handle tasks until there is a reason not to; return the tags of those that were not started."""
        if self._on_ready is not None:
            self._on_ready()
        while not self._ending():
            delivery = self._inbox.get()
            if delivery is None:
                continue
            if self._ending():
                return [delivery[0]]
            self._handle(consumer, *delivery)
        return []

    def _handle(self, consumer: Consumer, tag: int, message: Message) -> None:
        self._in_hand = message
        try:
            self._handler(message)
        except Reject as refusal:
            logger.warning("task %s of queue %r was rejected: %s", message.message_id, self._name, refusal)
            settle = functools.partial(consumer.reject, tag, requeue=False)
        except Exception:
            logger.exception("task %s of queue %r failed and goes back", message.message_id, self._name)
            settle = functools.partial(consumer.reject, tag, requeue=True)
        else:
            settle = functools.partial(consumer.ack, tag)
        finally:
            self._in_hand = None
        if self._ending():
            consumer.cancel()  # first, or the broker would send another task, only to get it back as redelivered
        settle()
        self._settled_at = time.monotonic()

    def _drain(self, consumer: Consumer, unstarted: list[int]) -> None:
        consumer.cancel()
        while not self._inbox.empty():
            delivery = self._inbox.get()
            if delivery is not None:
                unstarted.append(delivery[0])
        for tag in unstarted:
            consumer.hand_back(tag)
        if self._settled_at is not None:
            self._ended.wait(max(0.0, self._settled_at + ACK_GRACE - time.monotonic()))
        if self._lost is not None:
            raise self._lost

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            # The kernel's own action for the second one: it works even while the task holds the interpreter.
            for each in _STOP_SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            self.stop()

        previous = {each: signal.signal(each, on_signal) for each in _STOP_SIGNALS}
        try:
            yield
        finally:
            for each, handler in previous.items():
                signal.signal(each, signal.SIG_DFL if handler is None else handler)
