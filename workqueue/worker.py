"""Consuming: every task is settled once its work is over, and not before."""

import contextlib
import inspect
import logging
import math
import os
import queue as queues
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from workqueue import events
from workqueue._backoff import Backoff
from workqueue._consumer import Consumer
from workqueue._failures import Failures
from workqueue._io import Link, read_properties
from workqueue._url import safe_url
from workqueue.errors import AccessRefused, ChannelClosed, QueueUnavailable, Reject, ShutdownTimeout, WorkqueueError
from workqueue.message import Message
from workqueue.queue import Queue, check_name

ACK_GRACE = 0.1
"""Seconds between the last settlement and the end of the channel.

A quorum queue may lose acks that are sent right before their channel closes, be it politely (rabbitmq-server
#10327). A client that stayed for half of this lost none.
"""

STEADY = 5.0
"""Seconds after which a subscription counts as one that works: if it is lost then, the delays begin anew."""

_GLANCE = 0.05
"""Seconds between two looks at whether to go on. Nothing wakes run: what a signal handler may do is to set a value."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger("workqueue.connection")
"""Apart from what is logged of tasks: who has an observer that tells of connections can do without."""

Handler = Callable[[Message], object]
_Delivery = tuple[Consumer, int, bool, bytes, bytes]
"""The subscription that a task came by, its delivery tag, whether it is a redelivery, its properties and its body."""


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
        observer: events.Observer | None = None,
    ) -> None:
        check_handler(handler)
        prefetch = concurrency if prefetch is None else prefetch
        if not 1 <= concurrency <= prefetch <= 65535:
            raise ValueError(f"concurrency ({concurrency}) is 1 or more, and prefetch ({prefetch}) from there to 65535")
        if not 0 <= shutdown_timeout <= threading.TIMEOUT_MAX:
            raise ValueError(f"shutdown_timeout is a number of seconds from 0 on, not {shutdown_timeout}")
        self._url = url
        self._queue = queue
        self._name = queue.name if isinstance(queue, Queue) else queue
        check_name(self._name)
        self._handler = handler
        self._prefetch = prefetch
        self._shutdown_timeout = shutdown_timeout
        self._tell = events.Teller(observer)
        self._failures = Failures(url, queue, max_attempts, self._tell)
        self._inbox: queues.SimpleQueue[_Delivery | None] = queues.SimpleQueue()  # None ends the threads
        names = (f"workqueue worker {number}" for number in range(1, concurrency + 1))
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
        self._in_hand: set[int] = set()  # the threads that have a task in hand
        self._finish_by = math.inf  # when they have to be done, once it is asked to stop
        self._failure: BaseException | None = None  # why a task that ended after that is not settled
        self._backoff = Backoff()
        self._link: Link | None = None
        self._subscribed_at: float | None = None

    def __repr__(self) -> str:
        return f"<Worker {self._name!r} at {safe_url(self._url)} {self.health}>"

    @property
    def health(self) -> events.Health:
        """How it is, for a probe. May be asked from any thread."""
        connected = self._link is not None and self._link.usable
        return events.Health(
            connected=connected,
            consuming=connected and self._subscribed_at is not None and not self._stopping(),
            blocked=connected and self._failures.producer.blocked is not None,
            draining=self._stopping() and (connected or bool(self._in_hand)),
        )

    def run(self) -> None:
        """Work until stopped. A worker runs once.

        When the connection is lost, or the broker ends the subscription, it connects and subscribes anew, after a delay
        that grows up to 10 seconds. In the main thread, SIGTERM or SIGINT stops it as ``stop`` does. A second one has
        its default action: the process ends at once, and the tasks in hand go to another worker.

        Raises what trying again would not help against: AccessRefused, TopologyMismatch, ChannelClosed (the queue does
        not exist, and was given by name; or the user may not use it), ShutdownTimeout. Also what a connection was lost
        to, if that was while it was stopping, or tasks that came by it ended then: such tasks may be done again.
        """
        for thread in self._threads:
            thread.start()  # raises RuntimeError the second time
        with contextlib.ExitStack() as at_the_end:
            self._stop_at_a_signal(at_the_end)
            at_the_end.callback(self._failures.producer._close, 0.0)  # what is not confirmed now, goes back
            at_the_end.callback(self._finish)
            self._serve()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Finish the tasks in hand, hand back what was not started, and have ``run`` return.

        May be called from any thread and from a signal handler, any number of times.
        """
        self._finish_by = min(self._finish_by, time.monotonic() + self._shutdown_timeout)

    def _stopping(self) -> bool:
        return self._finish_by < math.inf

    def _waits_no_longer(self) -> bool:
        # Until there is a subscription, there is nothing to finish that would be worth waiting for.
        on_time = self._subscribed_at is not None and time.monotonic() < self._finish_by
        return self._stopping() and not on_time

    def _serve(self) -> None:
        while not self._stopping():
            link = self._link = Link(self._url, "workqueue worker", lambda _: None, self._waits_no_longer)
            try:
                self._consume(link)
                return
            except WorkqueueError as error:
                again_at = time.monotonic() + self._delay(error)
                self._subscribed_at = None
            finally:
                link.close()
            while not self._stopping() and time.monotonic() < again_at:
                time.sleep(_GLANCE)

    def _consume(self, link: Link) -> None:
        """Work until stopped. Raises what the link was lost to."""
        link.open()
        self._tell(events.Connected(link.safe_url, "worker"))
        if isinstance(self._queue, Queue):
            link.declare(self._queue)
        consumer = link.consumer(self._name, self._prefetch, self._deliver)
        self._subscribed_at = time.monotonic()
        self._tell(events.Subscribed(self._name, self._prefetch))
        while not self._stopping() and link.failure is None:
            time.sleep(_GLANCE)
        if self._stopping():
            self._tell(events.Draining(self._name, len(self._in_hand)))
        consumer.cancel()  # raises what the link was lost to, if that is why it does not go on
        self._hand_back()
        self._finish()
        self._hand_back()  # what a thread had just taken
        consumer.cancel()  # once more: who answers this, has read what was settled
        time.sleep(ACK_GRACE)
        if link.failure is not None:
            raise link.failure

    def _delay(self, error: WorkqueueError) -> float:
        """Seconds to wait before the next attempt; raise the error if there must be none."""
        subscribed_at = self._subscribed_at
        if self._stopping():
            if subscribed_at is not None:
                raise error
            return 0.0
        if subscribed_at is not None and time.monotonic() - subscribed_at > STEADY:
            self._backoff.attempts = 0
        final = subscribed_at is None and _is_final(error, declares=isinstance(self._queue, Queue))
        delay = None if final else self._backoff.next()
        self._tell(events.Disconnected(error, "worker", delay))
        if delay is None:
            raise error
        logger.warning("%s; trying again in %.1f s", error, delay)
        self._hand_back()
        return delay

    def _hand_back(self) -> None:
        """Give back what was not started, without counting it as failed.

        What came by a subscription that is lost is only forgotten: the broker delivers it again.
        """
        taken = []
        with contextlib.suppress(queues.Empty):
            while True:
                if delivery := self._inbox.get_nowait():
                    consumer, tag, *_ = delivery
                    taken.append(consumer.hand_back(tag))
        if taken:
            self._tell(events.Unstarted(self._name, handed_back=sum(taken), dropped=len(taken) - sum(taken)))

    def _finish(self) -> None:
        """Stop, and wait for the tasks in hand. Raises ShutdownTimeout."""
        self.stop()
        self._inbox.put(None)
        for thread in self._threads:
            thread.join(max(0.0, self._finish_by - time.monotonic()))
        if self._in_hand:
            raise ShutdownTimeout(f"tasks not finished within {self._shutdown_timeout:g} s: {len(self._in_hand)}")

    def _stop_at_a_signal(self, at_the_end: contextlib.ExitStack) -> None:
        pid = os.getpid()

        def on_signal(number: int, _frame: FrameType | None) -> None:
            # The kernel's own action for the second one: it works even while the task holds the interpreter.
            for each in _STOP_SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            if os.getpid() != pid:  # what a handler has forked is no worker
                signal.raise_signal(number)
            self.stop()

        if threading.current_thread() is threading.main_thread():
            for each in _STOP_SIGNALS:
                previous = signal.signal(each, on_signal) or signal.SIG_DFL
                at_the_end.callback(signal.signal, each, previous)

    # In the I/O thread:

    def _deliver(self, *delivery: *_Delivery) -> None:
        self._inbox.put(delivery)

    # In the threads that call the handler:

    def _work(self) -> None:
        try:
            while (delivery := self._inbox.get()) and not self._stopping():
                if delivery[0].link.failure:
                    self._tell(events.Unstarted(self._name, handed_back=0, dropped=1))
                else:
                    self._in_hand.add(threading.get_ident())
                    self._handle(*delivery)
                    self._in_hand.remove(threading.get_ident())
            self._inbox.put(delivery)  # None is for the next thread, and a task is to be handed back
        except BaseException as flaw:  # noqa: BLE001 - of ours: nothing that a handler raises gets here
            self._in_hand.discard(threading.get_ident())
            self._failure = flaw
            self.stop()

    def _handle(self, consumer: Consumer, tag: int, redelivered: bool, properties: bytes, body: bytes) -> None:
        error: BaseException | None = None
        try:
            message_id, headers = read_properties(properties)
        except ValueError as undecodable:
            message_id, headers, error = None, {}, Reject(str(undecodable))
        message = Message(body, self._name, message_id, redelivered, headers)
        if self._tell:
            self._tell(events.TaskStarted(message))
        started = time.monotonic()
        error = error or self._call_handler(message)
        seconds = time.monotonic() - started
        outcome: events.Outcome = "done"
        over = error is None  # whether nobody needs it any more as it is in its queue
        if error is not None:
            outcome, over = self._failures.outcome(message, properties, error, lost=consumer.link.failure is not None)
        if self._stopping():
            # Before it is settled, or the broker would send another task, only to get it back as redelivered.
            with contextlib.suppress(WorkqueueError):
                consumer.cancel()
        settled = consumer.ack(tag) if over else consumer.reject(tag, requeue=outcome == "failed")
        if self._stopping() and not settled:
            self._failure = consumer.link.failure
        if self._tell:
            self._tell(events.TaskEnded(message, outcome, seconds, error, settled))

    def _call_handler(self, message: Message) -> BaseException | None:
        try:
            result = self._handler(message)
            if result is not None and inspect.isawaitable(result):
                raise TypeError(f"the handler has returned {result!r}, which nobody awaits: the work is not done")
        except BaseException as error:  # noqa: BLE001 - SystemExit, too: the next worker would only end of the same task
            return error
        return None


def check_handler(handler: object) -> None:
    """Raise TypeError if to call it does no work: every task would be acknowledged undone."""
    undone = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if not callable(handler) or any(test(handler) or test(handler.__call__) for test in undone):
        problem = "is not callable, or it is an async function or a generator"
        raise TypeError(f"{handler!r} {problem}; a handler works when it is called")


def _is_final(error: WorkqueueError, *, declares: bool) -> bool:
    """Whether an attempt to subscribe will end like this the next time, too. A node that is down will be back."""
    if isinstance(error, ChannelClosed) and not isinstance(error, QueueUnavailable):
        # A queue that was deleted just after it was declared is declared again.
        return error.code in (403, 406) or (error.code == 404 and not declares)
    return isinstance(error, AccessRefused)
