"""What changes for a work queue between two brokers: two sets of verdicts, laid side by side.

A *loss* is what a user has to act upon: a guarantee that held and does not any more, or a hazard that was not there. A
*gain* is the opposite. Either is *documented* if the catalogue knew, on both brokers, and then there is a page to read.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workqueue.guarantee.sources import Source
from workqueue.report.document import Cell


class Kind(enum.StrEnum):
    """What became of a guarantee, the worst first."""

    LOST = "lost"
    UNKNOWN = "unknown"
    """At least one side says nothing: the harness could not tell, or the guarantee is not applicable there."""
    REMOVED = "removed"
    """Only before: it was not checked after."""
    CHANGED = "changed"
    """Broken on both, each time as documented, but for different reasons."""
    GAINED = "gained"
    ADDED = "added"
    """Only after: it was not checked before."""
    SAME = "same"


class CannotChoose(ValueError):  # noqa: N818 - a question to the user
    """It is not clear which broker of a report is meant. The message lists them."""


@dataclass(frozen=True, slots=True)
class Change:
    """One guarantee on one queue type, before and after.

    :param documented: whether both verdicts are as expected, and one of them by a documented exception.
    :param because: what the broker does where the guarantee is broken, if it is known.
    :param read: where that is documented.
    """

    kind: Kind
    slug: str
    queue_type: str
    text: str
    hazard: bool
    before: str
    after: str
    documented: bool = False
    because: str = ""
    read: Source | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """One broker of one report."""

    broker: str
    version: str
    cells: Mapping[tuple[str, str], Cell]


@dataclass(frozen=True)
class Comparison:
    """All changes, in the order of the specs, and what was accepted of them.

    :param allowed: slugs whose loss is accepted.
    """

    before: Side
    after: Side
    changes: Sequence[Change]
    allowed: frozenset[str] = frozenset()
    remarks: Sequence[str] = field(default_factory=tuple)

    def of(self, kind: Kind) -> list[Change]:
        """The changes of a kind."""
        return [change for change in self.changes if change.kind is kind]

    @property
    def stale(self) -> list[str]:
        """What is allowed and was not lost: whoever wrote the ``--allow`` has to look again."""
        needed = {change.slug for change in self.changes if change.kind is Kind.LOST or _leaves_a_gap(change)}
        return sorted(self.allowed - needed)

    @property
    def untold(self) -> list[Change]:
        """What held before and was not told after, so that nobody can say that nothing was lost."""
        return [change for change in self.changes if _leaves_a_gap(change) and change.slug not in self.allowed]

    @property
    def lost(self) -> list[Change]:
        """What was lost and is not allowed to be."""
        return [change for change in self.of(Kind.LOST) if change.slug not in self.allowed]

    @property
    def exit_code(self) -> int:
        """0 nothing lost; 1 something lost, or an allowance that is stale; 2 it cannot be told."""
        if self.lost or self.stale:
            return 1
        return 2 if self.untold else 0


def _leaves_a_gap(change: Change) -> bool:
    """Whether something may have been lost here without anybody having seen it."""
    if change.kind not in (Kind.UNKNOWN, Kind.REMOVED):
        return False
    good = "broken" if change.hazard else "holds"
    return change.before == good or "unknown" in (change.before, change.after)


def side(report: Mapping[str, Any], broker: str, queue_types: Sequence[str]) -> Side:
    """What a report says of a broker and these queue types."""
    about = report["brokers"].get(broker) or {"version": "unknown version"}
    cells = {
        (cell["slug"], cell["queue_type"]): cell
        for cell in report["cells"]
        if cell["broker"] == broker and cell["queue_type"] in queue_types
    }
    return Side(broker, about["version"], cells)


def brokers(report: Mapping[str, Any]) -> list[str]:
    """The brokers of a report, in the order of the run."""
    return list(dict.fromkeys(each["broker"] for each in report["planned"]))


def choose(report: Mapping[str, Any], named: str | None, option: str) -> str:
    """The broker of a report that is meant: the one that is named, or the only one.

    :raises CannotChoose: if there is no such broker, or there are several.
    """
    there = brokers(report)
    if named is not None:
        if named in there:
            return named
        raise CannotChoose(f"There is no broker {named!r} in the report for {option}. It has: {', '.join(there)}.")
    if len(there) == 1:
        return there[0]
    raise CannotChoose(f"The report has several brokers; say which with {option}. It has: {', '.join(there)}.")


def choose_two(report: Mapping[str, Any], before: str | None, after: str | None) -> tuple[str, str]:
    """The brokers of a single report that are to be compared; of two, the first to run is the one before.

    :raises CannotChoose: if it is not clear which.
    """
    there = brokers(report)
    if len(there) < 2:
        raise CannotChoose("There is one broker in the report, and nothing to compare it with: give a second report.")
    if len(there) == 2 and before is None:
        before = there[0] if after != there[0] else there[1]
    if len(there) == 2 and after is None:
        after = there[1] if before != there[1] else there[0]
    return choose(report, before, "--before-broker"), choose(report, after, "--after-broker")


def compare(before: Side, after: Side, *, allowed: Iterable[str] = (), remarks: Sequence[str] = ()) -> Comparison:
    """Lay two sides beside each other."""
    keys = list(dict.fromkeys([*after.cells, *before.cells]))
    changes = [_change(key, before.cells.get(key), after.cells.get(key)) for key in keys]
    return Comparison(before, after, changes, frozenset(allowed), remarks)


def _change(key: tuple[str, str], before: Cell | None, after: Cell | None) -> Change:
    slug, queue_type = key
    there = [cell for cell in (after, before) if cell is not None]
    text = next((cell["text"] for cell in there if cell.get("text")), "")
    hazard = any(cell.get("kind") == "hazard" for cell in there)
    kind = _kind(before, after, hazard=hazard)
    known = next((cell for cell in there if cell["verdict"] == cell["expected"] == "broken"), None)
    is_change = kind in (Kind.LOST, Kind.GAINED, Kind.CHANGED)
    explains = known if is_change and not any(cell["surprise"] for cell in there) else None
    reason = next((cell["reason"] for cell in there if cell["reason"] and cell is not known), "")
    return Change(
        kind,
        slug,
        queue_type,
        text,
        hazard,
        before="-" if before is None else before["verdict"],
        after="-" if after is None else after["verdict"],
        documented=explains is not None,
        because=explains["because"] if explains else "",
        read=_source(explains) if explains else None,
        reason="" if explains else reason,
    )


def _kind(before: Cell | None, after: Cell | None, *, hazard: bool) -> Kind:
    if before is None:
        return Kind.UNKNOWN if after is not None and after["verdict"] == "unknown" else Kind.ADDED
    if after is None:
        return Kind.REMOVED
    verdicts = before["verdict"], after["verdict"]
    if verdicts == ("not-applicable", "not-applicable"):
        return Kind.SAME
    if not set(verdicts) <= {"holds", "broken"}:
        return Kind.UNKNOWN
    if verdicts == ("holds", "broken"):
        return Kind.GAINED if hazard else Kind.LOST
    if verdicts == ("broken", "holds"):
        return Kind.LOST if hazard else Kind.GAINED
    expected = before["expected"] == after["expected"] == "broken"
    differs = verdicts[0] == "broken" and expected and before["because"] != after["because"]
    return Kind.CHANGED if differs else Kind.SAME


def _source(cell: Cell) -> Source | None:
    source = cell.get("because_source")
    return Source(source["title"], source["url"]) if source else None
