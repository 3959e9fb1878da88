"""Random scripts for the reference model and a broker, made and shrunk by Hypothesis."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.errors import Flaky
from hypothesis.strategies import DrawFn

from workqueue.guarantee.model import CHANNELS, CHANNELS_PER_CONNECTION, WorkQueue
from workqueue.guarantee.rules import Rules
from workqueue.guarantee.script import Script
from workqueue.guarantee.side_by_side import Difference, Pair
from workqueue.guarantee.verdict import Unknown
from workqueue.warden import get_warden

LONGEST = 25
"""How many operations a script has at most."""

_SHRINKING_PATIENCE = 0.15  # seconds; the result is played again with the patience of before
_SHRINKING = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Found:
    """A difference.

    :param difference: that of the shortest script that showed one.
    :param again: whether that script showed one when it was played once more.
    """

    difference: Difference
    again: bool


class _Aborted(BaseException):
    """Leaves Hypothesis, which would look for a shorter script that the broker does not answer to."""

    def __init__(self, unknown: Unknown) -> None:
        self.unknown = unknown


def explore(
    pair: Pair,
    rules: Rules,
    *,
    scenarios: int,
    seed: int,
    tell: Callable[[int], object] = lambda _: None,
) -> Found | None:
    """Play random scripts until one shows a difference, and make that one as short as it can be.

    :param rules: those by which scripts are made up.
    :param scenarios: how many scripts.
    :param seed: the same seed makes the same scripts, with the same version of this package and of Hypothesis.
    :param tell: is called with the number of scripts that were played.
    :raises Unknown: if the broker does not answer.
    """
    # Hypothesis keeps notes in the working directory otherwise.
    set_hypothesis_home_dir(get_warden().directory("workqueue-model-"))
    differences: list[Difference] = []
    patience, until = pair.patience, 0.0
    played = 0

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=scenarios,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=hypothesis.Verbosity.quiet,
    )
    @hypothesis.given(scripts(rules))
    def play(script: list[dict[str, Any]]) -> None:
        nonlocal played, until
        if differences and time.monotonic() > until:
            return  # time is up: the shortest so far has to do
        try:
            pair.play(script)
        except Difference as difference:
            if not differences:
                pair.patience, until = _SHRINKING_PATIENCE, time.monotonic() + _SHRINKING
            differences.append(difference)
            raise
        except Unknown as error:
            raise _Aborted(error) from error
        if not differences:
            played += 1
            tell(played)

    try:
        play()
    except (Difference, Flaky, BaseExceptionGroup):
        if not differences:
            raise
    except _Aborted as aborted:
        raise aborted.unknown from None
    finally:
        pair.patience = patience
    return _confirmed(pair, differences) if differences else None


def _confirmed(pair: Pair, differences: list[Difference]) -> Found:
    """The shortest one that is still there when the broker is given all the time it had at first."""
    shortest = min(differences, key=lambda each: (len(each.script), str(each.script)))
    patience, pair.patience = pair.patience, _SHRINKING_PATIENCE
    candidates = [_without_a_needless_step(pair, shortest), shortest, differences[0]]
    pair.patience = patience
    for candidate in candidates:
        if (again := _difference(pair, candidate.script)) is not None:
            return Found(again, again=True)
    return Found(differences[0], again=False)


def _without_a_needless_step(pair: Pair, difference: Difference) -> Difference:
    """Leave out each operation that the difference does not need, for what Hypothesis had no time to try."""
    left = difference
    place = len(left.script) - 1
    while place >= 0:
        shorter = [*left.script[:place], *left.script[place + 1 :]]
        left = _difference(pair, shorter) or left
        place = min(place, len(left.script)) - 1
    return left


def _difference(pair: Pair, script: Script) -> Difference | None:
    try:
        pair.play(script)
    except Difference as difference:
        return difference
    return None


@st.composite
def scripts(draw: DrawFn, rules: Rules) -> list[dict[str, Any]]:
    """Scripts in which, if the broker does as the model says, each operation does something.

    The model is asked what can be done next: nothing is acked on a channel that holds nothing.
    """
    state = WorkQueue(rules)
    script: list[dict[str, Any]] = []

    def add(operation: dict[str, Any]) -> None:
        nonlocal state
        script.append(operation)
        state = state.step(operation)[0]

    if rules.failures and (limit := draw(st.sampled_from((None, None, 1, 2, 0, -1)))) is not None:
        add({"do": "declare", "delivery_limit": limit})
    while len(script) < LONGEST and (not script or draw(st.integers(0, 30))):
        add(_operation(draw, state))
    return script


def _operation(draw: DrawFn, state: WorkQueue) -> dict[str, Any]:
    # Strategies are made from few different values, so that Hypothesis finds them in its cache: it is half the time.
    consuming = tuple(channel for channel in range(CHANNELS) if state.consumer_of(channel) is not None)
    holding = tuple(channel for channel in range(CHANNELS) if state.on(channel))
    what = draw(st.sampled_from(_possible(state, consuming, holding)))
    operation: dict[str, Any] = {"do": what}
    if what == "publish":
        operation["count"] = draw(st.integers(1, 4))
    elif what == "consume":
        operation["channel"] = draw(st.sampled_from(tuple(each for each in range(CHANNELS) if each not in consuming)))
        operation["prefetch"] = draw(st.sampled_from((1, 2, 3, 0)))
    elif what == "get":
        operation["channel"] = draw(st.integers(0, CHANNELS - 1))
    elif what == "cancel":
        operation["channel"] = draw(st.sampled_from(consuming))
    elif what == "close":
        operation["channel"] = draw(st.sampled_from(tuple(sorted({*consuming, *holding}))))
    elif what == "disconnect":
        channel = draw(st.sampled_from(tuple(sorted({*consuming, *holding}))))
        operation |= {"connection": channel // CHANNELS_PER_CONNECTION, "rudely": draw(st.booleans())}
    else:
        channel = operation["channel"] = draw(st.sampled_from(holding))
        operation["index"] = draw(st.integers(0, len(state.on(channel)) - 1))
        if what != "reject":
            operation["multiple"] = draw(st.booleans())
        if what != "ack":
            operation["requeue"] = not draw(st.booleans())
    return operation


def _possible(state: WorkQueue, consuming: Sequence[int], holding: Sequence[int]) -> tuple[str, ...]:
    """What can be done; what is there twice is chosen twice as often."""
    possible = ["publish", "publish"]
    if len(consuming) < CHANNELS:
        possible += ["consume", "consume"]
    if state.ready or state.returned:
        possible += ["get"]
    if consuming:
        possible += ["cancel"]
    if holding:
        possible += ["ack", "nack", "nack", "reject"]
    if consuming or holding:
        possible += ["close", "disconnect"]
    return tuple(possible)
