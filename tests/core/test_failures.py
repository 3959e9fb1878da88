"""What becomes of a failed task of which no copy can be made: the worker goes on, and the broker dead-letters it."""

import logging

import pytest

from workqueue import Message, Queue, Refused
from workqueue._failures import Failures
from workqueue._frames import plain_properties
from workqueue.events import Teller


class UnspeakableError(Exception):
    def __repr__(self):
        raise RuntimeError("no repr either")


@pytest.mark.parametrize(
    ("properties", "error"),
    [(plain_properties("m1", persistent=True), UnspeakableError()), (b"\xff", ValueError("x"))],
    ids=["an error without a repr", "properties that nobody can decode"],
)
def test_a_task_that_cannot_be_copied_is_for_the_broker_to_dead_letter(properties, error, caplog):
    failures = Failures(
        "amqp://localhost", Queue("q", "classic", dead_letter="dead"), max_attempts=1, tell=Teller(None)
    )

    with caplog.at_level(logging.ERROR, "workqueue"):
        assert failures.outcome(Message(b"task", "q", "m1"), properties, error, lost=False) == ("rejected", False)

    assert "task m1 of queue 'q' cannot be copied and is rejected" in caplog.text


def test_a_task_whose_error_has_no_repr_is_tried_again(monkeypatch):
    failures = Failures(
        "amqp://localhost", Queue("q", "classic", dead_letter="dead"), max_attempts=2, tell=Teller(None)
    )
    copies = []
    monkeypatch.setattr(failures.producer, "_deliver", lambda queue, *_, **__: copies.append(queue))

    properties = plain_properties("m1", persistent=True)
    outcome = failures.outcome(Message(b"task", "q", "m1"), properties, UnspeakableError(), lost=False)

    assert outcome == ("failed", True)
    assert copies == ["q"]


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_task_whose_copy_the_broker_will_never_have_is_for_it_to_dead_letter(attempts, monkeypatch):
    failures = Failures(
        "amqp://localhost", Queue("q", "classic", dead_letter="dead"), max_attempts=attempts, tell=Teller(None)
    )

    def refuse(_queue, _body, message_id, *_):
        raise Refused(403, "ACCESS_REFUSED - write access to exchange 'amq.default'", message_id=message_id)

    monkeypatch.setattr(failures.producer, "_deliver", refuse)

    properties = plain_properties("m1", persistent=True)
    assert failures.outcome(Message(b"task", "q", "m1"), properties, ValueError(), lost=False) == ("rejected", False)


def test_a_task_that_cannot_be_copied_now_goes_back(caplog):
    failures = Failures(
        "amqp://localhost", Queue("q", "classic", dead_letter="dead"), max_attempts=1, tell=Teller(None)
    )
    failures.producer.close()

    with caplog.at_level(logging.ERROR, "workqueue"):
        properties = plain_properties("m1", persistent=True)
        assert failures.outcome(Message(b"task", "q", "m1"), properties, ValueError(), lost=False) == ("failed", False)

    assert "task m1 of queue 'q' goes back uncounted" in caplog.text
