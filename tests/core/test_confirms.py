"""The confirm window, against every answer that a broker can give, and some that it must not."""

from concurrent.futures import Future

import pytest

from workqueue import Nacked, OutcomeUnknown, Unroutable
from workqueue._confirms import ConfirmWindow, Publish


def a_publish(message_id: str) -> Publish:
    return Publish("task_queue", message_id, Future())


def a_window_with(count: int, *, limit: int = 100) -> ConfirmWindow:
    window = ConfirmWindow(limit)
    for number in range(1, count + 1):
        publish = a_publish(f"m{number}")
        window.reserve(publish)
        assert window.sent(publish) == number
    return window


def outcomes(settled):
    return {publish.message_id: None if error is None else type(error) for publish, error in settled}


def test_an_ack_settles_its_message_and_no_other():
    window = a_window_with(3)

    assert outcomes(window.confirmed(2, multiple=False, is_ack=True)) == {"m2": None}
    assert len(window) == 2


def test_multiple_settles_everything_up_to_the_tag_in_order():
    window = a_window_with(4)

    settled = window.confirmed(3, multiple=True, is_ack=True)

    assert [publish.message_id for publish, _ in settled] == ["m1", "m2", "m3"]
    assert len(window) == 1


def test_multiple_with_tag_zero_settles_everything_that_was_sent():
    window = a_window_with(3)
    window.reserve(a_publish("not sent yet"))

    assert set(outcomes(window.confirmed(0, multiple=True, is_ack=True))) == {"m1", "m2", "m3"}
    assert len(window) == 1


def test_a_nack_fails_its_messages_even_if_they_were_returned():
    window = a_window_with(3)
    window.returned("m1", "312 NO_ROUTE")

    assert outcomes(window.confirmed(2, multiple=True, is_ack=False)) == {"m1": Nacked, "m2": Nacked}


def test_a_returned_message_is_unroutable_although_the_broker_acks_it():
    window = a_window_with(2)

    window.returned("m1", "312 NO_ROUTE")

    [(_, error), (_, nothing)] = window.confirmed(2, multiple=True, is_ack=True)
    assert isinstance(error, Unroutable)
    assert "312 NO_ROUTE" in str(error)
    assert error.message_id == "m1"
    assert nothing is None


def test_a_refusal_names_the_queue_and_the_message():
    [(_, error)] = a_window_with(1).confirmed(1, multiple=False, is_ack=False)

    assert str(error) == "the broker refused a message for queue 'task_queue'"
    assert error.message_id == "m1"


def test_a_return_without_an_id_is_of_no_message_even_if_one_has_an_empty_id():
    window = ConfirmWindow(1)
    publish = a_publish("")
    window.reserve(publish)
    window.sent(publish)

    window.returned(None, "312 NO_ROUTE")

    assert outcomes(window.confirmed(1, multiple=False, is_ack=True)) == {"": None}


@pytest.mark.parametrize("stranger", ["m99", "", None])
def test_a_return_of_a_message_that_is_not_in_the_window_changes_nothing(stranger):
    window = a_window_with(1)

    window.returned(stranger, "312 NO_ROUTE")

    assert outcomes(window.confirmed(1, multiple=False, is_ack=True)) == {"m1": None}


@pytest.mark.parametrize("tag", [0, 1, 4, 2**63])
def test_an_answer_for_a_tag_that_is_not_outstanding_settles_nothing(tag):
    window = a_window_with(3)
    window.confirmed(1, multiple=False, is_ack=True)

    assert window.confirmed(tag, multiple=False, is_ack=True) == []
    assert len(window) == 2


def test_a_lost_connection_leaves_the_outcome_of_the_rest_unknown_sent_or_not():
    window = a_window_with(3)
    window.confirmed(1, multiple=False, is_ack=True)
    window.reserve(a_publish("not sent yet"))

    lost = window.lost("the network failed")

    assert outcomes(lost) == dict.fromkeys(("m2", "m3", "not sent yet"), OutcomeUnknown)
    assert all(str(error) == "not confirmed: the network failed" for _, error in lost)
    assert all(error.message_id == publish.message_id for publish, error in lost)
    assert len(window) == 0
    assert window.confirmed(3, multiple=True, is_ack=True) == []


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_a_full_window_takes_no_message(limit):
    window = a_window_with(limit - 1, limit=limit)
    assert not window.full
    last = a_publish("last")
    window.reserve(last)
    window.sent(last)
    assert window.full

    with pytest.raises(ValueError, match=f"the window of {limit} is full"):
        window.reserve(a_publish("one too many"))

    window.confirmed(1, multiple=False, is_ack=True)
    window.reserve(a_publish("fits"))


def test_a_message_id_is_in_the_window_once_because_returns_name_nothing_else():
    window = a_window_with(1)

    with pytest.raises(ValueError, match="'m1' is on its way already"):
        window.reserve(a_publish("m1"))

    window.confirmed(1, multiple=False, is_ack=True)
    window.reserve(a_publish("m1"))
