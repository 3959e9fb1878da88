"""Waiting before the next attempt: never longer than allowed, and as the dice say."""

import random
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from workqueue._backoff import Backoff

seconds = st.floats(0.001, 3600.0)


def dice(uniform):
    return mock.patch.object(random, "uniform", uniform)


@given(first=seconds, cap=seconds, seed=st.integers(), attempts=st.integers(1, 60))
def test_a_wait_is_between_nothing_and_its_bound_which_never_is_above_the_cap(first, cap, seed, attempts):
    backoff = Backoff(first, cap)

    with dice(random.Random(seed).uniform):
        for attempt in range(attempts):
            assert 0.0 <= backoff.next() <= min(cap, first * 2.0**attempt)


@given(first=seconds, cap=seconds, shares=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60))
def test_the_dice_are_thrown_once_for_each_wait_and_believed(first, cap, shares):
    thrown = []

    def uniform(low, high):
        thrown.append((low, high))
        return shares[len(thrown) - 1] * high

    backoff = Backoff(first, cap)
    with dice(uniform):
        waits = [backoff.next() for _ in shares]

    highest = [high for _, high in thrown]
    assert waits == [share * high for share, high in zip(shares, highest, strict=True)]
    assert {low for low, _ in thrown} == {0.0}
    assert highest == sorted(highest), "the bound never falls"
    assert highest[0] == min(first, cap)


@given(first=seconds, cap=seconds, before=st.integers(0, 40), after=st.integers(1, 40))
def test_with_its_attempts_forgotten_it_is_as_if_new(first, cap, before, after):
    used, new = Backoff(first, cap), Backoff(first, cap)
    with dice(lambda _, high: high):
        for _ in range(before):
            used.next()
        used.attempts = 0

        assert [used.next() for _ in range(after)] == [new.next() for _ in range(after)]
    assert used.attempts == new.attempts == after


@given(first=seconds, cap=seconds)
def test_ten_thousand_attempts_are_no_overflow(first, cap):
    backoff = Backoff(first, cap, attempts=10_000)

    with dice(lambda _, high: high):
        assert backoff.next() == cap
    assert backoff.attempts == 10_001
