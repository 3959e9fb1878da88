"""What becomes of a task that failed: back to the queue, or to the dead letters once it was tried often enough."""

import logging
import uuid

from workqueue._io import copy_properties
from workqueue.errors import Refused, WorkqueueError
from workqueue.events import Blocked, Event, Outcome, Teller
from workqueue.message import FAILURES_HEADER, Message
from workqueue.producer import Producer
from workqueue.queue import Queue

logger = logging.getLogger("workqueue")

MAX_ATTEMPTS = 20
"""As the delivery limit that quorum queues have by default since RabbitMQ 4.0."""

_RETRIES = 3


class Failures:
    """Decides, and publishes the copies that a decision takes.

    A quorum queue counts the failures of a task if it is rejected. A classic queue does not, so the task goes to the
    tail of its queue as a copy that says how often it failed. The last copy goes to the dead letters. A copy is
    confirmed by the broker before its original is acknowledged: a task may be there twice, but not vanish.
    """

    def __init__(self, url: str, queue: Queue | str, max_attempts: int | None, tell: Teller) -> None:
        self._queue = queue if isinstance(queue, Queue) and queue.dead_letter is not None else None
        if max_attempts is not None and self._queue is None:
            raise ValueError("max_attempts needs a Queue with a dead_letter, where the task goes after the last one")
        if max_attempts is not None and max_attempts < 1:
            raise ValueError(f"max_attempts is 1 or more, not {max_attempts}")
        self._max_attempts = max_attempts or MAX_ATTEMPTS
        self._tell = tell
        self.producer = Producer(url, observer=self._hear)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Blocked):  # of an alarm, the broker tells only who publishes
            self._tell(Blocked(event.reason, "worker"))

    def copy(self, message: Message, properties: bytes, error: BaseException) -> Outcome | None:
        """Publish the copy of a task that has failed; how the task ended, or None if there is no copy.

        Without a copy, the original has to go back, and with one, to be acknowledged. "rejected" if there can never be
        a copy: the broker has to dead-letter the original, or it would come back for ever.
        """
        if self._queue is None or self._queue.dead_letter is None:
            return None
        failures = message.failures + 1
        last = failures >= self._max_attempts
        if not last and self._queue.type == "quorum":
            return None
        target = self._queue.dead_letter if last else self._queue
        message_id = message.message_id or uuid.uuid4().hex
        headers: dict[str, object] = {FAILURES_HEADER: failures}
        try:
            if last:
                headers |= {"x-workqueue-queue": message.queue, "x-workqueue-error": repr(error)[:1000]}
            described = copy_properties(properties, message_id, headers, expires=not last)
            name = target.name if isinstance(target, Queue) else target
            self.producer._deliver(name, message.body, message_id, described, _RETRIES)
        except Exception as problem:  # also what odd headers, or the error's own repr, lead to: the worker goes on
            passing = isinstance(problem, WorkqueueError) and not isinstance(problem, Refused)
            fate = "goes back uncounted" if passing else "cannot be copied and is rejected"
            logger.exception("task %s of queue %r %s", message.message_id, message.queue, fate)
            return None if passing else "rejected"
        return "given up" if last else "failed"

    def close(self) -> None:
        """Disconnect. What is not confirmed now, nobody waits for: its original goes back."""
        self.producer._close(0.0)
