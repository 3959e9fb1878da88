"""What a Queue declares, and what it refuses to."""

import dataclasses

import pytest

from workqueue import Queue


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_the_type_is_always_spelt_out(kind):
    assert Queue("task_queue", type=kind).arguments() == {"x-queue-type": kind}


def test_a_queue_is_a_quorum_queue_unless_told_otherwise():
    assert Queue("task_queue").type == "quorum"


def test_every_limit_becomes_the_brokers_argument():
    queue = Queue(
        "task_queue",
        delivery_limit=3,
        dead_letter="graveyard",
        message_ttl=1.5,
        max_length=10,
        overflow="reject-publish",
        extra={"x-single-active-consumer": True},
    )

    assert queue.arguments() == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 3,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "graveyard",
        "x-message-ttl": 1500,
        "x-max-length": 10,
        "x-overflow": "reject-publish",
        "x-single-active-consumer": True,
    }


def test_a_queue_for_dead_letters_is_declared_first():
    last = Queue("last")
    graveyard = Queue("graveyard", dead_letter=last)
    queue = Queue("task_queue", dead_letter=graveyard)

    assert list(queue.with_dead_letters()) == [last, graveyard, queue]
    assert queue.arguments()["x-dead-letter-routing-key"] == "graveyard"


def test_a_dead_letter_queue_that_is_only_named_is_not_declared():
    queue = Queue("task_queue", dead_letter="graveyard")

    assert list(queue.with_dead_letters()) == [queue]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"name": ""}, "1 to 255 bytes"),
        ({"name": "é" * 128}, "has 256"),
        ({"type": "stream"}, "'quorum' or 'classic', not 'stream'"),
        ({"type": "classic", "delivery_limit": 3}, "only quorum queues"),
        ({"delivery_limit": -2}, "-1 or more"),
        ({"message_ttl": float("nan")}, "NaN"),
        ({"dead_letter": ""}, "1 to 255 bytes"),
    ],
)
def test_what_would_do_harm_or_nothing_is_refused_here(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        Queue(**{"name": "task_queue"} | arguments)


def test_an_argument_is_not_given_twice():
    with pytest.raises(TypeError, match="multiple values for keyword argument 'x-max-length'"):
        Queue("task_queue", max_length=1, extra={"x-max-length": 2})


def test_a_queue_is_a_value():
    assert Queue("task_queue", extra={"x": 1}) == Queue("task_queue", extra={"x": 1})
    assert len({Queue("task_queue", extra={"x": 1}), Queue("task_queue", extra={"x": 1})}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        Queue("task_queue").name = "other"
