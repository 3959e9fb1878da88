"""Histories: what was published, confirmed, delivered and finished, by whom and when; and what they must not contain.

A spec's stage keeps one. The checkers read it and know nothing of how it came about, so they can be tested on histories
made by hand. They are only meaningful once everything was drained.
"""

import collections
import enum
import threading
import time
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What happened to a task."""

    PUBLISHED = "published"
    CONFIRMED = "confirmed"
    DELIVERED = "delivered"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one task.

    :param at: :func:`time.monotonic` reading.
    :param who: ``producer``, ``worker 1``, ...
    :param task: the body; tasks of one history have different bodies.
    :param redelivered: the broker's flag, for a delivery.
    """

    at: float
    kind: Kind
    who: str
    task: str
    redelivered: bool = False


class History:
    """The events of one run, safe to be added to by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []

    def add(self, kind: Kind, who: str, task: str, *, redelivered: bool = False, at: float | None = None) -> None:
        """Add what happened (now, unless ``at`` says when)."""
        event = Event(time.monotonic() if at is None else at, kind, who, task, redelivered)
        with self._lock:
            self._events.append(event)

    def events(self, kind: Kind | None = None) -> list[Event]:
        """All events, or those of one kind, by time."""
        with self._lock:
            events = list(self._events)
        return sorted((each for each in events if kind in (None, each.kind)), key=lambda each: each.at)

    def tasks(self, kind: Kind) -> list[str]:
        """The tasks of all events of one kind, by time."""
        return [event.task for event in self.events(kind)]


def lost(history: History) -> list[str]:
    """Tasks that were confirmed and delivered to nobody."""
    delivered = set(history.tasks(Kind.DELIVERED))
    return [task for task in history.tasks(Kind.CONFIRMED) if task not in delivered]


def unexpected(history: History) -> list[str]:
    """Tasks that were delivered and that nobody had published."""
    published = set(history.tasks(Kind.PUBLISHED))
    return [task for task in history.tasks(Kind.DELIVERED) if task not in published]


def duplicated(history: History) -> list[str]:
    """Tasks that were delivered more than once, whatever their flag said."""
    deliveries = collections.Counter(history.tasks(Kind.DELIVERED))
    return [task for task, times in deliveries.items() if times > 1]


def silently_repeated(history: History) -> list[str]:
    """Tasks that were delivered again without being marked as redelivered."""
    seen: set[str] = set()
    found = []
    for event in history.events(Kind.DELIVERED):
        if event.task in seen and not event.redelivered:
            found.append(event.task)
        seen.add(event.task)
    return found


def falsely_marked(history: History) -> list[str]:
    """Tasks that were marked as redelivered the first time that anybody saw them."""
    first = {event.task: event for event in reversed(history.events(Kind.DELIVERED))}
    return [task for task, event in first.items() if event.redelivered]
