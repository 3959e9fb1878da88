"""What becomes of a task that failed: back to the queue, or to the dead letters once it was tried often enough."""

import logging
import uuid

from workqueue._io import copy_properties
from workqueue.errors import Refused, Reject, WorkqueueError
from workqueue.events import Blocked, Event, Outcome, Teller
from workqueue.message import FAILURES_HEADER, Message
from workqueue.producer import Producer
from workqueue.queue import Queue

logger = logging.getLogger("workqueue")

MAX_ATTEMPTS = 20
"""As the delivery limit that quorum queues have by default since RabbitMQ 4.0."""


class Failures:
    """Decides, and publishes the copies that a decision takes.

    A quorum queue counts the failures of a task if it is rejected. A classic queue does not, so the task goes to the
    tail of its queue as a copy that says how often it failed. The last copy goes to the dead letters, and says
    of what, too. A copy is confirmed before its original is acknowledged: a task may be there twice, but not vanish.
    """

    def __init__(self, url: str, queue: Queue | str, max_attempts: int | None, tell: Teller) -> None:
        self._queue = queue if isinstance(queue, Queue) and queue.dead_letter is not None else None
        if max_attempts is not None and (self._queue is None or max_attempts < 1):
            raise ValueError(f"max_attempts ({max_attempts}) is 1 or more, and needs a Queue with a dead_letter")
        self._max_attempts = max_attempts or MAX_ATTEMPTS
        self._tell = tell
        self.producer = Producer(url, observer=self._hear)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Blocked):  # of an alarm, the broker tells only who publishes
            self._tell(Blocked(event.reason, "worker"))

    def outcome(self, message: Message, properties: bytes, error: BaseException, *, lost: bool) -> tuple[Outcome, bool]:
        """How a task ended, and whether there is a copy of it, so that the original is to be acknowledged.

        Without a copy, it has to be rejected: to go back if it "failed", and to be dead-lettered by the broker if it is
        "rejected", which it is also if there can never be a copy; it would come back for ever. ``lost``: the broker
        delivers it again in any case.
        """
        task = f"task {message.message_id} of queue {message.queue!r}"
        if isinstance(error, Reject):
            logger.warning("%s was rejected: %s", task, error)
            return "rejected", False
        logger.error("%s failed", task, exc_info=error)
        failures = message.failures + 1
        last = failures >= self._max_attempts
        if lost or self._queue is None or (self._queue.type == "quorum" and not last):
            return "failed", False
        target = self._queue.dead_letter if last else self._queue
        name = target.name if isinstance(target, Queue) else str(target)
        message_id = message.message_id or uuid.uuid4().hex
        try:
            why = {"x-workqueue-queue": message.queue, "x-workqueue-error": repr(error)[:1000]} if last else {}
            described = copy_properties(properties, message_id, {FAILURES_HEADER: failures, **why}, expires=not last)
            self.producer._deliver(name, message.body, message_id, described, retry=3)
        except Exception as problem:  # also what odd headers, or the error's own repr, lead to: the worker goes on
            passing = isinstance(problem, WorkqueueError) and not isinstance(problem, Refused)
            logger.exception("%s %s", task, "goes back uncounted" if passing else "cannot be copied and is rejected")
            return "failed" if passing else "rejected", False
        return "given up" if last else "failed", True
