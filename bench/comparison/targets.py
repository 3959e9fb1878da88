"""What the core is meant to reach, and whether it did."""

import dataclasses
from collections.abc import Iterator

from .model import Setting
from .summary import Summary


@dataclasses.dataclass(frozen=True)
class Target:
    """The core is to be at least so many times as fast as a peer."""

    measure: str
    contender: str
    peer: str
    factor: float

    def __str__(self) -> str:
        return f"{self.measure}: {self.contender} ≥ {self.factor:g}× {self.peer}"


TARGETS = (
    Target("publish", "workqueue", "pika-blocking", 10),
    Target("publish", "workqueue", "aio-pika", 3),
    Target("publish", "workqueue-send", "pika-blocking", 1),
    Target("consume", "workqueue", "pika-blocking", 1.2),
    Target("consume", "workqueue", "dramatiq", 3),
    Target("consume", "workqueue", "celery", 3),
)


def judged(summary: Summary) -> Iterator[tuple[Target, dict[Setting, float | None]]]:
    """Each target with its ratio in each setting; None where it was not measured."""
    for target in TARGETS:
        settings = summary.settings(target.measure)
        if settings:
            yield (
                target,
                {each: summary.ratio(target.measure, each, target.contender, target.peer) for each in settings},
            )


def met(target: Target, ratio: float | None) -> bool | None:
    """Whether it is met; None if nobody knows."""
    return None if ratio is None else ratio >= target.factor
