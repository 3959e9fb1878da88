"""The confirm window, against every answer that a broker can give, and some that it must not."""

import collections

import pytest

from workqueue import Nacked, NotSent, OutcomeUnknown, Unroutable
from workqueue._confirms import ConfirmWindow, Publish

MIB = 1024 * 1024


class Body(bytes):
    """A body that is as long as it says, and takes no memory."""

    def __new__(cls, size):
        body = super().__new__(cls)
        body.size = size
        return body

    def __len__(self):
        return self.size


def a_publish(message_id, *, size=0, deadline=0.0):
    return Publish("task_queue", message_id, b"", Body(size), print, deadline=deadline)


def a_window_with(*sizes, limit=100, waiting=()):
    """Messages m1, m2 … that were sent, and some that were not; their deadlines are 1, 2 …"""
    window = ConfirmWindow(limit)
    for number, size in enumerate(sizes, 1):
        window.reserve(a_publish(f"m{number}", size=size, deadline=number))
    window.take()
    for number, message_id in enumerate(waiting, len(sizes) + 1):
        window.reserve(a_publish(message_id, deadline=number))
    return window


def a_window_of(count, **more):
    return a_window_with(*[0] * count, **more)


def outcomes(settled):
    return [(publish.message_id, None if error is None else type(error)) for publish, error in settled]


def ids(publishes):
    return [publish.message_id for publish in publishes]


def test_an_ack_settles_its_message_and_no_other():
    window = a_window_of(3)

    assert outcomes(window.confirmed(2, multiple=False, is_ack=True)) == [("m2", None)]
    assert len(window) == 2


def test_a_message_is_the_only_one_while_nothing_else_is_sent_or_waits():
    window, alone = a_window_with(), a_publish("alone")
    window.reserve(alone)
    assert window.only(alone) is None  # not sent yet

    window.take()
    assert window.only(alone) == 1
    assert window.only(a_publish("another")) is None

    window.reserve(a_publish("later"))
    assert window.only(alone) is None
    window.take()
    assert window.only(alone) is None


def test_multiple_settles_everything_up_to_the_tag_in_order():
    window = a_window_of(4)

    assert outcomes(window.confirmed(3, multiple=True, is_ack=True)) == [("m1", None), ("m2", None), ("m3", None)]
    assert len(window) == 1


def test_multiple_with_tag_zero_settles_everything_that_was_sent():
    window = a_window_of(3, waiting=["not sent yet"])

    assert ids(publish for publish, _ in window.confirmed(0, multiple=True, is_ack=True)) == ["m1", "m2", "m3"]
    assert len(window) == 1


def test_a_nack_fails_its_messages_even_if_they_were_returned():
    window = a_window_of(3)
    window.returned("task_queue", "m1", "312 NO_ROUTE")

    assert outcomes(window.confirmed(2, multiple=True, is_ack=False)) == [("m1", Nacked), ("m2", Nacked)]


def test_a_returned_message_is_unroutable_although_the_broker_acks_it():
    window = a_window_of(2)

    window.returned("task_queue", "m1", "312 NO_ROUTE")

    [(_, error), (_, nothing)] = window.confirmed(2, multiple=True, is_ack=True)
    assert isinstance(error, Unroutable)
    assert str(error) == "the broker has no queue 'task_queue' for a message (312 NO_ROUTE)"
    assert error.message_id == "m1"
    assert nothing is None


def test_a_refusal_names_the_queue_and_the_message():
    [(_, error)] = a_window_of(1).confirmed(1, multiple=False, is_ack=False)

    assert str(error) == "the broker refused a message for queue 'task_queue'"
    assert error.message_id == "m1"


def test_a_return_without_an_id_is_of_no_message_even_if_one_has_an_empty_id():
    window = ConfirmWindow(1)
    window.reserve(a_publish(""))
    window.take()

    window.returned("task_queue", None, "312 NO_ROUTE")

    assert outcomes(window.confirmed(1, multiple=False, is_ack=True)) == [("", None)]


@pytest.mark.parametrize("stranger", ["m99", "", None])
def test_a_return_of_a_message_that_is_not_in_the_window_changes_nothing(stranger):
    window = a_window_of(1)

    window.returned("task_queue", stranger, "312 NO_ROUTE")

    assert outcomes(window.confirmed(1, multiple=False, is_ack=True)) == [("m1", None)]


@pytest.mark.parametrize("tag", [0, 1, 4, 2**63])
def test_an_answer_for_a_tag_that_is_not_outstanding_settles_nothing(tag):
    window = a_window_of(3)
    window.confirmed(1, multiple=False, is_ack=True)

    assert window.confirmed(tag, multiple=False, is_ack=True) == []
    assert len(window) == 2


