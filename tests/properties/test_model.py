"""The reference model by itself: what must be true of a work queue, whatever is done to it."""

from dataclasses import replace

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from workqueue.guarantee.exploration import scripts
from workqueue.guarantee.model import CHANNELS, WorkQueue
from workqueue.guarantee.rules import Rules
from workqueue.guarantee.script import ENDING

RULES = {
    f"{queue_type} {version}": Rules.of(queue_type, version)
    for queue_type in ("classic", "quorum")
    for version in ("3.8.9", "3.10.8", "4.0.5", "4.3.6")
}

few = settings(max_examples=40)

every_queue = pytest.mark.parametrize("rules", RULES.values(), ids=RULES)


def states(rules, script):
    """All states that a script can lead through, as (before, operation, after)."""
    befores = [WorkQueue(rules)]
    for operation in script:
        afters = []
        for before in befores:
            for after in before.step(operation):
                yield before, operation, after
                afters.append(after)
        befores = afters[:8]


def numbers(tasks):
    return [task.number for task in tasks]


@every_queue
@few
@given(data=st.data())
def test_no_task_is_lost_and_none_is_invented(rules, data):
    for _, _, after in states(rules, data.draw(scripts(rules))):
        everywhere = [*after.ready, *after.returned, *after.gone, *(each.task for each in after.held)]
        assert sorted(numbers(everywhere)) == list(range(1, after.published + 1))


@every_queue
@few
@given(data=st.data())
def test_no_consumer_holds_more_than_its_prefetch_count(rules, data):
    for _, _, after in states(rules, data.draw(scripts(rules))):
        for tag, consumer in after.consumers.items():
            held = sum(each.consumer == tag for each in after.held)
            assert consumer.prefetch == 0 or held <= consumer.prefetch + consumer.lent
            assert consumer.lent == 0 or rules.drop_lends


@every_queue
@few
@given(data=st.data())
def test_no_task_waits_while_a_consumer_could_take_it(rules, data):
    for _, _, after in states(rules, data.draw(scripts(rules))):
        if after.ready or after.returned:
            for tag, consumer in after.consumers.items():
                held = sum(each.consumer == tag for each in after.held)
                assert consumer.prefetch
                assert held >= consumer.prefetch


@every_queue
@few
@given(data=st.data())
def test_what_is_gone_never_comes_back(rules, data):
    for before, _, after in states(rules, data.draw(scripts(rules))):
        assert set(numbers(before.gone)) <= set(numbers(after.gone))


@every_queue
@few
@given(data=st.data())
def test_a_task_is_marked_if_and_only_if_it_was_delivered_before(rules, data):
    state, delivered, momentary = WorkQueue(rules), set(), False
    for operation in data.draw(scripts(rules)):
        held = set(state.held)
        [state, *_] = state.step(operation)
        # A channel of a connection that ends can be sent a task for a moment, which nobody sees.
        momentary = momentary or operation["do"] == "disconnect"
        for each in [each for each in state.held if each not in held]:
            assert each.redelivered or each.task.number not in delivered
            assert momentary or not each.redelivered or each.task.number in delivered
            delivered.add(each.task.number)


@every_queue
@few
@given(data=st.data())
def test_what_was_never_handed_back_is_in_the_order_of_publication(rules, data):
    for _, _, after in states(rules, data.draw(scripts(rules))):
        fresh = [task.number for task in after.ready if not task.redelivered]
        assert fresh == sorted(fresh)
        for channel in range(CHANNELS):
            fresh = [each.task.number for each in after.on(channel) if not each.redelivered]
            assert fresh == sorted(fresh)


@few
@given(data=st.data())
def test_a_classic_queue_is_in_the_order_of_publication_whatever_comes_back(data):
    rules = Rules.of("classic", "4.3.6")
    for _, _, after in states(rules, data.draw(scripts(rules))):
        assert numbers(after.ready) == sorted(numbers(after.ready))


@every_queue
@few
@given(data=st.data())
def test_a_step_leaves_the_state_before_as_it_was(rules, data):
    script = data.draw(scripts(rules))
    state = WorkQueue(rules)
    for operation in script:
        view = state.view()
        after = state.step(operation)
        assert state.view() == view
        state = after[0]


def play(rules, *script):
    state = WorkQueue(rules)
    for operation in script:
        [state] = state.step(operation)
    return state.view()


def views(rules, script):
    """What can be seen after each step, if it is the first outcome that comes true."""
    state = WorkQueue(rules)
    for operation in [*script, *ENDING]:
        [state, *_] = state.step(operation)
        yield state.view()


