"""What happened to every task of a soak: millions of events, some twenty bytes each."""

import enum
import threading
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


class What(enum.IntEnum):
    """What happened to a task."""

    PUBLISHED = 0
    """The producer is going to publish it."""
    CONFIRMED = 1
    """The broker has confirmed it."""
    REFUSED = 2
    """The broker has answered with ``basic.nack``."""
    RETURNED = 3
    """The broker had no queue for it."""
    DELIVERED = 4
    """A worker got it."""
    ACKED = 5
    """A worker is going to ack it. It may die before it does."""
    PROVEN = 6
    """The worker's latest ack of it has arrived at the queue for certain."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event.

    :param at: microseconds, :func:`time.monotonic`'s clock; when it was told, so no earlier than when it happened,
        except for what a process is going to do.
    :param who: index of who told it.
    :param task: the task's number.
    :param marked: for a delivery, the broker's flag *redelivered*.
    :param since: for a delivery, a moment before which the broker cannot have sent it.
    """

    at: int
    what: What
    who: int
    task: int
    marked: bool = False
    since: int = 0


_FOREVER = 2**32 - 1  # microseconds, more than an hour; what took longer may have been sent at any time


class Journal:
    """The events of one soak, in the order in which they were told. Several threads may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = array("q")
        self._what = array("B")
        self._who = array("H")
        self._task = array("q")
        self._marked = array("B")
        self._transit = array("I")  # at - since
        self._counts = dict.fromkeys(What, 0)
        self.most = -1
        """The highest number of a task that was published."""

    def __len__(self) -> int:
        return len(self._at)

    def add(
        self,
        what: What,
        who: int,
        at: int,
        tasks: Sequence[int],
        marked: Sequence[int] | None = None,
        since: Sequence[int] | None = None,
    ) -> None:
        """Add the same event of several tasks."""
        count = len(tasks)
        if not count:
            return
        transits = [0] * count if since is None else [min(max(at - each, 0), _FOREVER) for each in since]
        with self._lock:
            self._task.extend(tasks)
            self._at.extend([at] * count)
            self._what.extend([what] * count)
            self._who.extend([who] * count)
            self._marked.extend(marked or [0] * count)
            self._transit.extend(transits)
            self._counts[what] += count
            if what is What.PUBLISHED:
                self.most = max(self.most, *tasks)

    def count(self, what: What) -> int:
        """How many events of a kind there are."""
        return self._counts[what]

    def whats(self) -> Iterator[tuple[int, int]]:
        """What happened, and to which task, for each event: a quick first look. Only when nobody adds any more."""
        return zip(self._what, self._task, strict=True)

    def __getitem__(self, index: int) -> Entry:
        at, transit = self._at[index], self._transit[index]
        return Entry(
            at,
            What(self._what[index]),
            self._who[index],
            self._task[index],
            bool(self._marked[index]),
            0 if transit == _FOREVER else at - transit,
        )
