"""Histories: what was published, answered, delivered, finished and acknowledged, by whom and when.

A spec's stage keeps one; `workqueue.guarantee.checkers` says what it must not contain.
"""

import enum
import threading
import time
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What happened to a task, in the order of a task's life."""

    PUBLISHED = "published"
    """It was about to be handed to the broker, or was."""
    CONFIRMED = "confirmed"
    """The broker has taken responsibility for it, and has somewhere to put it."""
    REFUSED = "refused"
    """The broker has declined it: a nack, or a return."""
    DELIVERED = "delivered"
    """A consumer read it. Whatever froze reads late what was sent to it long before."""
    DONE = "done"
    ACK_SENT = "ack-sent"
    """Its ack was written. Nobody can say yet whether it arrives."""
    ACKED = "acked"
    """Its ack is known to have reached the broker, which answered something that was sent after it on the channel."""


_LIFE = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one task.

    :param at: :func:`time.monotonic` reading.
    :param who: ``producer``, ``worker 1``, ... Order is promised within a channel, so a producer that opens another
        one, and wants to be held to its order, takes another name.
    :param task: the body; tasks of one history have different bodies. A producer that was not told what became
        of a task may publish it again: that is a copy of it.
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
        """All events, or those of one kind, by time.

        What happened at the same time is in the order of a task's life, with an unmarked delivery before one that is
        marked as redelivered, and otherwise as it was added: a tie speaks for the broker.
        """
        with self._lock:
            events = list(self._events)
        return sorted((each for each in events if kind in (None, each.kind)), key=_when)

    def tasks(self, kind: Kind) -> list[str]:
        """The tasks of all events of one kind, by time."""
        return [event.task for event in self.events(kind)]


def _when(event: Event) -> tuple[float, int, bool]:
    return event.at, _LIFE[event.kind], event.redelivered
