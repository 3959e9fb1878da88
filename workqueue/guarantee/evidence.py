"""Evidence: what makes a verdict believable, noted while a spec runs, each with its time."""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Note:
    """One fact.

    :param at: seconds since the spec began.
    :param who: what it was seen at: ``broker``, ``worker 1``, ``producer``, ...
    :param what: the fact.
    :param proves: whether it is part of what makes the verdict believable, such as a fault that landed; the rest
        only tells the story.
    """

    at: float
    who: str
    what: str
    proves: bool = False


@dataclass(slots=True)
class Evidence:
    """The facts of one run of one spec, in order."""

    notes: list[Note] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def note(self, who: str, what: str, *, at: float | None = None, proves: bool = False) -> None:
        """Add a fact; ``at`` is a :func:`time.monotonic` reading (default: now)."""
        moment = time.monotonic() if at is None else at
        self.notes.append(Note(round(moment - self._began, 4), who, what, proves))

    def proof(self, who: str, what: str) -> None:
        """Add a fact that makes the verdict believable: a fault that landed, something that was measured."""
        self.note(who, what, proves=True)

    def timeline(self) -> list[Note]:
        """The facts in the order of their times."""
        return sorted(self.notes, key=lambda note: note.at)
