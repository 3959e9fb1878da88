"""What is measured: a module each, with ``measure(bench, contender, setting)``."""

from collections.abc import Callable

from ..bench import Bench
from ..model import Contender, Figures, Setting
from . import consume, memory, million, publish, redelivery, roundtrip

Measure = Callable[[Bench, Contender, Setting], Figures]

MEASURES: dict[str, Measure] = {
    "publish": publish.measure,
    "consume": consume.measure,
    "roundtrip": roundtrip.measure,
    "memory": memory.measure,
    "redelivery": redelivery.measure,
    "million": million.measure,
}
DEFAULT = ("publish", "consume", "roundtrip", "memory", "redelivery")
ONCE = frozenset({"memory", "redelivery", "million"})
"""These are not repeated: they repeat something themselves, or hardly vary."""
FIRST_SIZE = frozenset({"redelivery", "million"})
"""The size of a body makes no difference to these."""
