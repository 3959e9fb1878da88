"""Stopping a worker: what runs is finished, what does not is handed back, and what is done stays done."""

import threading
import time

import pytest
from packaging.version import Version

from workqueue import Closed, ShutdownTimeout, Worker
from workqueue._consumer import Consumer
from workqueue.events import Draining, Subscribed, TaskEnded, TaskStarted, Unstarted
from workqueue.guarantee.waiting import PATIENCE, claim


@pytest.fixture
def returns_count(workqueue_broker):
    """Whether a message that is handed back counts as failed: it does before RabbitMQ 4.3, whatever a client does."""
    return Version(workqueue_broker.about.version) < Version("4.3")


def counts(taken):
    return [(each.properties.headers or {}).get("x-delivery-count", 0) for each in taken]


def until(count, work, *arguments, **options):
    """Have a worker do so many tasks, the last of which stops it; returns what it did."""

    known = threading.Event()

    def handle(_):
        assert known.wait(PATIENCE)
        if len(worker.started) >= count:
            worker.worker.stop()

    worker = work(*arguments, handle, **options)
    known.set()
    assert worker.wait() is None
    return worker.bodies


def test_stop_finishes_what_runs_and_hands_back_the_rest(url, queue, aside, producer, work, gate, returns_count):
    # Given a task in hand and nine that wait here,
    bodies = [b"%d" % number for number in range(10)]
    for body in bodies:
        producer.send(queue, body)
    worker = work(url, queue, gate, prefetch=10)
    claim("the first is started", lambda: worker.bodies == [b"0"])
    claim("the others are here", lambda: worker.waiting == 9)

    # When it is stopped, I expect the nine to be there for others at once,
    worker.worker.stop()
    claim("nine are handed back", lambda: sum(event.handed_back for event in worker.told(Unstarted)) == 9)
    claim("they are in the queue", lambda: aside.ready(queue) == 9)
    assert worker.worker.health.draining
    assert [event.in_hand for event in worker.told(Draining)] == [1]

    # and the first to be finished.
    gate.open()
    assert worker.wait() is None
    assert [(event.outcome, event.settled) for event in worker.told(TaskEnded)] == [("done", True)]
    assert worker.bodies == [b"0"]
    taken = aside.take(queue, 9)
    assert sorted(each.body for each in taken) == bodies[1:]
    assert set(counts(taken)) == {1 if returns_count and queue.type == "quorum" else 0}


def test_what_is_handed_back_is_not_sent_here_again(url, new_queue, aside, producer, work, returns_count):
    # Given workers, one after the other, that are stopped while there is more to do,
    queue = new_queue("quorum")
    for number in range(1000):
        producer.send_async(queue, b"%d" % number)
    done = sum(len(until(20, work, url, queue, prefetch=100, concurrency=2)) for _ in range(5))

    # I expect no task to be handed back more than once by each.
    assert max(counts(aside.take(queue, 1000 - done))) <= (5 if returns_count else 0)


def test_a_failure_counts_also_while_stopping(url, new_queue, aside, producer, work, returns_count):
    queue = new_queue("quorum")
    for body in (b"first", b"second"):
        producer.send(queue, body)

    known = threading.Event()

    def fail(message):
        assert known.wait(PATIENCE)
        worker.worker.stop()
        raise ValueError(message.body)

    worker = work(url, queue, fail, prefetch=2)
    known.set()
    assert worker.wait() is None

    taken = aside.take(queue, 2)
    by_body = dict(zip([each.body for each in taken], counts(taken), strict=True))
    assert by_body == {b"first": 1, b"second": 1 if returns_count else 0}


def test_a_task_that_is_not_finished_in_time_comes_back(url, queue, aside, producer, work, gate):
    producer.send(queue, b"long")
    producer.send(queue, b"unstarted")
    worker = work(url, queue, gate, prefetch=2, shutdown_timeout=0.3)
    claim("the first is started", lambda: worker.started)

    began = time.monotonic()
    error = worker.stop()

    assert isinstance(error, ShutdownTimeout)
    assert str(error) == "tasks not finished within 0.3 s: 1"
    assert 0.3 <= time.monotonic() - began < 5
    gate.open()
    claim("its settlement is dropped", lambda: [event.settled for event in worker.told(TaskEnded)] == [False])
    assert sorted(taken.body for taken in aside.take(queue, 2)) == [b"long", b"unstarted"]


def test_behind_a_silent_wire_a_worker_stops_in_time(url, wire, new_queue, producer, work, turns):
    # Given a worker, with a task in hand, that the broker cannot answer,
    queue = new_queue("classic")
    worker = work(wire.through(url), queue, turns, shutdown_timeout=0.5)
    producer.send(queue, b"task")
    claim("the task is started", lambda: worker.started)
    assert wire.freeze() == 1

    # When it is stopped, I expect it to wait for nothing any longer than it was told to, and to say so.
    began = time.monotonic()
    worker.worker.stop()
    turns.next()
    assert isinstance(worker.wait(), Closed | ShutdownTimeout)
    assert time.monotonic() - began < 9  # five of which are for the end of its connection


def test_an_ack_that_the_wire_has_swallowed_is_told(url, wire, new_queue, producer, work, turns, monkeypatch):
    # Given a worker that is stopping, and has a task in hand,
    queue = new_queue("quorum")
    producer.send(queue, b"task")
    worker = work(wire.through(url), queue, turns, shutdown_timeout=1)
    worker.until(TaskStarted)
    worker.worker.stop()
    worker.until(Draining)

    # When the wire falls silent just before the task is acknowledged,
    monkeypatch.setattr(Consumer, "ack", lambda *arguments, ack=Consumer.ack: wire.freeze() and ack(*arguments))
    turns.next()

    # I expect it not to end as if all was settled.
    assert isinstance(worker.wait(), Closed)
    [ended] = worker.told(TaskEnded)
    assert ended.outcome == "done"


def test_acks_right_before_the_end_are_not_lost(url, queue, aside, producer, work):
    done = []
    for number in range(20):
        for index in range(50):
            producer.send_async(queue, b"%d %d" % (number, index))
        done += until(50, work, url, queue, prefetch=100)

    assert len(set(done)) == len(done) == 1000
    assert aside.ready(queue) == 0


def test_acks_are_not_lost_when_the_worker_stops_amidst_tasks(url, queue, aside, producer, work):
    for number in range(300):
        producer.send_async(queue, b"%d" % number)

    done = until(250, work, url, queue, prefetch=300)

    again = aside.take(queue, 50)
    assert not {taken.body for taken in again} & set(done)


def test_a_worker_that_is_stopped_before_it_runs_does_nothing(url, queue, producer):
    producer.send(queue, b"task")
    worker = Worker(url, queue, pytest.fail)
    worker.stop()

    worker.run()

    with pytest.raises(RuntimeError, match="only be started once"):
        worker.run()


def test_the_repr_and_the_health_of_a_worker_tell_its_state(url, queue, producer, work, gate):
    producer.send(queue, b"task")
    running = work(url, queue, gate)
    running.until(Subscribed)
    claim("the task is started", lambda: running.started)
    worker = running.worker

    assert repr(worker).endswith(f" {worker.health}>")
    assert (worker.health.connected, worker.health.consuming, worker.health.draining) == (True, True, False)
    worker.stop()
    running.until(Draining)
    assert (worker.health.connected, worker.health.consuming, worker.health.draining) == (True, False, True)
    gate.open()
    assert running.wait() is None
    assert (worker.health.connected, worker.health.consuming, worker.health.draining) == (False, False, False)
