"""The worker when its connection is lost: what it does with the tasks that it has, and how it comes back."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from workqueue import ConnectionFailed, ConnectionLost, Producer, Worker
from workqueue._io import Link
from workqueue.events import Connected, Disconnected, Subscribed, TaskEnded, Unstarted
from workqueue.guarantee.waiting import PATIENCE, claim


def test_what_ends_after_its_connection_settles_nothing_on_the_next_one(url, wire, queue, aside, producer, work, turns):
    # Given a task in hand, and a new connection on which the same delivery tag belongs to its redelivery,
    producer.send(queue, b"task")
    worker = work(wire.through(url), queue, turns)
    claim("the task is started", lambda: worker.bodies == [b"task"])
    assert wire.cut() == 1
    worker.until(Subscribed, 2)

    # When the handler returns,
    turns.next()
    [first] = worker.until(TaskEnded)

    # I expect nothing to be acknowledged by it: the task comes a second time, and, as it is cut again, a third time.
    assert (first.outcome, first.settled, first.message.redelivered) == ("done", False, False)
    claim("the task is started again", lambda: len(worker.started) == 2)
    assert wire.cut() == 1
    worker.until(Subscribed, 3)
    turns.next(2)
    assert [ended.settled for ended in worker.until(TaskEnded, 3)] == [False, False, True]
    assert [message.redelivered for message in worker.started] == [False, True, True]
    assert worker.stop() is None
    assert aside.ready(queue) == 0


def test_what_was_not_started_is_dropped_with_its_connection_and_handled_once(
    url, wire, queue, aside, producer, work, turns
):
    # Given a task in hand, and nine that wait here,
    bodies = [b"%d" % number for number in range(10)]
    for body in bodies:
        producer.send(queue, body)
    worker = work(wire.through(url), queue, turns, prefetch=10)
    claim("the first is started", lambda: worker.bodies == [b"0"])
    claim("the others are here", lambda: worker.waiting == 9)

    # When the connection is lost,
    assert wire.cut() == 1

    # I expect the nine to be dropped, and all ten to come again.
    claim("nine are dropped", lambda: sum(event.dropped for event in worker.told(Unstarted)) == 9)
    turns.next(11)
    ended = worker.until(TaskEnded, 11)
    assert [event.settled for event in ended] == [False] + [True] * 10
    assert worker.bodies[0] == b"0"
    assert sorted(worker.bodies[1:]) == bodies
    assert worker.stop() is None
    assert aside.ready(queue) == 0


def test_the_prefetch_count_holds_on_every_connection(url, wire, queue, aside, producer, work, turns):
    worker = work(wire.through(url), queue, turns, prefetch=3)
    worker.until(Subscribed)
    assert wire.cut() == 1
    worker.until(Subscribed, 2)

    for _ in range(10):
        producer.send(queue, b"task")

    claim("three are here", lambda: aside.ready(queue) == 7)
    producer.send(queue, b"one more")
    claim("no more are", lambda: aside.ready(queue) == 8)
    turns.next(11)
    worker.until(TaskEnded, 11)
    assert worker.stop() is None


def test_a_queue_that_was_deleted_while_nobody_was_connected_is_declared_again(url, wire, queue, aside, work):
    worker = work(wire.through(url), queue)
    worker.until(Subscribed)
    wire.freeze()  # and close new connections
    assert wire.cut() == 1
    worker.until(Disconnected, 2)
    for each in queue.with_dead_letters():
        aside.delete(each)

    wire.thaw()

    worker.until(Subscribed, 2)
    aside.publish(queue, b"task")
    worker.until(TaskEnded)
    assert aside.ready(queue.dead_letter) == 0
    assert worker.stop() is None


def test_a_queue_that_is_deleted_is_declared_and_subscribed_to_again(url, queue, aside, work):
    worker = work(url, queue)
    worker.until(Subscribed)

    aside.delete(queue)

    worker.until(Subscribed, 2)
    assert "ended the subscription" in str(worker.told(Disconnected)[0].reason)
    aside.publish(queue, b"task")
    worker.until(TaskEnded)
    assert aside.consumers(queue) == 1
    assert worker.stop() is None


def test_a_queue_of_which_only_the_name_is_known_ends_the_worker_when_it_is_deleted(
    url, new_queue, aside, producer, work
):
    queue = new_queue("classic")
    producer.declare(queue)
    worker = work(url, queue.name)
    worker.until(Subscribed)

    aside.delete(queue)

    assert "404 NOT_FOUND" in str(worker.wait())


def test_the_delays_grow_and_stop_does_not_wait_for_them(url, wire, new_queue, work):
    worker = work(wire.through(url), new_queue("classic"))
    worker.until(Subscribed)
    assert not worker.worker.health.draining
    wire.freeze()  # and close new connections
    assert wire.cut() == 1
    claim("a delay is longer than a second", lambda: any(event.retry_in > 1 for event in worker.told(Disconnected)))
    assert not worker.worker.health.connected

    began = time.monotonic()
    assert worker.stop() is None

    assert time.monotonic() - began < 2  # whatever is left of a delay of up to ten seconds
    delays = [event.retry_in for event in worker.told(Disconnected)]
    assert len(delays) >= 4  # the first that can be longer than a second
    assert all(delay <= 0.2 * 2**attempt for attempt, delay in enumerate(delays))
    assert len(worker.told(Connected)) == 1


def test_a_worker_that_is_stopped_without_a_connection_says_so_after_its_task(
    url, wire, queue, aside, producer, work, turns
):
    producer.send(queue, b"task")
    worker = work(wire.through(url), queue, turns)
    claim("the task is started", lambda: worker.started)
    wire.freeze()
    assert wire.cut() == 1
    worker.until(Disconnected)

    worker.worker.stop()
    turns.next()

    assert isinstance(worker.wait(), ConnectionLost)
    assert [(event.outcome, event.settled) for event in worker.told(TaskEnded)] == [("done", False)]
    assert [taken.redelivered for taken in aside.take(queue, 1)] == [True]


def test_a_worker_may_be_stopped_while_it_connects():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        worker = Worker(f"amqp://127.0.0.1:{deaf.getsockname()[1]}", "task_queue", print)
        running = threading.Thread(target=worker.run, daemon=True)
        running.start()
        connection, _ = deaf.accept()

        began = time.monotonic()
        worker.stop()
        running.join(PATIENCE)
        connection.close()

    assert time.monotonic() - began < 5
    assert not running.is_alive()


def test_an_attempt_to_connect_has_the_time_that_the_url_gives_it(monkeypatch):
    monkeypatch.setattr(Link._await, "__defaults__", (0.2,))  # seconds that an answer may take otherwise
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        producer = Producer(f"amqp://127.0.0.1:{deaf.getsockname()[1]}?stack_timeout=1.5")

        with pytest.raises(ConnectionFailed, match="Timeout while setting up AMQP"):
            producer.send("task_queue", b"task")


def test_who_waits_for_an_attempt_to_connect_does_not_make_another_one():
    """Else the last of a hundred threads would wait a hundred times as long for a broker that is silent."""
    many = 20
    with socket.create_server(("127.0.0.1", 0), backlog=many) as deaf, ThreadPoolExecutor(many) as threads:
        producer = Producer(f"amqp://127.0.0.1:{deaf.getsockname()[1]}?stack_timeout=1")

        futures = [threads.submit(producer.send, "task_queue", b"task") for _ in range(many)]

        assert {type(future.exception(PATIENCE)) for future in futures} == {ConnectionFailed}
        deaf.setblocking(False)
        attempts = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                deaf.accept()[0].close()
                attempts += 1
    assert 1 <= attempts <= 3


def working():
    return [thread for thread in threading.enumerate() if thread.name.startswith("workqueue worker")]


def test_no_thread_outlives_a_worker_that_was_never_connected():
    before = working()
    worker = Worker("amqp://127.0.0.1:1", "task_queue", print, concurrency=3)
    worker.stop()

    worker.run()

    claim("its threads have ended", lambda: set(working()) <= set(before))
