"""What producers and workers do while the broker has a resource alarm, and after it."""

import contextlib
import threading
import time

import pytest

from workqueue import ConnectionLost, NotSent, OutcomeUnknown, Producer, Queue, ShutdownTimeout
from workqueue._io import CLOSE_TIMEOUT
from workqueue.broker import Capability
from workqueue.events import Blocked, Connected, TaskEnded
from workqueue.guarantee.alarms import Alarm, raised
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.waiting import PATIENCE, claim

TIMEOUT = 0.5
"""Seconds that a confirmation may take here, where none comes."""

SLACK = CLOSE_TIMEOUT + 10.0
"""Seconds for the end of a connection that is not answered any more, and for a busy machine."""


@pytest.fixture
def alarm(workqueue_broker):
    """Starts a memory alarm; returns what ends it. It has ended when the test has."""
    if Capability.CTL not in workqueue_broker.capabilities:
        pytest.skip("no alarm can be raised from here")
    with contextlib.ExitStack() as ends:

        def begin():
            ends.enter_context(raised(Alarm.MEMORY, workqueue_broker, Evidence()))
            return ends.close

        yield begin


def told(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_a_blocked_producer_says_why_and_what_it_sends_ends_in_time(url, queue, aside, alarm, wait_so_long):
    events = []
    with Producer(url, observer=events.append) as producer:
        producer.send(queue, b"before")
        end = alarm()
        wait_so_long(producer, TIMEOUT)

        # The broker stops reading at the first message, and nobody can tell whether that was before or after it.
        with pytest.raises(OutcomeUnknown):
            producer.send(queue, b"first")
        claim("the producer is told", lambda: producer.blocked)
        assert producer.blocked == "low on memory"
        assert "blocked (low on memory)" in repr(producer)

        began = time.monotonic()
        futures = [producer.send_async(queue, b"in the alarm") for _ in range(10)]
        for future in futures:
            error = future.exception(PATIENCE)
            assert isinstance(error, NotSent), error
            assert "low on memory" in str(error)
        with pytest.raises(ConnectionLost, match=r"did not answer within 0\.5 s"):
            producer.send(Queue(queue.name, queue.type), b"to a queue that this producer has not declared")
        assert time.monotonic() - began < 2 * TIMEOUT + SLACK

        wait_so_long(producer, PATIENCE)
        end()
        producer.send(queue, b"after", retry=10)
        claim("the alarm is over", lambda: producer.blocked is None)
        assert "0 of 1000 unconfirmed" in repr(producer)

    assert len(told(events, Connected)) == 1
    assert [event.reason for event in told(events, Blocked)] == ["low on memory", None]
    assert [taken.body for taken in aside.take(queue, 3)] == [b"before", b"first", b"after"]


def time_left(producer):
    with producer._session._lock:
        deadline = producer._session._window.next_deadline()
    return 0 if deadline is None else deadline - time.monotonic()


def test_what_is_sent_with_retries_is_sent_when_the_alarm_is_over(url, new_queue, aside, alarm, wait_so_long):
    queue = new_queue("quorum")
    with Producer(url) as producer:
        producer.send(queue, b"before")
        end = alarm()
        wait_so_long(producer, TIMEOUT)
        options = {"message_id": "a", "retry": 50}
        sending = threading.Thread(target=producer.send, args=[queue, b"patient"], kwargs=options)
        sending.start()
        claim("the producer is told", lambda: producer.blocked)
        other = producer.send_async(queue, b"impatient")
        assert isinstance(other.exception(PATIENCE), NotSent)

        # So that no attempt is given up just when the alarm ends, and was read all the same.
        wait_so_long(producer, PATIENCE)
        claim("an attempt has time", lambda: time_left(producer) > 2 * TIMEOUT)
        end()
        sending.join(PATIENCE)

    # Twice: the broker reads the first attempt when the alarm is over.
    taken = [(each.body, each.properties.message_id) for each in aside.take(queue, 3)]
    assert taken[1:] == [(b"patient", "a")] * 2


def test_a_blocked_producer_closes_in_time(url, new_queue, alarm, wait_so_long):
    producer = Producer(url)
    queue = new_queue("classic")
    producer.send(queue, b"before")
    alarm()
    producer._timeout = 2 * TIMEOUT
    wait_so_long(producer, 2 * TIMEOUT)
    futures = [producer.send_async(queue, b"first")]
    claim("the producer is told", lambda: producer.blocked)
    futures += [producer.send_async(queue, b"task") for _ in range(10)]

    began = time.monotonic()
    producer.close()

    assert time.monotonic() - began < 2 * TIMEOUT + SLACK
    assert all(future.done() for future in futures)
    assert isinstance(futures[0].exception(), OutcomeUnknown)
    assert {type(future.exception()) for future in futures[1:]} == {NotSent}


def test_a_worker_goes_on_during_an_alarm(url, queue, producer, work, gate, alarm):
    for body in (b"held", b"2", b"3", b"4", b"5"):
        producer.send(queue, body)
    worker = work(url, queue, gate)
    claim("the first task is started", lambda: worker.bodies == [b"held"])

    end = alarm()
    with Producer(url, confirm_timeout=TIMEOUT) as other:
        with pytest.raises(OutcomeUnknown):
            other.send(queue.name, b"unread")
        gate.open()

        assert [ended.outcome for ended in worker.until(TaskEnded, 5)] == ["done"] * 5
        end()
    assert worker.stop() is None


def test_a_worker_that_cannot_publish_the_copy_of_a_failed_task_gives_it_back_when_stopped(
    url, new_queue, aside, producer, work, alarm
):
    # Given a task of a classic queue that fails, while the copy that counts its failures cannot be published,
    queue = new_queue("classic")
    producer.send(queue, b"task")
    failed = threading.Event()

    def fail(_):
        failed.set()
        raise ValueError("as it should")

    end = alarm()
    worker = work(url, queue, fail, shutdown_timeout=1.0)
    assert failed.wait(PATIENCE)

    # When the worker is stopped, I expect it to end in time,
    began = time.monotonic()
    assert isinstance(worker.stop(), ShutdownTimeout)
    assert time.monotonic() - began < 1.0 + SLACK

    # and the task to be there; its copy may be, too, since the broker reads it when the alarm is over.
    end()
    claim("the task is back", lambda: aside.ready(queue) >= 1)


def test_a_declaration_that_is_not_read_says_why(url, new_queue, alarm, wait_so_long):
    queue = new_queue("classic")
    with Producer(url) as producer:
        producer.send(queue, b"before")
        end = alarm()
        producer.send_async(queue, b"unread")
        claim("the producer is told", lambda: producer.blocked)
        wait_so_long(producer, TIMEOUT)

        with pytest.raises(ConnectionLost, match=f"did not answer within {TIMEOUT} s, low on memory"):
            producer.declare(new_queue("classic"))
        end()


def test_a_worker_whose_copies_are_not_read_is_blocked(url, new_queue, producer, work, gate, alarm):
    queue = new_queue("classic")
    producer.send(queue, b"fails")

    def fail(message):
        gate(message)
        raise ValueError

    worker = work(url, queue, fail)
    claim("the task is started", lambda: worker.started)
    end = alarm()
    assert not worker.worker.health.blocked
    gate.open()

    claim("it is blocked", lambda: worker.worker.health.blocked)
    end()
    claim("it is not any more", lambda: not worker.worker.health.blocked)
    assert [(event.reason, event.role) for event in worker.until(Blocked, 2)] == [
        ("low on memory", "worker"),
        (None, "worker"),
    ]
    assert worker.until(TaskEnded)[0].outcome == "failed"
    worker.stop()
