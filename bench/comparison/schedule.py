"""What is measured in which order: contenders take turns, so that what disturbs the machine disturbs them all."""

from collections.abc import Callable, Iterator, Sequence

from .bench import Bench
from .measures import FIRST_SIZE, MEASURES, ONCE
from .model import Contender, QueueType, Sample, Setting

Turn = tuple[str, Setting, Contender, int]
"""Measure, setting, contender, repeat."""


def turns(
    measures: Sequence[str],
    contenders: Sequence[Contender],
    queue_types: Sequence[QueueType],
    sizes: Sequence[int],
    repeats: int,
) -> Iterator[Turn]:
    """In each repeat another contender is the first."""
    for measure in measures:
        able = [each for each in contenders if measure in each.measures]
        for repeat in range(1 if measure in ONCE else repeats):
            shift = repeat % max(1, len(able))
            for queue_type in queue_types:
                for size in sizes[:1] if measure in FIRST_SIZE else sizes:
                    for contender in able[shift:] + able[:shift]:
                        yield measure, Setting(queue_type, size), contender, repeat


def run(bench: Bench, plan: Sequence[Turn], on_sample: Callable[[int, Sample], None]) -> None:
    """Take all turns. A contender that fails is a sample with an error, and the others go on."""
    for number, (measure, setting, contender, repeat) in enumerate(plan, 1):
        try:
            sample = Sample(measure, setting, contender.name, repeat, MEASURES[measure](bench, contender, setting))
        except Exception as error:  # noqa: BLE001 - whatever it is, the results of an hour shall not be lost
            sample = Sample(measure, setting, contender.name, repeat, {}, f"{type(error).__name__}: {error}")
        on_sample(number, sample)
