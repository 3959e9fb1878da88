"""Medians over the repeats, how far these are apart, and ratios."""

import dataclasses
import statistics
from collections.abc import Iterable

from .model import Sample, Setting

MAIN_FIGURE = {
    "publish": "per_second",
    "consume": "per_second",
    "roundtrip": "median_ms",
    "memory": "publish_mb",
    "redelivery": "median_ms",
    "million": "ratio",
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """What all repeats of one measurement say."""

    medians: dict[str, float]
    lowest: dict[str, float]
    highest: dict[str, float]
    errors: tuple[str, ...]
    repeats: int
    """Those that succeeded."""

    @property
    def ok(self) -> bool:
        """At least one repeat succeeded."""
        return bool(self.medians)

    def spread(self, figure: str) -> float:
        """Half the distance of the extremes, relative to the median."""
        middle = self.medians[figure]
        return (self.highest[figure] - self.lowest[figure]) / 2 / middle if middle else 0.0


class Summary:
    """The samples of a run, put together."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        grouped: dict[tuple[str, Setting, str], list[Sample]] = {}
        for each in samples:
            grouped.setdefault((each.measure, each.setting, each.contender), []).append(each)
        self._cells = {key: _cell(group) for key, group in grouped.items()}

    def measures(self) -> list[str]:
        """Those that were taken, in their order."""
        return list(dict.fromkeys(measure for measure, _, _ in self._cells))

    def settings(self, measure: str) -> list[Setting]:
        """Those that a measure was taken in, in their order."""
        return list(dict.fromkeys(setting for found, setting, _ in self._cells if found == measure))

    def contenders(self, measure: str) -> set[str]:
        """Those that a measure was taken of."""
        return {contender for found, _, contender in self._cells if found == measure}

    def cell(self, measure: str, setting: Setting, contender: str) -> Cell | None:
        """What was found; None if nobody looked."""
        return self._cells.get((measure, setting, contender))

    def median(self, measure: str, setting: Setting, contender: str) -> float | None:
        """The measure's main figure, if there is one."""
        cell = self.cell(measure, setting, contender)
        return cell.medians[MAIN_FIGURE[measure]] if cell and cell.ok else None

    def ratio(self, measure: str, setting: Setting, contender: str, other: str) -> float | None:
        """How many times as much as another contender."""
        ours, theirs = (self.median(measure, setting, each) for each in (contender, other))
        return ours / theirs if ours is not None and theirs else None

    def failures(self) -> list[tuple[str, Setting, str, str]]:
        """Measure, setting, contender and error of whatever failed."""
        return [(*key, error) for key, cell in self._cells.items() for error in cell.errors]


def _cell(samples: list[Sample]) -> Cell:
    good = [each.figures for each in samples if each.error is None]
    names = good[0].keys() if good else ()
    return Cell(
        medians={name: statistics.median(each[name] for each in good) for name in names},
        lowest={name: min(each[name] for each in good) for name in names},
        highest={name: max(each[name] for each in good) for name in names},
        errors=tuple(each.error for each in samples if each.error is not None),
        repeats=len(good),
    )
