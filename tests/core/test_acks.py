"""Acks for several deliveries at once, and never for one that somebody still works on."""

import pytest

from workqueue._acks import Settlements


@pytest.mark.parametrize("count", [2, 3, 1000])
def test_a_burst_in_order_is_one_ack(count):
    assert Settlements().ack(range(1, count + 1)) == [(count, True)]


def test_a_burst_that_came_in_any_order_is_one_ack():
    assert Settlements().ack([3, 1, 2]) == [(3, True)]


def test_one_is_acknowledged_by_itself():
    settlements = Settlements()

    assert settlements.ack([1]) == [(1, False)]
    assert settlements.ack([2]) == [(2, False)]


def test_nothing_is_no_ack():
    assert Settlements().ack([]) == []


def test_the_next_burst_goes_on_where_the_last_one_ended():
    settlements = Settlements()
    settlements.ack([1, 2])

    assert settlements.ack([3, 4, 5]) == [(5, True)]


def test_while_an_earlier_one_is_worked_on_each_is_acknowledged_by_itself():
    settlements = Settlements()

    assert settlements.ack([2, 3]) == [(2, False), (3, False)]
    assert settlements.ack([5]) == [(5, False)]
    assert settlements.ack([1]) == [(1, False)]  # 2 and 3 are settled already


def test_an_ack_for_several_ends_before_the_first_that_is_worked_on():
    assert Settlements().ack([1, 2, 4, 6]) == [(2, True), (4, False), (6, False)]


def test_a_gap_that_is_filled_lets_a_burst_through():
    settlements = Settlements()
    settlements.ack([3])

    assert settlements.ack([1, 2, 4, 5]) == [(5, True)]


def test_the_ack_names_one_that_is_outstanding_though_later_ones_are_settled():
    settlements = Settlements()
    settlements.ack([3, 4])

    assert settlements.ack([1, 2]) == [(2, True)], "the broker closes a channel for a tag that it does not know"


def test_what_was_rejected_is_no_gap():
    settlements = Settlements()
    settlements.settled(2)
    settlements.settled(1)

    assert settlements.ack([3, 4]) == [(4, True)]


def test_a_reject_lets_what_was_held_up_by_it_through_in_the_next_burst():
    settlements = Settlements()
    settlements.ack([2])
    settlements.settled(1)

    assert settlements.ack([3, 5, 4]) == [(5, True)]


def test_any_iterable_will_do():
    assert Settlements().ack(tag for tag in (1, 2)) == [(2, True)]


def test_what_is_settled_is_not_kept_in_memory():
    settlements = Settlements()
    for tag in range(1, 1000, 2):
        settlements.ack([tag + 1])
        settlements.settled(tag)
        settlements.ack([])

        assert not settlements._open


def test_what_is_settled_while_one_takes_long_is_not_kept_in_memory_either():
    settlements = Settlements()
    for tag in range(2, 1000):
        assert settlements.ack([tag]) == [(tag, False)]

        assert settlements._open == {1}
    assert settlements.ack([1, 1000]) == [(1000, True)]
