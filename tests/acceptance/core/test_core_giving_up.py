"""What trying again does not help against ends a worker or a send at once, also when it appears later on."""

import contextlib

import pytest

from workqueue import AccessRefused, ConnectionFailed, Producer, Queue, TopologyMismatch
from workqueue.broker import Capability
from workqueue.events import Disconnected, Subscribed, TaskEnded
from workqueue.guarantee.waiting import claim

RETRIES = 50


@pytest.fixture
def operator(workqueue_broker):
    """What ``rabbitmqctl`` does; the user "guard", who may do everything, is there."""
    if Capability.CTL not in workqueue_broker.capabilities:
        pytest.skip("the broker's users are not ours to change")
    workqueue_broker.ctl("add_user", "guard", "before")
    workqueue_broker.ctl("set_permissions", "guard", ".*", ".*", ".*")
    yield workqueue_broker.ctl
    workqueue_broker.ctl("delete_user", "guard")


def as_guard(url, password="before"):
    return f"amqp://guard:{password}@{url.rpartition('@')[2]}"


def test_a_wrong_password_ends_a_worker_and_a_send_at_once(url, new_queue, work):
    queue = new_queue("classic")
    wrong = url.replace("@", "x@")

    worker = work(wrong, queue)

    assert isinstance(worker.wait(), AccessRefused)
    assert [event.retry_in for event in worker.told(Disconnected)] == [None]
    with pytest.raises(AccessRefused, match="ACCESS_REFUSED - Login was refused"):
        Producer(wrong).send(queue, b"task", retry=RETRIES)


def test_a_password_that_is_changed_ends_a_worker_and_a_send_when_they_connect_again(url, new_queue, work, operator):
    # Given a worker and a producer that are connected,
    queue = new_queue("classic")
    worker = work(as_guard(url), queue)
    worker.until(Subscribed)
    events = []
    with Producer(as_guard(url), observer=events.append) as producer:
        producer.send(queue, b"before")
        worker.until(TaskEnded)

        # When the password is changed, and their connections are closed,
        operator("change_password", "guard", "after")
        operator("close_all_connections", "--vhost", "/", "by the test")
        claim("the producer has lost its connection", lambda: any(isinstance(each, Disconnected) for each in events))

        # I expect each to say so, and not to go on trying.
        assert isinstance(worker.wait(), AccessRefused)
        lost, refused = worker.told(Disconnected)
        assert "320 CONNECTION_FORCED" in str(lost.reason)
        assert (type(refused.reason), refused.retry_in) == (AccessRefused, None)
        with pytest.raises(AccessRefused):
            producer.send(queue, b"task", retry=RETRIES)


def test_a_virtual_host_that_is_not_there_ends_a_worker_and_a_send_at_once(url, new_queue, work):
    queue = new_queue("classic")
    elsewhere = url.rpartition("/")[0] + "/nowhere"

    assert isinstance(work(elsewhere, queue).wait(), AccessRefused)
    with pytest.raises(AccessRefused, match="nowhere"):
        Producer(elsewhere).send(queue, b"task", retry=RETRIES)


def test_a_connection_too_many_is_tried_again_until_there_is_room(url, wire, new_queue, work, producer, operator):
    # Given a worker whose connection is lost while the virtual host permits no new one,
    queue = new_queue("classic")
    worker = work(wire.through(url), queue)
    worker.until(Subscribed)
    producer.send(queue, b"before")
    with contextlib.ExitStack() as ends:
        operator("set_vhost_limits", "--vhost", "/", '{"max-connections": 0}')
        ends.callback(operator, "clear_vhost_limits", "--vhost", "/")
        assert wire.cut() == 1
        claim(
            "it is refused", lambda: any("connection limit" in str(each.reason) for each in worker.told(Disconnected))
        )
        with pytest.raises(ConnectionFailed, match="connection limit") as caught:
            Producer(url).send(queue, b"task")
        assert not isinstance(caught.value, AccessRefused)

    # When it does again, I expect the worker to be back.
    worker.until(Subscribed, 2)
    producer.send(queue, b"after")
    assert worker.stop() is None


def test_a_mismatch_ends_a_worker_and_a_send_at_once(url, queue, work, producer):
    producer.declare(queue)
    other = Queue(queue.name, queue.type, dead_letter=queue.dead_letter, max_length=5)

    worker = work(url, other)

    assert isinstance(worker.wait(), TopologyMismatch)
    with pytest.raises(TopologyMismatch):
        producer.send(other, b"task", retry=RETRIES)


def test_a_mismatch_ends_a_worker_and_a_send_when_they_connect_again(url, wire, queue, aside, work):
    # Given a worker and a producer whose connection is lost, and whose queue is another one by now,
    worker = work(wire.through(url), queue)
    worker.until(Subscribed)
    with Producer(wire.through(url)) as producer:
        producer.send(queue, b"before")
        worker.until(TaskEnded)
        wire.freeze()  # and close new connections
        assert wire.cut() == 2
        aside.delete(queue)
        with Producer(url) as other:
            other.declare(Queue(queue.name, queue.type, dead_letter=queue.dead_letter, max_length=5))

        # When they connect again, I expect each to say so.
        wire.thaw()
        error = worker.wait()
        assert isinstance(error, TopologyMismatch)
        assert f"inequivalent arg 'x-max-length' for queue '{queue.name}'" in error.text
        with pytest.raises(TopologyMismatch):
            producer.send(queue, b"task", retry=RETRIES)
