"""The stage on a real broker: what people's own tests do with it, and specs do not."""

import time

import pytest

from workqueue.broker import resolve
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.stage import Stage
from workqueue.guarantee.verdict import Unknown


@pytest.fixture
def stage(workqueue_broker):
    stage = Stage(workqueue_broker, "classic", Evidence())
    yield stage
    stage.close()


def test_a_queue_is_asked_again_after_its_broker_was_away():
    with resolve("debian:trixie").start() as broker:
        stage = Stage(broker, "quorum", Evidence())
        stage.publish("before")

        broker.restart()

        stage.publish("after")
        assert stage.queue.ready() == 2

        broker.kill()  # not sooner: it would forget a queue that is so new, see docs/findings.md
        broker.start()

        assert [message.task for message in stage.queue.drain()] == ["before", "after"]
        stage.close()


def test_a_connection_through_a_frozen_relay_does_not_hold_up_the_end(workqueue_broker):
    stage = Stage(workqueue_broker, "classic", Evidence())
    proxy = stage.proxy()
    stage.connect(proxy=proxy).channel()
    proxy.freeze()

    began = time.monotonic()
    stage.close()

    assert time.monotonic() - began < 5


def test_a_task_that_is_no_text_is_shown_as_it_is(stage):
    # Given a task of some other client's, and a worker process,
    with stage.channel() as channel:
        channel.basic_publish("", stage.queue.name, b"\x80\xff.")

    # then it is worked on like any other,
    stage.worker().finishes(r"\x80\xff.")
    assert stage.queue.ready() == 0

    # and so it is taken out.
    other = stage.declare()
    with stage.channel() as channel:
        channel.basic_publish("", other.name, b"\xff")
    assert [message.task for message in other.drain()] == [r"\xff"]


def test_who_drains_a_queue_that_has_a_consumer_is_told_of_that(stage, monkeypatch):
    monkeypatch.setattr("workqueue.guarantee.queues.HARNESS_PATIENCE", 0.5)
    client = stage.client()
    client.consume(stage.queue.name)
    stage.publish("a task", "another task")  # so that it is the client's turn when the last message comes
    client.wait_until_holding(2)

    with pytest.raises(Unknown, match=r"which has other consumers: 1$"):
        stage.queue.drain()


def test_a_relay_of_a_url_that_hides_its_password_hides_it_too(stage):
    assert "***" in repr(stage.proxy().through(stage.broker.url))
