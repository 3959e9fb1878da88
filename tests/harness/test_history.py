"""The checkers, on histories made by hand, each with one thing wrong with it."""

import pytest

from workqueue.guarantee import history
from workqueue.guarantee.history import History, Kind

CHECKERS = (
    history.lost,
    history.unexpected,
    history.duplicated,
    history.silently_repeated,
    history.falsely_marked,
)


def made_of(*events):
    made = History()
    for at, (kind, task, *flag) in enumerate(events):
        made.add(kind, "somebody", task, redelivered=bool(flag), at=at)
    return made


def published(*tasks):
    return [(kind, task) for task in tasks for kind in (Kind.PUBLISHED, Kind.CONFIRMED)]


@pytest.mark.parametrize(
    ("events", "findings"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param([*published("a"), (Kind.DELIVERED, "a"), (Kind.DONE, "a")], {}, id="as it should be"),
        pytest.param([(Kind.PUBLISHED, "a")], {}, id="unconfirmed and lost"),
        pytest.param([(Kind.PUBLISHED, "a"), (Kind.DELIVERED, "a")], {}, id="unconfirmed and there"),
        pytest.param(published("a", "b"), {"lost": ["a", "b"]}, id="lost"),
        pytest.param([(Kind.DELIVERED, "ghost")], {"unexpected": ["ghost"]}, id="unexpected"),
        pytest.param(
            [*published("a"), (Kind.DELIVERED, "a"), (Kind.DELIVERED, "a", True)],
            {"duplicated": ["a"]},
            id="redelivered and said so",
        ),
        pytest.param(
            [*published("a"), (Kind.DELIVERED, "a"), (Kind.DELIVERED, "a")],
            {"duplicated": ["a"], "silently_repeated": ["a"]},
            id="redelivered in silence",
        ),
        pytest.param(
            [*published("a"), (Kind.DELIVERED, "a", True)],
            {"falsely_marked": ["a"]},
            id="marked, and never seen before",
        ),
    ],
)
def test_each_fault_is_found_under_its_own_name(events, findings):
    found = {check.__name__: check(made_of(*events)) for check in CHECKERS}

    assert {name: tasks for name, tasks in found.items() if tasks} == findings


def test_events_are_read_by_their_time_not_by_when_they_were_told():
    made = History()
    made.add(Kind.DELIVERED, "worker 2", "a", redelivered=True, at=2)
    made.add(Kind.DELIVERED, "worker 1", "a", at=1)

    assert history.silently_repeated(made) == []
    assert history.falsely_marked(made) == []
    assert [event.who for event in made.events()] == ["worker 1", "worker 2"]
