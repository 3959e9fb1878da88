"""Answers to publishes: which of them a broker's confirms are for."""

import pytest

from workqueue.guarantee.answers import Confirmed, answered


def confirm(tag, *, multiple=False):
    return Confirmed(tag, ok=True, multiple=multiple, at=0.0)


@pytest.mark.parametrize(
    ("confirms", "numbers"),
    [
        ([confirm(1), confirm(2), confirm(3)], [1, 2, 3]),
        ([confirm(3, multiple=True)], [1, 2, 3]),
        ([confirm(1), confirm(3), confirm(3, multiple=True)], [1, 2, 3, 3]),
        ([confirm(3), confirm(2, multiple=True)], [1, 2, 3]),
        ([confirm(2), confirm(2)], [2, 2]),
        ([confirm(1), confirm(2)], [1, 2]),
    ],
    ids=["one by one", "all at once", "one of them twice", "out of order", "twice", "one is missing"],
)
def test_each_publish_counts_as_often_as_it_was_answered(confirms, numbers):
    assert sorted(answered(confirms, 3)) == numbers
