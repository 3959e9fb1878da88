"""Messages that the broker does not answer for in time, and channels that it closes because of one."""

import pytest

from workqueue import NotSent, OutcomeUnknown, Refused, Unroutable
from workqueue._confirms import MAX_BYTES, ConfirmWindow, Publish

# As RabbitMQ 3.8 to 4.3 say it.
TOO_LARGE = "PRECONDITION_FAILED - message size {} is larger than configured max size 10"
NO_WRITE = "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'me'"


def a_publish(message_id, *, size=0, deadline=0.0):
    return Publish("task_queue", message_id, b"", bytes(size), print, deadline=deadline)


def a_window_with(*sizes, waiting=()):
    """Messages m1, m2 … that were sent, and some that were not; their deadlines are 1, 2 …"""
    window = ConfirmWindow(100)
    for number, size in enumerate(sizes, 1):
        window.reserve(a_publish(f"m{number}", size=size, deadline=number))
    window.take()
    for number, message_id in enumerate(waiting, len(sizes) + 1):
        window.reserve(a_publish(message_id, deadline=number))
    return window


def outcomes(settled):
    return [(publish.message_id, None if error is None else type(error)) for publish, error in settled]


def ids(publishes):
    return [publish.message_id for publish in publishes]


def test_nothing_is_given_up_before_its_time():
    window = a_window_with(0, 0, waiting=["w1"])

    assert window.expired(0.999, "") == []
    assert outcomes(window.confirmed(1, multiple=False, is_ack=True)) == [("m1", None)]
    assert ids(window.take()) == ["w1"]


def test_what_was_sent_and_not_answered_in_time_is_unknown_once_and_says_why():
    window = a_window_with(0, 0, 0)

    [(publish, error), (other, _)] = window.expired(2.0, "within 2 s; connected, 3 of 100 unconfirmed")

    assert (publish.message_id, other.message_id) == ("m1", "m2")
    assert type(error) is OutcomeUnknown
    assert str(error) == "not confirmed within 2 s; connected, 3 of 100 unconfirmed"
    assert error.message_id == "m1"
    assert window.expired(2.0, "") == []
    assert outcomes(window.expired(9.0, "")) == [("m3", OutcomeUnknown)]


def test_what_was_not_sent_in_time_never_will_be_and_says_why():
    window = a_window_with(waiting=["w1", "w2", "w3"])

    [(publish, error), (other, _)] = window.expired(2.0, "within 2 s; blocked (low on memory)")

    assert (publish.message_id, other.message_id) == ("w1", "w2")
    assert type(error) is NotSent
    assert str(error) == "not sent within 2 s; blocked (low on memory)"
    assert error.message_id == "w1"
    assert len(window) == 1
    assert ids(window.take()) == ["w3"]


def test_what_was_sent_goes_before_what_was_not():
    window = a_window_with(0, waiting=["w1"])

    assert outcomes(window.expired(9.0, "")) == [("m1", OutcomeUnknown), ("w1", NotSent)]


def test_what_is_given_up_keeps_its_place_until_the_broker_answers():
    window = ConfirmWindow(2)
    for number in (1, 2):
        window.reserve(a_publish(f"m{number}", deadline=1.0))
    window.take()
    window.expired(1.0, "")

    assert len(window) == 2
    assert not window.has_room(0)
    assert window.confirmed(1, multiple=False, is_ack=True) == []
    assert len(window) == 1
    assert window.has_room(0)


def test_what_is_given_up_can_be_sent_again_under_its_id():
    window = a_window_with(0)
    window.expired(1.0, "")

    window.reserve(a_publish("m1", deadline=2.0))

    assert len(window) == 2
    window.take()
    assert window.confirmed(1, multiple=False, is_ack=True) == []
    assert outcomes(window.confirmed(2, multiple=False, is_ack=True)) == [("m1", None)]


def test_of_two_with_one_id_the_later_one_counts_as_returned_since_the_other_has_had_its_fate():
    window = a_window_with(0)
    window.expired(1.0, "")
    window.reserve(a_publish("m1", deadline=2.0))
    window.take()

    window.returned("task_queue", "m1", "312 NO_ROUTE")

    assert outcomes(window.confirmed(2, multiple=True, is_ack=True)) == [("m1", Unroutable)]


def test_what_waits_has_not_been_returned_but_its_namesake_has():
    window = a_window_with(0)
    window.expired(1.0, "")
    window.reserve(a_publish("m1", deadline=2.0))

    window.returned("task_queue", "m1", "312 NO_ROUTE")

    window.take()
    assert outcomes(window.confirmed(2, multiple=True, is_ack=True)) == [("m1", None)]


@pytest.mark.parametrize(
    "settle",
    [
        lambda window: window.expired(1.5, ""),
        lambda window: window.confirmed(1, multiple=False, is_ack=True),
        lambda window: window.confirmed(1, multiple=False, is_ack=False),
        lambda window: window.channel_closed(404, "NOT_FOUND")[:-1],
        lambda window: window.channel_closed(406, TOO_LARGE.format(11)),
        lambda window: window.channel_closed(406, TOO_LARGE.format(22))[:-1],
        lambda window: window.lost("the network failed")[:-1],
    ],
)
def test_what_is_given_up_is_never_settled_again(settle):
    window = a_window_with(11, 22)
    assert outcomes(window.expired(1.0, "")) == [("m1", OutcomeUnknown)]

    assert settle(window) == []


