"""The reference model and the session's broker side by side; and a model with a mistake, which is found out."""

import dataclasses

import pytest

from workqueue.guarantee.exploration import explore
from workqueue.guarantee.rules import Rules
from workqueue.guarantee.script import parse_script
from workqueue.guarantee.side_by_side import Difference, Pair

SCENARIOS = 60
SEED = 20
SHORT = 4  # operations


@pytest.fixture
def rules(workqueue_broker, workqueue_queue_type):
    return Rules.of(workqueue_queue_type, workqueue_broker.about.version)


@pytest.fixture
def play_by(workqueue_broker, workqueue_queue_type):
    """Make a pair of the broker and a model that has such rules."""
    pairs = []

    def make(rules, **options):
        pairs.append(Pair(workqueue_broker, workqueue_queue_type, rules, **options))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


def test_the_broker_does_as_the_model_says(play_by, rules):
    played = []

    found = explore(play_by(rules), rules, scenarios=SCENARIOS, seed=SEED, tell=played.append)

    assert found is None, str(found and found.difference)
    assert played == list(range(1, SCENARIOS + 1))


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param({"requeue": "back", "requeue_unlimited": "back", "takes_back": "back"}, id="requeues at the back"),
        pytest.param({"marks": False}, id="never marks as redelivered"),
        pytest.param({"prefetch": False}, id="ignores prefetch"),
    ],
)
def test_a_model_with_a_mistake_is_found_out(play_by, rules, mistake):
    wrong = dataclasses.replace(rules, **mistake)

    found = explore(play_by(wrong, patience=2), wrong, scenarios=300, seed=SEED)

    assert found is not None
    assert found.again
    script = found.difference.script
    assert len(script) <= SHORT, str(found.difference)
    with pytest.raises(Difference, match="the broker"):
        play_by(wrong, patience=2).play(script)
    play_by(rules).play(script)


def test_twelve_fetched_tasks_come_back_from_a_closed_channel_as_the_model_says(play_by, rules):
    fetch = [{"do": "publish", "count": 12}, *12 * [{"do": "get", "channel": 0}]]

    play_by(rules).play([*fetch, {"do": "close", "channel": 0}])

    # What is sorted as text is sorted as text: this is no accident of the model's.
    in_order = dataclasses.replace(rules, closed_apart=False)
    if in_order == rules:
        return
    with pytest.raises(Difference, match=r"the broker:  channel 0 holds 1\*, 10\*, 11\*, 12\*, 2\*, 3\*"):
        play_by(in_order, patience=2).play([*fetch, {"do": "close", "channel": 0}])


def test_what_was_fetched_is_handed_back_before_what_was_consumed_as_the_model_says(play_by, rules):
    # So the consumer is still full when the first task comes back, and is passed over; it takes 2000 scripts to see it.
    nack = {"do": "nack", "channel": 1, "index": 1, "multiple": True, "requeue": True}
    consume = [{"do": "consume", "channel": 1, "prefetch": 2}, {"do": "consume", "channel": 2, "prefetch": 0}]

    play_by(rules).play([{"do": "publish", "count": 3}, {"do": "get", "channel": 1}, *consume, nack])


def test_nothing_is_left_on_the_broker(play_by, rules, workqueue_broker):
    wrong = dataclasses.replace(rules, marks=False)
    script = parse_script('[{"do": "publish", "count": 2}, {"do": "get", "channel": 0}]')
    with pytest.raises(Difference):
        play_by(wrong).play(script)
    play_by(rules).play(script)

    assert "wq-" not in workqueue_broker.ctl("list_queues", "name")
