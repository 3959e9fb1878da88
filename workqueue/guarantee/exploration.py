"""Random scripts for the reference model and a broker, made and shrunk by Hypothesis."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.errors import Flaky
from hypothesis.strategies import DrawFn, SearchStrategy

from workqueue.guarantee.model import CHANNELS, CHANNELS_PER_CONNECTION, WorkQueue
from workqueue.guarantee.rules import Rules
from workqueue.guarantee.side_by_side import Difference, Pair
from workqueue.guarantee.verdict import Unknown
from workqueue.warden import get_warden

LONGEST = 25
"""How many operations a script has at most."""

_SHRINKING_PATIENCE = 0.5  # seconds; the result is played again with the patience of before
_SHRINKING = 120.0  # seconds


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
    shortest = min(differences, key=lambda each: (len(each.script), str(each.script)))
    for difference in (shortest, differences[0]):
        try:
            pair.play(difference.script)
        except Difference as again:
            return Found(again, again=True)
    return Found(differences[0], again=False)


_channels = st.integers(0, CHANNELS - 1)
_yes_or_no = st.booleans()


def _index(held: int) -> SearchStrategy[int]:
    return st.integers(0, held - 1)


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

    if rules.failures and (limit := draw(st.sampled_from([None, 1, 2, 0, None, None]))) is not None:
        add({"do": "declare", "delivery_limit": limit})
    for _ in range(draw(st.integers(1, LONGEST))):
        add(draw(_operation(state)))
    return script


def _operation(state: WorkQueue) -> SearchStrategy[dict[str, Any]]:
    consuming = [channel for channel in range(CHANNELS) if state.consumer_of(channel) is not None]
    holding = [channel for channel in range(CHANNELS) if state.on(channel)]
    used = sorted({*consuming, *holding})
    idle = [channel for channel in range(CHANNELS) if channel not in consuming]
    # What is here more than once is chosen more often.
    choices = [_publish(), _publish()]
    if idle:
        choices += [_consume(idle), _consume(idle)]
    if state.ready or state.returned:
        choices.append(_on("get", _channels))
    if consuming:
        choices.append(_on("cancel", st.sampled_from(consuming)))
    if holding:
        choices += [_settle(how, state, holding) for how in ("ack", "nack", "nack", "reject")]
    if used:
        choices += [_on("close", st.sampled_from(used)), _disconnect(used)]
    return st.one_of(choices)


def _publish() -> SearchStrategy[dict[str, Any]]:
    return st.builds(lambda count: {"do": "publish", "count": count}, st.integers(1, 4))


def _consume(idle: list[int]) -> SearchStrategy[dict[str, Any]]:
    def consume(channel: int, prefetch: int) -> dict[str, Any]:
        return {"do": "consume", "channel": channel, "prefetch": prefetch}

    return st.builds(consume, st.sampled_from(idle), st.sampled_from([1, 2, 3, 0]))


def _on(what: str, channels: SearchStrategy[int]) -> SearchStrategy[dict[str, Any]]:
    return channels.map(lambda channel: {"do": what, "channel": channel})


def _disconnect(used: list[int]) -> SearchStrategy[dict[str, Any]]:
    connections = sorted({channel // CHANNELS_PER_CONNECTION for channel in used})

    def disconnect(connection: int, rudely: bool) -> dict[str, Any]:
        return {"do": "disconnect", "connection": connection, "rudely": rudely}

    return st.builds(disconnect, st.sampled_from(connections), _yes_or_no)


@st.composite
def _settle(draw: DrawFn, how: str, state: WorkQueue, holding: list[int]) -> dict[str, Any]:
    channel = draw(st.sampled_from(holding))
    operation: dict[str, Any] = {"do": how, "channel": channel, "index": draw(_index(len(state.on(channel))))}
    if how != "reject":
        operation["multiple"] = draw(_yes_or_no)
    if how != "ack":
        operation["requeue"] = not draw(_yes_or_no)
    return operation
