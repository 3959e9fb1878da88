"""What a soak breaks, and when: a pure function of the seed, so that a seed replays the same schedule."""

import enum
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


class Fault(enum.StrEnum):
    """A kind of fault."""

    KILL_WORKER = "kill-worker"
    """SIGKILL to a worker's process; another takes its place."""
    KILL_PRODUCER = "kill-producer"
    """SIGKILL to a producer's process; another takes its place."""
    FREEZE = "freeze"
    """A client's connection falls silent in both directions, without FIN or RST, and then goes on."""
    LOSE_ANSWERS = "lose-answers"
    """What the broker sends a client is held back while the client's own bytes pass; then the connection is cut."""
    CUT = "cut"
    """Connections end with FIN."""
    RESET = "reset"
    """Connections end with RST."""
    KILL_BROKER = "kill-broker"
    """SIGKILL to the broker, which is started again on its data."""
    RESTART_BROKER = "restart-broker"
    """The broker is stopped gracefully and started again."""
    MEMORY_ALARM = "memory-alarm"
    """The broker has too little memory for a while, and blocks whoever publishes."""
    DISK_ALARM = "disk-alarm"
    """The broker has too little disk space for a while, and blocks whoever publishes."""


EVERYONE = "everyone"
"""The target that is all clients at once."""

_CLIENTS = frozenset({Fault.FREEZE, Fault.LOSE_ANSWERS, Fault.CUT, Fault.RESET})
_GAP = (0.5, 2.5)  # seconds between the end of a fault and the next
_FIRST = 3.0  # seconds of peace: a queue that was declared a moment before a kill is a story of its own
# Seconds that a fault is expected to take; the next one waits for its end, however long that is.
_TAKES = {Fault.KILL_BROKER: 7.0, Fault.RESTART_BROKER: 8.0, Fault.MEMORY_ALARM: 2.0, Fault.DISK_ALARM: 2.0}
_SHORT = (0.3, 2.0)
_LONG = (6.0, 9.0)  # seconds; more than the heartbeats allow, so the broker gives the client up
_LONG_ONES = 0.3  # the share of the silences that are long


@dataclass(frozen=True, slots=True)
class Step:
    """One planned fault.

    :param at: seconds since the soak began; it happens then, or as soon as the fault before it is over.
    :param target: ``worker 2``, ``producer 1``, ``everyone``, or ``broker``.
    :param seconds: how long it lasts before it is healed; 0 for what is over at once.
    """

    at: float
    fault: Fault
    target: str
    seconds: float = 0.0


def plan(seed: int, seconds: float, *, faults: Iterable[Fault], producers: int, workers: int) -> list[Step]:
    """The schedule of a soak of so many seconds.

    Every kind comes once in each round, in an order of its own, so that a short soak has as many kinds as it can.

    :param faults: the kinds that are possible on this broker.
    """
    dice = random.Random(seed)  # noqa: S311 - to be replayed, not to be secret
    kinds = sorted(set(faults))
    if not kinds:
        return []
    steps: list[Step] = []
    at = _FIRST
    for fault in _rounds(dice, kinds):
        step = Step(round(at, 2), fault, _target(dice, fault, producers, workers), _lasting(dice, fault))
        at += step.seconds + _TAKES.get(fault, 0.0) + dice.uniform(*_GAP)
        if step.at + step.seconds >= seconds:
            return steps
        steps.append(step)
    raise AssertionError("unreachable: the rounds have no end")


def _rounds(dice: random.Random, kinds: list[Fault]) -> Iterator[Fault]:
    while True:
        yield from dice.sample(kinds, len(kinds))


def _target(dice: random.Random, fault: Fault, producers: int, workers: int) -> str:
    one_worker = [f"worker {number}" for number in range(1, workers + 1)]
    one_producer = [f"producer {number}" for number in range(1, producers + 1)]
    if fault is Fault.KILL_WORKER:
        return dice.choice(one_worker)
    if fault is Fault.KILL_PRODUCER:
        return dice.choice(one_producer)
    if fault in (Fault.CUT, Fault.RESET) and dice.random() < 1 / 3:
        return EVERYONE
    if fault in _CLIENTS:
        return dice.choice(one_worker + one_producer)
    return "broker"


def _lasting(dice: random.Random, fault: Fault) -> float:
    if fault is Fault.FREEZE:
        return round(dice.uniform(*(_LONG if dice.random() < _LONG_ONES else _SHORT)), 2)
    if fault in (Fault.LOSE_ANSWERS, Fault.KILL_BROKER, Fault.MEMORY_ALARM, Fault.DISK_ALARM):
        return round(dice.uniform(*_SHORT), 2)
    return 0.0