def test_all_that_wait_are_taken_at_once_in_order_and_numbered_on():
    window = ConfirmWindow(9)
    for message_id in ("m1", "m2"):
        window.reserve(a_publish(message_id))
    assert ids(window.take()) == ["m1", "m2"]
    assert window.take() == []
    window.reserve(a_publish("m3"))

    assert ids(window.take()) == ["m3"]

    assert outcomes(window.confirmed(3, multiple=False, is_ack=True)) == [("m3", None)]
    assert outcomes(window.confirmed(1, multiple=False, is_ack=True)) == [("m1", None)]


def test_a_message_that_was_not_taken_is_not_confirmed():
    window = a_window_of(0, waiting=["m1"])

    assert window.confirmed(1, multiple=False, is_ack=True) == []
    assert ids(window.take()) == ["m1"]


def test_only_the_first_that_waits_has_to_wake_the_sender():
    window = ConfirmWindow(9)

    assert window.reserve(a_publish("m1")) is True
    assert window.reserve(a_publish("m2")) is False
    window.take()
    assert window.reserve(a_publish("m3")) is True


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_a_full_window_takes_no_message(limit):
    window = a_window_of(limit - 1, limit=limit)
    assert window.has_room(0)
    window.reserve(a_publish("last"))
    assert not window.has_room(0)

    window.take()
    window.confirmed(1, multiple=False, is_ack=True)
    assert window.has_room(0)


@pytest.mark.parametrize("held", [[64 * MIB - 10], [30 * MIB, 34 * MIB - 10]])
def test_bodies_of_64_mib_are_on_their_way_at_most(held):
    window = a_window_with(*held)

    assert window.has_room(10)
    assert not window.has_room(11)
    window.reserve(a_publish("fits", size=10))
    assert window.has_room(0)
    assert not window.has_room(1)


def test_a_body_larger_than_that_goes_alone():
    window = ConfirmWindow(100)

    assert window.has_room(1000 * MIB)
    window.reserve(a_publish("large", size=1000 * MIB))
    assert not window.has_room(0)
    window.take()
    window.confirmed(1, multiple=False, is_ack=True)
    window.reserve(a_publish("empty"))
    assert window.has_room(64 * MIB)
    assert not window.has_room(64 * MIB + 1)


@pytest.mark.parametrize(
    "settle",
    [
        lambda window: window.confirmed(1, multiple=False, is_ack=True),
        lambda window: window.confirmed(0, multiple=True, is_ack=False),
        lambda window: window.channel_closed(406, f"message size {40 * MIB} is larger than that"),
        lambda window: window.channel_closed(404, "NOT_FOUND"),
        lambda window: window.lost("the network failed"),
    ],
)
def test_what_is_settled_gives_its_room_back(settle):
    window = a_window_with(40 * MIB)
    assert not window.has_room(25 * MIB)

    assert len(settle(window)) == 1

    assert len(window) == 0
    window.reserve(a_publish("m1"))  # so that it is not alone, and its id is free
    assert window.has_room(64 * MIB)


@pytest.mark.parametrize(("queue", "second"), [("task_queue", Unroutable), ("another", None)])
def test_of_messages_with_one_id_a_return_means_those_for_its_queue(queue, second):
    window = ConfirmWindow(2)
    window.reserve(a_publish("m1"))
    window.reserve(Publish(queue, "m1", b"", b"", print))
    window.take()

    window.returned("task_queue", "m1", "312 NO_ROUTE")

    assert outcomes(window.confirmed(2, multiple=True, is_ack=True)) == [("m1", Unroutable), ("m1", second)]


def test_what_was_just_being_taken_when_that_was_interrupted_is_settled_once():
    class Interrupted(collections.deque):
        def popleft(self):
            if len(self) == 3:
                raise KeyboardInterrupt
            return super().popleft()

    window = a_window_of(0, waiting=["m1", "m2", "m3"])
    window._unsent = Interrupted(window._unsent)
    with pytest.raises(KeyboardInterrupt):
        window.take()

    lost = window.lost("the network failed")

    assert outcomes(lost) == [("m1", OutcomeUnknown), ("m2", NotSent), ("m3", NotSent)]
    assert len(window) == 0


def test_a_lost_connection_leaves_unknown_what_was_sent_and_only_that():
    window = a_window_of(3, waiting=["w1", "w2"])
    window.confirmed(1, multiple=False, is_ack=True)

    lost = window.lost("the network failed")

    assert [(publish.message_id, type(error), str(error)) for publish, error in lost] == [
        ("m2", OutcomeUnknown, "not confirmed: the network failed"),
        ("m3", OutcomeUnknown, "not confirmed: the network failed"),
        ("w1", NotSent, "not sent: the network failed"),
        ("w2", NotSent, "not sent: the network failed"),
    ]
    assert all(error.message_id == publish.message_id for publish, error in lost)
    assert len(window) == 0
    assert window.confirmed(3, multiple=True, is_ack=True) == window.lost("again") == window.take() == []
    assert window.next_deadline() is None