@pytest.mark.parametrize(
    ("queue_type", "version", "other"),
    [
        ("classic", "4.3.6", {"requeue": "front", "requeue_unlimited": "front"}),
        ("classic", "4.3.6", {"takes_back": "front"}),
        ("classic", "4.3.6", {"full_keeps_turn": False}),
        ("classic", "4.3.6", {"counts_holders": True}),
        ("quorum", "4.3.6", {"requeue": "position"}),
        ("quorum", "4.3.6", {"requeue_unlimited": "back"}),
        ("quorum", "4.3.6", {"takes_back": "back"}),
        ("quorum", "4.3.6", {"closed_apart": False}),
        ("quorum", "4.3.6", {"closed_fetched_last": False}),
        ("quorum", "4.3.6", {"full_keeps_turn": True}),
        ("quorum", "4.3.6", {"failures": Rules.of("quorum", "4.0.5").failures}),
        ("quorum", "4.0.5", {"failures": Rules.of("quorum", "4.3.6").failures}),
        ("quorum", "4.0.5", {"requeue_unlimited": "front"}),
        ("quorum", "3.10.8", {"requeue_unlimited": "front"}),
        ("quorum", "3.10.8", {"closed_fetched_last": True}),
        ("quorum", "3.8.9", {"below_zero_is_none": True}),
        ("quorum", "3.8.9", {"drop_lends": False}),
        ("quorum", "3.8.9", {"requeue_unlimited": "back"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),  # a set has another repr in each process
)
def test_random_scripts_can_tell_a_rule_from_its_opposite(queue_type, version, other):
    rules = Rules.of(queue_type, version)
    opposite = replace(rules, **other)

    found = find(
        scripts(rules),
        lambda script: list(views(rules, script)) != list(views(opposite, script)),
        settings=settings(max_examples=2000, database=None, phases=[Phase.generate]),
    )

    assert found


PUBLISH = {"do": "publish", "count": 3}
CLASSIC, QUORUM = Rules.of("classic", "4.0.5"), Rules.of("quorum", "4.0.5")


def consume(channel, prefetch):
    return {"do": "consume", "channel": channel, "prefetch": prefetch}


def nack(channel, index):
    return {"do": "nack", "channel": channel, "index": index, "requeue": True}


@pytest.mark.parametrize("rules", [CLASSIC, QUORUM])
def test_consumers_take_turns(rules):
    assert play(rules, consume(0, 0), consume(1, 0), PUBLISH).held == {0: ((1, False), (3, False)), 1: ((2, False),)}


def test_what_is_nacked_last_first_keeps_its_order_in_a_classic_queue_only():
    held_three = [PUBLISH, *3 * [{"do": "get", "channel": 0}]]
    last_first = [nack(0, 2), nack(0, 1), nack(0, 0), consume(1, 0)]

    classic, quorum = (play(rules, *held_three, *last_first).held[1] for rules in (CLASSIC, QUORUM))

    assert [task for task, _ in classic] == [1, 2, 3]
    assert [task for task, _ in quorum] == [3, 2, 1]


@pytest.mark.parametrize(
    ("version", "how", "deliveries"),
    [("4.0.5", "nack", 2), ("4.0.5", "reject", 2), ("4.3.6", "nack", 9), ("4.3.6", "reject", 2), ("3.8.9", "close", 2)],
)
def test_a_task_that_failed_more_often_than_the_limit_is_dropped(version, how, deliveries):
    details = {} if how == "close" else {"index": 0, "requeue": True}
    state = WorkQueue(Rules.of("quorum", version), limit=1)
    [state] = state.step({"do": "publish", "count": 1})
    delivered = 0
    while delivered < 9:
        [state] = state.step({"do": "get", "channel": 0})
        if not state.held:
            break
        delivered += 1
        [state] = state.step({"do": how, "channel": 0, **details})
    assert delivered == deliveries


def test_either_channel_of_a_lost_connection_may_come_back_first():
    state = WorkQueue(QUORUM)
    for operation in (consume(0, 1), consume(1, 1), PUBLISH):
        [state] = state.step(operation)

    outcomes = state.step({"do": "disconnect", "connection": 0})

    assert sorted(numbers(each.returned) for each in outcomes) == [[1, 2], [2, 1]]


def test_an_unknown_queue_type_is_refused():
    with pytest.raises(ValueError, match="unknown queue type 'stream'"):
        Rules.of("stream", "4.0.5")
