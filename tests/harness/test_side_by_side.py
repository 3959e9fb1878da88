"""The comparison of the reference model with a queue, without a broker: another model plays the queue."""

import itertools
from dataclasses import replace

import pytest

from workqueue.guarantee.exploration import explore
from workqueue.guarantee.links import Closed
from workqueue.guarantee.model import View, WorkQueue
from workqueue.guarantee.real_queue import Strange
from workqueue.guarantee.rules import Rules
from workqueue.guarantee.side_by_side import Difference, Pair
from workqueue.guarantee.verdict import Unknown

RULES = Rules.of("quorum", "4.0.5")

# Which channel of the connection ends first decides whether the task has failed once or twice, and is dropped.
DROPPED_OR_NOT = [
    {"do": "declare", "delivery_limit": 1},
    {"do": "publish", "count": 1},
    {"do": "consume", "channel": 0, "prefetch": 1},
    {"do": "consume", "channel": 1, "prefetch": 1},
    {"do": "disconnect", "connection": 0},
]


class Played:
    """A queue as `RealQueue` has them that follows rules of its own, and the last of several outcomes."""

    def __init__(self, rules):
        self.rules = rules
        self.ended = 0
        self.stale = []
        self.broken = None

    def begin(self, _):
        self.state = WorkQueue(self.rules)

    def aim(self, operation):
        held = self.state.on(operation.get("channel", -1))
        return held[operation["index"] % len(held)].task.number if held and "index" in operation else None

    def do(self, operation):
        if self.broken:
            raise self.broken
        *_, self.state = self.state.step(operation)
        self.looks = iter(self.stale if operation["do"] == "disconnect" else ())

    def look(self):
        return next(self.looks, None) or self.state.view()

    def wait(self, seconds):
        pass

    def end(self):
        self.ended += 1

    def close(self):
        pass


@pytest.fixture
def pair_with(monkeypatch):
    def make(queue, rules=RULES):
        monkeypatch.setattr("workqueue.guarantee.side_by_side.RealQueue", lambda *_: queue)
        return Pair(None, "quorum", rules, patience=0.05)

    return make


def test_a_queue_may_do_either_of_what_is_allowed(pair_with):
    queue = Played(RULES)
    pair_with(queue).play(DROPPED_OR_NOT)
    assert queue.ended == 1


def test_what_looks_like_one_allowed_state_may_be_on_its_way_to_another(pair_with):
    queue = Played(RULES)
    queue.stale = [View({}, ready=0, consumers=0)]
    pair_with(queue).play(DROPPED_OR_NOT)


def test_it_cannot_be_on_its_way_to_what_is_not_allowed(pair_with):
    queue = Played(RULES)
    queue.stale = itertools.repeat(View({}, ready=2, consumers=0))
    with pytest.raises(Difference, match="2 ready") as caught:
        pair_with(queue).play(DROPPED_OR_NOT)
    assert caught.value.script == DROPPED_OR_NOT
    assert queue.ended == 1


def test_a_delivery_that_cannot_be_taken_back_is_different_at_once(pair_with):
    pair = pair_with(Played(replace(RULES, prefetch=False)))
    pair.patience = 3600

    with pytest.raises(Difference, match=r"the broker:  channel 0 holds 1, 2; 0 ready"):
        pair.play([{"do": "consume", "channel": 0, "prefetch": 1}, {"do": "publish", "count": 2}])


def test_a_difference_is_told_with_the_step_at_which_it_is_seen(pair_with):
    pair = pair_with(Played(replace(RULES, marks=False)))

    with pytest.raises(Difference) as caught:
        pair.play([{"do": "publish", "count": 1}, {"do": "get", "channel": 0}])

    lines = str(caught.value).splitlines()
    assert lines[:5] == [
        "after",
        "   1. publish, count 1",
        "   2. get, channel 0",
        "  and, to see what became of it all,",
        "   3. close, channel 0",
    ]
    assert lines[-2:] == [
        "  the model:   channel 0 holds 1*; 0 ready; 1 consumers",
        "  the broker:  channel 0 holds 1; 0 ready; 1 consumers",
    ]


@pytest.mark.parametrize("did", [Closed("sent Channel.Close: 406 PRECONDITION_FAILED"), Strange("refused a publish")])
def test_a_broker_that_refuses_an_operation_is_different(pair_with, did):
    queue = Played(RULES)
    queue.broken = did
    with pytest.raises(Difference, match=f"the broker:  {did}"):
        pair_with(queue).play([{"do": "publish", "count": 1}])


def test_a_broker_that_does_not_take_part_is_unknown_and_not_different(pair_with):
    queue = Played(RULES)
    queue.broken = ConnectionResetError("reset")
    with pytest.raises(Unknown, match="reset"):
        explore(pair_with(queue), RULES, scenarios=5, seed=1)


@pytest.mark.parametrize(
    "otherwise",
    [
        {"marks": False},
        {"prefetch": False},
        {"takes_back": "position"},
        {"closed_apart": False},
        {"full_keeps_turn": True},
    ],
    ids=str,
)
def test_a_queue_that_breaks_a_rule_is_found_and_its_script_is_short(pair_with, otherwise):
    found = explore(pair_with(Played(replace(RULES, **otherwise))), RULES, scenarios=2000, seed=1)

    assert found is not None
    assert found.again
    assert len(found.difference.script) <= 8, str(found.difference)


def test_a_queue_that_differs_only_once_is_told_so(pair_with):
    class Once(Played):
        looked = 0

        def look(self):
            self.looked += 1
            return View({0: ((99, False),)}, 0, 0) if self.looked == 100 else super().look()

    found = explore(pair_with(Once(RULES)), RULES, scenarios=200, seed=1)

    assert found is not None
    assert not found.again
