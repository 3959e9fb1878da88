"""What happens in a producer or a worker, for whoever watches: metrics, logs, tests.

Pass an :class:`Observer` as ``observer=``. It is called in whatever thread something happened, so it must be quick and
must not call the producer or worker. What it raises is logged, and changes nothing.
"""

import dataclasses
import logging
from typing import Literal, Protocol

from workqueue.errors import WorkqueueError
from workqueue.message import Message

Role = Literal["producer", "worker"]
"""Whose connection it is."""

Outcome = Literal["done", "failed", "rejected", "given up"]
"""How a task ended: its handler returned; it raised, and the task goes back; it raised Reject (or raised, and the task
can never be copied), and the broker dead-letters it; or it raised for the last time that ``max_attempts`` allows, and
its copy is a dead letter."""


@dataclasses.dataclass(frozen=True, slots=True)
class Connected:
    """A connection to the broker is open. ``url`` has no password, ``role`` says whose it is."""

    url: str
    role: Role


@dataclasses.dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection, or the attempt to make one, or a subscription ended for ``reason``.

    ``retry_in`` is the number of seconds until the next attempt, None if there is none by itself.
    """

    reason: WorkqueueError
    role: Role
    retry_in: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Blocked:
    """The broker reads nothing from this connection, for ``reason``, such as "low on memory"; None: it does again."""

    reason: str | None
    role: Role


@dataclasses.dataclass(frozen=True, slots=True)
class PublishEnded:
    """The broker has a message in a queue and has confirmed that, ``seconds`` after it was given to the producer.

    Or it was not published by then, or not provably: ``error`` says which.
    """

    queue: str
    message_id: str
    seconds: float
    error: WorkqueueError | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Subscribed:
    """The broker has confirmed a subscription; tasks can arrive."""

    queue: str
    prefetch: int


@dataclasses.dataclass(frozen=True, slots=True)
class TaskStarted:
    """The handler is about to be called."""

    message: Message


@dataclasses.dataclass(frozen=True, slots=True)
class TaskEnded:
    """The handler was at work for ``seconds``; ``error`` is what it raised, if it did.

    ``settled`` is False if the connection that the task came by was lost meanwhile: nothing was sent to the broker,
    which gives the task to a worker again.
    """

    message: Message
    outcome: Outcome
    seconds: float
    error: BaseException | None = None
    settled: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Unstarted:
    """A worker will not start tasks that it was given.

    It has ``handed_back`` so many of them, since it stops; so many are ``dropped``, since they came by a connection
    that is lost, and the broker delivers them again.
    """

    queue: str
    handed_back: int
    dropped: int


@dataclasses.dataclass(frozen=True, slots=True)
class Draining:
    """A worker was asked to stop, with so many tasks in hand."""

    queue: str
    in_hand: int


Event = Connected | Disconnected | Blocked | Subscribed | PublishEnded | TaskStarted | TaskEnded | Unstarted | Draining
"""Everything that an observer hears of."""


class Observer(Protocol):
    """Hears of every event."""

    def __call__(self, event: Event, /) -> None:
        """Take note of it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Health:
    """How a worker is, for a probe.

    A worker that is not ``consuming`` gets no tasks; for longer than a broker takes to restart, that is a reason to
    worry, unless it is ``draining``: then it was asked to stop. ``blocked``: the broker has an alarm (memory, disk)
    and does not read the copies of failed tasks. It tells only who publishes: most workers never hear of it.
    """

    connected: bool
    consuming: bool
    blocked: bool
    draining: bool


class Teller:
    """Calls an observer, if there is one, and outlives what it raises."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer

    def __bool__(self) -> bool:
        return self._observer is not None

    def __call__(self, event: Event) -> None:
        """Tell it."""
        try:
            if self._observer is not None:
                self._observer(event)
        except Exception:
            logging.getLogger("workqueue").exception("the observer failed on %s", type(event).__name__)
