"""What a soak's judgement makes of journals that were made by hand: each violation is caught under its own name."""

import pytest

from workqueue.guarantee.soak.journal import Journal, What
from workqueue.guarantee.soak.judgement import REASONS, VIOLATIONS, judge

PRODUCER, FIRST, SECOND = range(3)


def journal(*events):
    """From ``(at, what, task)`` and, where it matters, who told it, the flag *redelivered*, and since when."""
    result = Journal()
    for at, what, task, *rest in events:
        who, marked, since = (*rest, *(PRODUCER, False, 0)[len(rest) :])
        result.add(what, who, at, [task], [int(marked)], [since])
    return result


def plain(task, at=0):
    return [
        (at + 1, What.PUBLISHED, task),
        (at + 2, What.DELIVERED, task, FIRST),
        (at + 3, What.CONFIRMED, task),
        (at + 4, What.ACKED, task, FIRST),
        (at + 5, What.PROVEN, task, FIRST),
    ]


CONFIRMED = [(1, What.PUBLISHED, 0), (2, What.CONFIRMED, 0)]
# Worker 1 acks, and hears on the same channel that the ack has arrived, at 30.
ACKED = [*CONFIRMED, (10, What.DELIVERED, 0, FIRST), (20, What.ACKED, 0, FIRST), (30, What.PROVEN, 0, FIRST)]

PATHOLOGIES = {
    "lost": CONFIRMED,
    "lost-in-hand": [*CONFIRMED, (10, What.DELIVERED, 0, FIRST)],
    "unroutable": [(1, What.PUBLISHED, 0), (2, What.RETURNED, 0)],
    "unexpected": [(10, What.DELIVERED, 9, FIRST), (11, What.ACKED, 9, FIRST)],
    "silently-repeated": [
        *CONFIRMED,
        (10, What.DELIVERED, 0, FIRST),
        (20, What.DELIVERED, 0, SECOND, False, 15),
        (21, What.ACKED, 0, SECOND),
    ],
    "redelivered-after-ack": [*ACKED, (50, What.DELIVERED, 0, SECOND, True, 40)],
}


def test_every_violation_has_a_pathology():
    assert PATHOLOGIES.keys() == VIOLATIONS.keys()


@pytest.mark.parametrize("name", PATHOLOGIES)
def test_each_violation_is_caught_under_its_own_name(name):
    found = judge(journal(*plain(1), *PATHOLOGIES[name], *plain(2)))

    [task] = found.violations[name]
    assert found.violations.keys() == {name}
    assert task == (9 if name == "unexpected" else 0)
    assert [(entry.at, entry.what) for entry in found.stories[task]] == [each[:2] for each in PATHOLOGIES[name]]


def test_a_body_that_no_producer_made_is_unexpected():
    assert judge(journal(*plain(0), (9, What.DELIVERED, -1, FIRST))).violations == {"unexpected": [-1]}


def test_plain_stories_are_no_violation_and_gaps_in_the_numbers_are_none():
    found = judge(journal(*plain(0), *plain(5, at=100)))

    assert found.violations == {}
    assert (found.duplicated, found.indeterminate, found.repeats) == (0, 0, {})


def test_of_a_queue_that_was_not_drained_nothing_is_missing():
    assert judge(journal(*PATHOLOGIES["lost"]), drained=False).violations == {}
    assert judge(journal(*PATHOLOGIES["lost-in-hand"]), drained=False).violations == {}
    assert judge(journal(*PATHOLOGIES["silently-repeated"]), drained=False).violations


@pytest.mark.parametrize("answer", [[], [(2, What.REFUSED, 0)]], ids=["none", "nack"])
def test_a_task_that_was_not_confirmed_may_be_there_or_not(answer):
    gone = judge(journal((1, What.PUBLISHED, 0), *answer))
    there = judge(journal((1, What.PUBLISHED, 0), *answer, (10, What.DELIVERED, 0, FIRST), (11, What.ACKED, 0, FIRST)))

    assert gone.violations == there.violations == {}
    assert (gone.indeterminate, gone.recovered) == (1, 0)
    assert (there.indeterminate, there.recovered) == (1, 1)


def repeated(*events, kills=()):
    found = judge(journal(*CONFIRMED, *events), kills=kills)
    assert found.violations == {}
    assert found.duplicated == 1
    [(reason, number)] = found.repeats.items()
    assert number == 1
    assert reason in REASONS
    return reason


def test_a_task_that_was_not_acked_may_come_again():
    again = (20, What.DELIVERED, 0, SECOND, True, 15), (30, What.ACKED, 0, SECOND)
    assert repeated((10, What.DELIVERED, 0, FIRST), *again) == "not-acked"


def test_an_ack_that_was_under_way_is_in_doubt():
    again = (50, What.DELIVERED, 0, SECOND, True, 40)
    assert repeated((10, What.DELIVERED, 0, FIRST), (20, What.ACKED, 0, FIRST), again) == "ack-in-doubt"


def test_what_can_have_been_sent_before_the_ack_arrived_is_no_violation():
    # The first worker was frozen with the task on its way; the second has acked it long before the first reads it.
    second = [(10, What.DELIVERED, 0, SECOND, True, 8), (20, What.ACKED, 0, SECOND), (30, What.PROVEN, 0, SECOND)]
    assert repeated(*second, (50, What.DELIVERED, 0, FIRST, False, 5)) == "ack-in-doubt"


def test_the_order_of_arrival_makes_no_silent_repeat():
    # Sent first, unmarked, and read last, from a connection that was given up.
    marked, unmarked = (10, What.DELIVERED, 0, SECOND, True, 8), (20, What.DELIVERED, 0, FIRST, False, 5)
    assert repeated(marked, unmarked, (30, What.ACKED, 0, SECOND)) == "not-acked"


def test_a_classic_queue_may_forget_an_ack_when_the_broker_is_killed():
    again = (50, What.DELIVERED, 0, SECOND, True, 40)
    assert repeated(*ACKED[2:], again, kills=[35]) == "ack-forgotten-by-kill"


@pytest.mark.parametrize("kill", [15, 60], ids=["before-the-ack", "after-the-delivery"])
def test_another_kill_is_no_excuse(kill):
    found = judge(journal(*PATHOLOGIES["redelivered-after-ack"]), kills=[kill])
    assert found.violations == {"redelivered-after-ack": [0]}


def test_an_ack_after_the_repeat_does_not_count_against_it():
    events = [*CONFIRMED, (10, What.DELIVERED, 0, FIRST), (20, What.DELIVERED, 0, SECOND, True, 15)]
    found = judge(journal(*events, (30, What.ACKED, 0, SECOND), (40, What.PROVEN, 0, SECOND)))
    assert found.violations == {}


def test_a_journal_gives_back_what_was_added():
    entries = journal((10, What.DELIVERED, 3, SECOND, True, 4), (11, What.ACKED, 3, SECOND))

    assert len(entries) == 2
    assert (entries[0].at, entries[0].marked, entries[0].since, entries[0].who) == (10, True, 4, SECOND)
    assert entries.count(What.DELIVERED) == 1


def test_what_was_more_than_an_hour_on_its_way_may_have_been_sent_at_any_time():
    [entry] = [journal((2**33, What.DELIVERED, 0, FIRST, False, 1))[0]]
    assert entry.since == 0
