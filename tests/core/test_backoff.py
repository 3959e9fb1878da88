"""How long to wait before the next attempt."""

import random

import pytest

from workqueue._backoff import Backoff


class Dice:
    """Writes down between which bounds it was thrown, and shows a share of the way between them."""

    def __init__(self):
        self.share = 1.0
        self.thrown = []

    def __call__(self, low, high):
        self.thrown.append((low, high))
        return low + self.share * (high - low)


@pytest.fixture
def dice(monkeypatch):
    dice = Dice()
    monkeypatch.setattr(random, "uniform", dice)
    return dice


def test_the_bound_doubles_until_it_is_capped(dice):
    backoff = Backoff(first=1.0, cap=10.0)

    assert [backoff.next() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert dice.thrown == [(0.0, bound) for bound in (1.0, 2.0, 4.0, 8.0, 10.0, 10.0)]


def test_the_wait_is_what_the_dice_show(dice):
    dice.share = 0.25
    backoff = Backoff(first=1.0, cap=10.0)

    assert [backoff.next() for _ in range(5)] == [0.25, 0.5, 1.0, 2.0, 2.5]


@pytest.mark.usefixtures("dice")
def test_it_starts_with_a_fifth_of_a_second_and_ends_with_ten():
    backoff = Backoff()

    assert [backoff.next() for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


@pytest.mark.usefixtures("dice")
def test_what_was_waited_for_lets_it_begin_anew():
    backoff = Backoff(first=1.0, cap=10.0)
    for _ in range(4):
        backoff.next()

    backoff.attempts = 0

    assert [backoff.next() for _ in range(2)] == [1.0, 2.0]


def test_it_counts_its_attempts():
    backoff = Backoff()
    assert backoff.attempts == 0

    for attempt in range(1, 50):
        backoff.next()
        assert backoff.attempts == attempt


@pytest.mark.usefixtures("dice")
@pytest.mark.parametrize(("first", "cap"), [(0.2, 30.0), (1e-9, 3600.0), (1e300, 1e308)])
def test_an_outage_without_end_ends_in_no_overflow(first, cap):
    backoff = Backoff(first=first, cap=cap)

    waits = [backoff.next() for _ in range(10_000)]

    assert max(waits) == waits[-1] == min(cap, first * 2.0**32)
    assert backoff.attempts == 10_000


@pytest.mark.usefixtures("dice")
def test_the_bound_still_grows_at_the_last_doubling():
    backoff = Backoff(first=1.0, cap=1e300)

    waits = [backoff.next() for _ in range(35)]

    assert waits == [2.0 ** min(attempt, 32) for attempt in range(35)]


def test_the_waits_are_spread_over_all_that_is_allowed():
    state = random.getstate()
    random.seed(1)
    try:
        backoff = Backoff(first=8.0, cap=8.0)
        waits = [backoff.next() for _ in range(1000)]
    finally:
        random.setstate(state)

    assert {int(wait) for wait in waits} == set(range(8))