def test_the_next_deadline_is_that_of_the_first_that_is_not_given_up():
    window = ConfirmWindow(9)
    assert window.next_deadline() is None
    window.reserve(a_publish("m1", deadline=1.0))
    window.reserve(a_publish("m2", deadline=2.0))
    assert window.next_deadline() == 1.0
    window.take()
    window.reserve(a_publish("w3", deadline=3.0))
    assert window.next_deadline() == 1.0
    window.expired(1.0, "")
    assert window.next_deadline() == 2.0
    window.expired(2.0, "")
    assert window.next_deadline() == 3.0
    window.expired(3.0, "")
    assert window.next_deadline() is None


def test_a_channel_is_closed_by_the_message_of_the_size_that_the_broker_names():
    window = a_window_with(1, 2, 3, 4, 5, waiting=["w1", "w2"])

    settled = window.channel_closed(406, TOO_LARGE.format(3))

    assert outcomes(settled) == [("m1", OutcomeUnknown), ("m2", OutcomeUnknown), ("m3", Refused)]
    (_, unknown), _, (_, refused) = settled
    assert str(unknown) == f"not confirmed: 406 {TOO_LARGE.format(3)}"
    assert unknown.message_id == "m1"
    assert (refused.code, refused.text, refused.message_id) == (406, TOO_LARGE.format(3), "m3")
    assert str(refused) == f"the broker refused the message: 406 {TOO_LARGE.format(3)}"
    assert len(window) == 4
    assert ids(window.take()) == ["m4", "m5", "w1", "w2"]


def test_on_the_next_channel_messages_are_numbered_from_one():
    window = a_window_with(1, 2, 3)
    window.channel_closed(406, TOO_LARGE.format(1))
    assert window.confirmed(0, multiple=True, is_ack=True) == []
    window.take()

    assert outcomes(window.confirmed(1, multiple=False, is_ack=True)) == [("m2", None)]
    assert outcomes(window.confirmed(2, multiple=False, is_ack=True)) == [("m3", None)]


def test_of_several_that_are_too_large_the_first_is_refused_and_each_has_its_turn():
    window = a_window_with(1, 20, 30, 20)

    assert outcomes(window.channel_closed(406, TOO_LARGE.format(20))) == [("m1", OutcomeUnknown), ("m2", Refused)]
    assert ids(window.take()) == ["m3", "m4"]
    assert outcomes(window.channel_closed(406, TOO_LARGE.format(30))) == [("m3", Refused)]
    assert ids(window.take()) == ["m4"]
    assert outcomes(window.channel_closed(406, TOO_LARGE.format(20))) == [("m4", Refused)]
    assert len(window) == 0


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (403, NO_WRITE),
        (406, TOO_LARGE.format(99)),
        (406, TOO_LARGE.format(10)),  # the limit is no message's size
        (541, ""),
    ],
)
def test_if_the_broker_names_no_message_that_was_sent_nobody_can_tell(code, text):
    window = a_window_with(1, 2, waiting=["w1"])

    settled = window.channel_closed(code, text)

    assert outcomes(settled) == [("m1", OutcomeUnknown), ("m2", OutcomeUnknown)]
    assert {str(error) for _, error in settled} == {f"not confirmed: {code} {text}"}
    assert ids(window.take()) == ["w1"]


def test_a_channel_on_which_one_message_was_sent_is_closed_because_of_it():
    window = a_window_with(1, waiting=["w1"])

    [(publish, error)] = window.channel_closed(403, NO_WRITE)

    assert (publish.message_id, type(error)) == ("m1", Refused)
    assert ids(window.take()) == ["w1"]


@pytest.mark.parametrize(
    ("code", "text"),
    [(500, "from here on: the connection's"), (541, "INTERNAL_ERROR"), (406, TOO_LARGE.format(99))],
)
def test_unless_the_reason_is_not_the_message(code, text):
    window = a_window_with(1)

    assert outcomes(window.channel_closed(code, text)) == [("m1", OutcomeUnknown)]


def test_a_channel_on_which_nothing_was_sent_can_be_closed():
    window = a_window_with(waiting=["w1"])

    assert window.channel_closed(406, TOO_LARGE.format(0)) == []
    assert ids(window.take()) == ["w1"]


def test_what_is_given_up_is_not_sent_again_and_its_place_is_free():
    window = a_window_with(20, 5, 6)
    window.expired(2.0, "")

    assert window.channel_closed(406, TOO_LARGE.format(20)) == []

    assert len(window) == 1
    assert ids(window.take()) == ["m3"]
    assert outcomes(window.confirmed(1, multiple=False, is_ack=True)) == [("m3", None)]


def test_what_waits_again_keeps_its_deadline_and_is_not_sent_once_that_is_over():
    window = a_window_with(20, 5, 6, waiting=["w1"])
    window.channel_closed(406, TOO_LARGE.format(20))

    assert window.next_deadline() == 2.0
    assert outcomes(window.expired(2.0, "")) == [("m2", NotSent)]
    assert ids(window.take()) == ["m3", "w1"]


@pytest.mark.parametrize("sizes", [(5, 20, 5), (20, 5), (5, 5, 20, 5, 5)], ids=str)
def test_each_place_is_freed_once_when_a_channel_is_closed_whoever_was_given_up(sizes):
    # Given messages of which all were given up, and one that waits,
    window = a_window_with(*sizes)
    window.expired(99.0, "")
    window.reserve(a_publish("waiting", size=1))

    # When the broker closes the channel because of the largest,
    assert window.channel_closed(406, TOO_LARGE.format(20)) == []

    # I expect what waits to be all that is left, and to take just the room that it needs.
    assert ids(window.take()) == ["waiting"]
    assert len(window) == 1
    assert window.has_room(MAX_BYTES - 1)
    assert not window.has_room(MAX_BYTES)
