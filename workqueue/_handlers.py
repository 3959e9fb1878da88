"""The threads that call the handler, and settle each task once it has ended."""

import contextlib
import inspect
import logging
import queue as queues
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from workqueue._consumer import Consumer
from workqueue._failures import Failures
from workqueue._io import read_properties
from workqueue.errors import Reject, ShutdownTimeout, WorkqueueError
from workqueue.events import Outcome, TaskEnded, TaskStarted, Teller, Unstarted
from workqueue.message import Message

logger = logging.getLogger("workqueue")

Handler = Callable[[Message], object]
OnEnd = Callable[[BaseException], None]


class _Delivery(NamedTuple):
    """A task as it came, and the subscription that it came by."""

    consumer: Consumer
    tag: int
    redelivered: bool
    properties: bytes
    body: bytes


class Handlers:
    """``count`` threads that work off what is delivered.

    ``on_end`` is called with what a thread has ended of, which nothing that a handler raises should be.
    """

    def __init__(
        self, queue: str, handler: Handler, count: int, failures: Failures, tell: Teller, on_end: OnEnd
    ) -> None:
        self._queue = queue
        self._handler = handler
        self._failures = failures
        self._tell = tell
        self._on_end = on_end
        self._inbox: queues.SimpleQueue[_Delivery | None] = queues.SimpleQueue()  # None ends a thread
        self.in_hand: set[int] = set()
        """The identities of the threads that have a task in hand."""
        self._stopping = False
        self._finish_by: float | None = None
        self.unsettled = False
        """Whether a task could not be settled, once they are stopping."""
        names = (f"workqueue worker {number}" for number in range(1, count + 1))
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def deliver(self, *delivery: *tuple[Consumer, int, bool, bytes, bytes]) -> None:
        """Take a task. May be called from any thread."""
        self._inbox.put(_Delivery(*delivery))

    def stop(self) -> None:
        """Start no further task, and cancel a subscription before settling anything on it."""
        self._stopping = True

    def hand_back(self) -> None:
        """Give back what was not started, without counting it as failed.

        What came by a subscription that is lost is only forgotten: the broker delivers it again.
        """
        unstarted = []
        with contextlib.suppress(queues.Empty):
            while delivery := self._inbox.get_nowait():
                unstarted.append(delivery)
        self._hand_back(unstarted)

    def finish(self, timeout: float) -> None:
        """Wait for the tasks in hand. Raises ShutdownTimeout; the time runs from the first call on."""
        if self._finish_by is None:
            self._finish_by = time.monotonic() + timeout
            self.end()
        for thread in self._threads:
            thread.join(max(0.0, self._finish_by - time.monotonic()))
        if self.in_hand:
            raise ShutdownTimeout(f"{tasks(len(self.in_hand))} not finished within {timeout:g} s")

    def end(self) -> None:
        """Have the threads end once they have nothing to do."""
        for _ in self._threads:
            self._inbox.put(None)

    def _hand_back(self, unstarted: list[_Delivery]) -> None:
        handed_back = sum(delivery.consumer.hand_back(delivery.tag) for delivery in unstarted)
        if unstarted:
            self._tell(Unstarted(self._queue, handed_back, len(unstarted) - handed_back))

    # In the threads:

    def _work(self) -> None:
        while (delivery := self._inbox.get()) is not None:
            if self._stopping or delivery.consumer.lost:
                _cancel(delivery.consumer)
                self._hand_back([delivery])
            else:
                self.in_hand.add(threading.get_ident())
                try:
                    self._handle(delivery)
                except BaseException as end:  # noqa: BLE001 - a flaw of ours: it is for run to raise
                    self._stopping = True
                    self._on_end(end)
                    return
                finally:
                    self.in_hand.remove(threading.get_ident())

    def _handle(self, delivery: _Delivery) -> None:
        error: BaseException | None = None
        try:
            message_id, headers = read_properties(delivery.properties)
        except ValueError as undecodable:
            message_id, headers, error = None, {}, Reject(str(undecodable))
        message = Message(delivery.body, self._queue, message_id, delivery.redelivered, headers)
        if self._tell:
            self._tell(TaskStarted(message))
        started = time.monotonic()
        error = error or self._run_handler(message)
        seconds = time.monotonic() - started
        outcome, settled = self._settle(delivery, message, error)
        self.unsettled = self.unsettled or (self._stopping and not settled)
        if self._tell:
            self._tell(TaskEnded(message, outcome, seconds, error, settled))

    def _run_handler(self, message: Message) -> BaseException | None:
        try:
            result = self._handler(message)
            if result is not None and inspect.isawaitable(result):
                raise TypeError(f"the handler has returned {result!r}, which nobody awaits: the work is not done")
        except BaseException as error:  # noqa: BLE001 - SystemExit, too: the next worker would only end of the same task
            return error
        return None

    def _settle(self, delivery: _Delivery, message: Message, error: BaseException | None) -> tuple[Outcome, bool]:
        consumer, tag = delivery.consumer, delivery.tag
        outcome: Outcome = "done"
        done = error is None
        if isinstance(error, Reject):
            outcome = "rejected"
            logger.warning("task %s of queue %r was rejected: %s", message.message_id, self._queue, error)
        elif error is not None:
            logger.error("task %s of queue %r failed", message.message_id, self._queue, exc_info=error)
            # A subscription that is lost needs no copy: the broker delivers the original again.
            copied = None if consumer.lost else self._failures.copy(message, delivery.properties, error)
            outcome, done = copied or "failed", copied not in (None, "rejected")
        if self._stopping:
            _cancel(consumer)
        settled = consumer.ack(tag) if done else consumer.reject(tag, requeue=outcome == "failed")
        return outcome, settled


def check_handler(handler: object) -> None:
    """Raise TypeError if to call it does no work: every task would be acknowledged undone."""
    if not callable(handler):
        raise TypeError(f"{handler!r} is not callable")
    for test in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        if test(handler) or test(handler.__call__):
            raise TypeError(f"{handler!r} is an async function or a generator; a handler works when it is called")


def _cancel(consumer: Consumer) -> None:
    # Before anything is settled, or the broker would send this task or another, only to get it back as redelivered.
    with contextlib.suppress(WorkqueueError):
        consumer.cancel()


def tasks(count: int) -> str:
    """So many tasks, in words."""
    return {0: "nothing", 1: "one task"}.get(count, f"{count} tasks")
