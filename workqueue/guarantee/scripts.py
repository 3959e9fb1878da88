"""Random scripts for the reference model and a broker, made and shrunk by Hypothesis."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from workqueue.guarantee.model import CHANNELS, CHANNELS_PER_CONNECTION, Rules, WorkQueue

LONGEST = 25

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

    if rules.failures and draw(_yes_or_no):
        add({"do": "declare", "delivery_limit": draw(st.sampled_from([1, 2, 0]))})
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
