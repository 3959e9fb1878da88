"""What a work queue does depends on its type and on the version of RabbitMQ: the rules of the reference model, as data.

Each rule was measured: the model and brokers of 3.8.9, 3.10.8, 4.0.5 and 4.3.6 were driven side by side
(``workqueue model``). A version in between is taken for the older of its neighbours, unless a release note says
when it changed.
"""

from dataclasses import dataclass
from typing import Literal, Self

from packaging.specifiers import SpecifierSet

from workqueue.guarantee.expectation import QUEUE_TYPES, QUORUM, parse_version

Place = Literal["position", "front", "back"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What depends on the queue type and on the version; the defaults are those of a classic queue, in all versions.

    :param requeue: where a task goes that is handed back: to its old ``position``; to the ``front``, behind those that
        were handed back before and are still there; or to the ``back``.
    :param requeue_unlimited: the same for a queue that has no delivery limit.
    :param takes_back: where the tasks of a closed channel go.
    :param closed_apart: tasks of a closed channel come back apart: those that were fetched with ``basic.get`` first,
        each for itself, then those of one consumer after the other. Else they come back together.
    :param closed_fetched_last: those that were fetched come last instead. Where there are several, they come in the
        order of the delivery tags as text, 10 before 2 (measured with twelve of them), before 4.0 too.
    :param full_keeps_turn: a consumer that has become full stays where it is in the row, and loses its turn only if a
        task comes while it is full. Else it leaves at once. In both cases it queues up again when it is no longer full.
    :param failures: what counts towards the delivery limit. A task that failed more often than the limit is dropped.
    :param below_zero_is_none: whether a delivery limit of -1 is none; else each failure is one too many.
    :param drop_lends: a consumer that hands back a task which is then dropped may hold one task more from then on.
    :param delivery_limit: that of a queue which was declared without one; None is no limit.
    :param counts_holders: whether the number of consumers that ``queue.declare`` tells includes cancelled ones that
        still hold tasks, and one for each task that was fetched with ``basic.get`` and is held.
    :param marks: whether a task that was delivered before is marked as redelivered.
    :param prefetch: whether the prefetch count is heeded.
    """

    requeue: Place = "position"
    requeue_unlimited: Place = "position"
    takes_back: Place = "position"
    closed_apart: bool = False
    closed_fetched_last: bool = False
    full_keeps_turn: bool = True
    failures: frozenset[str] = frozenset()
    below_zero_is_none: bool = True
    drop_lends: bool = False
    delivery_limit: int | None = None
    counts_holders: bool = False
    marks: bool = True
    prefetch: bool = True

    @classmethod
    def of(cls, queue_type: str, version: str) -> Self:
        """The rules of a queue type in a version of RabbitMQ."""
        if queue_type not in QUEUE_TYPES:
            raise ValueError(f"unknown queue type {queue_type!r}; known: {', '.join(QUEUE_TYPES)}")
        if queue_type != QUORUM:
            return cls()

        def since(versions: str) -> bool:
            return SpecifierSet(versions).contains(parse_version(version), prereleases=True)

        return cls(
            requeue="front",
            # Release note 3.10.0; 4.0 gives every queue a limit, so only one with -1 has none. 4.3.6 does it no more.
            requeue_unlimited="back" if since(">=3.10,<4.3") else "front",
            takes_back="front",
            closed_apart=True,
            # What a machine keeps consumers by: their tags in 3.8.9 and 3.10.8, numbers in 4.0.5 and 4.3.6.
            closed_fetched_last=since(">=4.0"),
            full_keeps_turn=False,
            # Release note 4.3.0.
            failures=frozenset({"reject", "close"} if since(">=4.3") else {"reject", "close", "nack"}),
            below_zero_is_none=since(">=4.0"),
            # Seen on 3.8.9 and 3.10.8: the dropped task is counted twice as settled.
            drop_lends=since("<4.0"),
            delivery_limit=20 if since(">=4.0") else None,
            counts_holders=True,
        )
