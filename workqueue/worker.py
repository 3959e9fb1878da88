"""Consuming: every task is settled once its work is over, and not before."""

import contextlib
import logging
import math
import os
import queue as queues
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from workqueue._backoff import Backoff
from workqueue._consumer import Consumer
from workqueue._failures import Failures
from workqueue._handlers import Handler, Handlers, check_handler, tasks
from workqueue._io import Link
from workqueue._url import safe_url
from workqueue.errors import AccessRefused, ChannelClosed, ConnectionLost, QueueUnavailable, WorkqueueError
from workqueue.events import Connected, Disconnected, Draining, Health, Observer, Subscribed, Teller
from workqueue.queue import Queue, check_name

ACK_GRACE = 0.1
"""Seconds between the last settlement and the end of the channel.

A quorum queue may lose acks that are sent right before their channel closes, be it politely (rabbitmq-server
#10327). A client that stayed for half of this lost none.
"""

STEADY = 5.0
"""Seconds after which a subscription counts as one that works: if it is lost then, the delays begin anew."""

_GLANCE = 0.1
"""Seconds after which a wait is begun anew: a signal that comes when it is just about to begin does not end it."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger("workqueue.connection")
"""Apart from what is logged of tasks: who has an observer that tells of connections can do without."""


class Worker:
    """Takes tasks from a queue and gives each to ``handler``.

    * ``url``: as for :class:`~workqueue.Producer`.
    * ``queue``: where the tasks are. A Queue is declared first, a name is taken to exist.
    * ``handler``: called with a Message. If it returns, the task is acknowledged. If it raises
      :class:`~workqueue.Reject`, the task is dead-lettered where the queue says so, else dropped. If it raises
      anything else, that is logged, and the task goes back as failed, to be tried again at once.
    * ``concurrency``: how many threads call it. More than one is for work that waits; for work that computes, run
      more processes.
    * ``prefetch``: how many unsettled tasks the broker may give to this worker, from ``concurrency`` (the default) to
      65535. Without spare ones dispatch is fair: no task waits here while another worker is free. More are faster
      where tasks are short.
    * ``max_attempts``: how often a task may fail before it goes to the queue's ``dead_letter``; 20 by default. It is
      about tasks whose handler raises; those that take their worker with them are counted by quorum queues alone.
      Without ``dead_letter`` there is no end to it but a quorum queue's delivery limit (20 since RabbitMQ 4.0), beyond
      which **the broker drops the task**.
    * ``shutdown_timeout``: seconds that tasks in hand may take to finish after ``stop``.
    * ``observer``: is called with what happens; see :mod:`workqueue.events`.

    Delivery is at least once. A task that is not settled when the connection ends, for whatever reason, goes to another
    worker, or comes here again, with ``redelivered`` set. That includes a task whose handler is killed, runs out of
    memory, or holds the interpreter's lock so long that no heartbeat is answered.
    """

    def __init__(
        self,
        url: str,
        queue: Queue | str,
        handler: Handler,
        *,
        prefetch: int | None = None,
        concurrency: int = 1,
        max_attempts: int | None = None,
        shutdown_timeout: float = 30.0,
        observer: Observer | None = None,
    ) -> None:
        check_handler(handler)
        if concurrency < 1:
            raise ValueError(f"concurrency is 1 or more, not {concurrency}")
        prefetch = concurrency if prefetch is None else prefetch
        if not concurrency <= prefetch <= 65535:
            raise ValueError(f"prefetch is a number from {concurrency} (concurrency) to 65535, not {prefetch}")
        if not 0 <= shutdown_timeout <= threading.TIMEOUT_MAX:
            raise ValueError(f"shutdown_timeout is a number of seconds from 0 on, not {shutdown_timeout}")
        self._url = url
        self._queue = queue
        self._name = queue.name if isinstance(queue, Queue) else queue
        check_name(self._name)
        self._prefetch = prefetch
        self._shutdown_timeout = shutdown_timeout
        self._tell = Teller(observer)
        self._failures = Failures(url, queue, max_attempts, self._tell)
        # What run has to know. SimpleQueue, because a signal handler may put while the same thread gets.
        self._mail: queues.SimpleQueue[BaseException | None] = queues.SimpleQueue()
        self._handlers = Handlers(self._name, handler, concurrency, self._failures, self._tell, self._mail.put)
        self._state = "not started"
        self._patient_until = math.inf  # until it is asked to stop
        self._backoff = Backoff()
        self._link: Link | None = None

    def __repr__(self) -> str:
        in_hand = tasks(len(self._handlers.in_hand))
        return f"<Worker {self._name!r} at {safe_url(self._url)} {self._state}, {in_hand} in hand>"

    @property
    def health(self) -> Health:
        """How it is, for a probe. May be asked from any thread."""
        link, state = self._link, self._state
        connected = link is not None and link.usable
        return Health(
            connected=connected,
            consuming=connected and state == "consuming",
            blocked=connected and self._failures.producer.blocked is not None,
            draining=self._stopping() and state != "stopped",
        )

    def run(self) -> None:
        """Work until stopped. A worker runs once.

        When the connection is lost, or the broker ends the subscription, it connects and subscribes anew, after a delay
        that grows up to 10 seconds. In the main thread, SIGTERM or SIGINT stops it as ``stop`` does. A second one has
        its default action: the process ends at once, and the tasks in hand go to another worker.

        Raises what trying again would not help against: AccessRefused, TopologyMismatch, ChannelClosed (the queue does
        not exist, and was given by name; or the user may not use it), ShutdownTimeout. Also what the connection was
        lost to, if that happened while it was stopping, so that tasks in hand may be done again.
        """
        if self._state != "not started":
            raise RuntimeError("a worker runs once")
        self._state = "connecting"
        with self._signals():
            try:
                self._handlers.start()
                self._serve()
            except WorkqueueError:
                self._handlers.finish(self._shutdown_timeout)
                raise
            finally:
                self._state = "stopped"
                self._handlers.end()
                self._failures.close()

    def stop(self) -> None:
        """Finish the tasks in hand, hand back what was not started, and have ``run`` return.

        May be called from any thread and from a signal handler, any number of times.
        """
        self._patient_until = min(self._patient_until, time.monotonic() + self._shutdown_timeout)
        self._handlers.stop()
        self._mail.put(None)

    def _stopping(self) -> bool:
        return self._patient_until < math.inf

    def _waits_no_longer(self) -> bool:
        # Until there is a subscription, there is nothing to finish that would be worth waiting for.
        return self._stopping() and (self._state == "connecting" or time.monotonic() > self._patient_until)

    def _serve(self) -> None:
        while not self._stopping():
            subscribed_at: float | None = None
            link = self._link = Link(self._url, "workqueue worker", self._mail.put, self._waits_no_longer)
            try:
                link.open()
                self._tell(Connected(link.safe_url, "worker"))
                if isinstance(self._queue, Queue):
                    link.declare(self._queue)
                consumer = link.consumer(self._name, self._prefetch, self._handlers.deliver)
                subscribed_at = time.monotonic()
                self._state = "consuming"
                self._tell(Subscribed(self._name, self._prefetch))
                while not self._stopping():
                    self._read_mail(_GLANCE)
                    if link.failure is not None:
                        raise link.failure
                self._drain(link, consumer)
                return
            except WorkqueueError as error:
                self._state = "connecting"
                again_at = time.monotonic() + self._delay(error, subscribed_at)
            finally:
                link.close()
            while not self._stopping() and (left := again_at - time.monotonic()) > 0:
                self._read_mail(min(left, _GLANCE))
        if self._handlers.in_hand or self._handlers.unsettled:
            raise ConnectionLost("stopped without a connection: what was in hand cannot be settled")

    def _read_mail(self, timeout: float) -> None:
        """Wait for mail, so long at most; raise what a thread has ended of."""
        with contextlib.suppress(queues.Empty):
            mail = self._mail.get(timeout=timeout)
            if mail is not None and not isinstance(mail, WorkqueueError):
                raise mail

    def _delay(self, error: WorkqueueError, subscribed_at: float | None) -> float:
        """Seconds to wait before the next attempt; raise the error if there must be none."""
        if self._stopping():
            if subscribed_at is not None:
                raise error
            return 0.0
        if subscribed_at is None and _is_final(error, declares=isinstance(self._queue, Queue)):
            self._tell(Disconnected(error, "worker"))
            raise error
        self._handlers.hand_back()
        if subscribed_at is not None and time.monotonic() - subscribed_at > STEADY:
            self._backoff.attempts = 0
        delay = self._backoff.next()
        logger.warning("%s; trying again in %.1f s", error, delay)
        self._tell(Disconnected(error, "worker", delay))
        return delay

    def _drain(self, link: Link, consumer: Consumer) -> None:
        self._state = "draining"
        self._tell(Draining(self._name, len(self._handlers.in_hand)))
        consumer.cancel()
        self._handlers.hand_back()
        self._handlers.finish(self._shutdown_timeout)
        time.sleep(ACK_GRACE)
        while not self._mail.empty():
            self._read_mail(0.0)
        if link.failure is not None:
            raise link.failure

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        ours = _STOP_SIGNALS if threading.current_thread() is threading.main_thread() else ()
        pid = os.getpid()

        def on_signal(number: int, _frame: FrameType | None) -> None:
            # The kernel's own action for the second one: it works even while the task holds the interpreter.
            for each in _STOP_SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            if os.getpid() != pid:  # what a handler has forked is no worker
                signal.raise_signal(number)
            self.stop()

        previous = {each: signal.signal(each, on_signal) for each in ours}
        try:
            yield
        finally:
            for each, handler in previous.items():
                signal.signal(each, signal.SIG_DFL if handler is None else handler)


def _is_final(error: WorkqueueError, *, declares: bool) -> bool:
    """Whether an attempt to subscribe will end like this the next time, too. A node that is down will be back."""
    if isinstance(error, ChannelClosed) and not isinstance(error, QueueUnavailable):
        # A queue that was deleted just after it was declared is declared again.
        return error.code in (403, 406) or (error.code == 404 and not declares)
    return isinstance(error, AccessRefused)
