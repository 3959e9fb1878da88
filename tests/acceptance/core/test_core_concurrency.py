"""Several handlers at once, and what becomes of what is not done when there is an end to it."""

import asyncio
import itertools
import logging
import threading

import pytest

from workqueue._consumer import Consumer
from workqueue.events import Disconnected, Subscribed, TaskEnded
from workqueue.guarantee.waiting import PATIENCE, claim


def test_so_many_tasks_are_handled_at_once_as_were_asked_for_and_no_more(url, queue, producer, work):
    # Given a handler that returns once four are at work,
    together = threading.Barrier(4)
    at_work, most = itertools.count(1), []
    lock, now = threading.Lock(), []

    def handle(message):
        with lock:
            now.append(message)
            most.append(len(now))
        together.wait(PATIENCE)
        with lock:
            now.remove(message)

    # I expect twelve tasks to be done, four at a time.
    for _ in range(12):
        producer.send(queue, b"%d" % next(at_work))
    worker = work(url, queue, handle, concurrency=4, prefetch=8)
    assert [event.outcome for event in worker.until(TaskEnded, 12)] == ["done"] * 12
    assert max(most) == 4
    assert worker.stop() is None


def test_what_is_done_out_of_order_is_acknowledged_and_nothing_else(url, wire, queue, aside, producer, work, gate):
    # Given three tasks in hand,
    for body in (b"1", b"2", b"3", b"4", b"5"):
        producer.send(queue, body)
    worker = work(wire.through(url), queue, gate, concurrency=3)
    claim("three are started", lambda: sorted(worker.bodies) == [b"1", b"2", b"3"])

    # when the last ones end first (which makes room for two more),
    gate.open(b"3", b"2")
    claim("the next two are started", lambda: sorted(worker.bodies[3:]) == [b"4", b"5"])

    # and the connection is gone,
    wire.freeze()
    assert wire.cut() == 1
    worker.until(Disconnected)
    worker.worker.stop()

    # I expect those that were not done to come back, and no others.
    again = aside.take(queue, 3)
    assert sorted((taken.body, taken.redelivered) for taken in again) == [(b"1", True), (b"4", True), (b"5", True)]


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_a_handler_that_exits_has_failed_and_the_worker_goes_on(url, queue, producer, work, end):
    for body in (b"exits", b"fine"):
        producer.send(queue, body)

    def handle(message):
        if message.body == b"exits" and not message.failures:
            raise end

    worker = work(url, queue, handle)

    ended = worker.until(TaskEnded, 3)
    assert sorted((each.message.body, each.outcome) for each in ended) == [
        (b"exits", "done"),
        (b"exits", "failed"),
        (b"fine", "done"),
    ]
    assert [type(each.error) for each in ended if each.error] == [end]
    assert worker.stop() is None


def test_what_a_thread_ends_of_is_raised_and_nothing_more_is_started(url, queue, aside, producer, work, monkeypatch):
    def ack(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(Consumer, "ack", ack)
    for number in range(10):
        producer.send(queue, b"%d" % number)
    worker = work(url, queue, prefetch=10)

    assert isinstance(worker.wait(), ZeroDivisionError)
    assert len(worker.started) == 1
    assert sorted(taken.body for taken in aside.take(queue, 10)) == [b"%d" % number for number in range(10)]


TASKS = 20_000
CUTS = 5


def test_twenty_thousand_tasks_are_done_over_five_lost_connections(url, wire, queue, aside, producer, work, caplog):
    caplog.set_level(logging.CRITICAL)
    done, unflagged = set(), []

    def handle(message):
        if message.body in done and not message.redelivered:
            unflagged.append(message)
        done.add(message.body)

    futures = [producer.send_async(queue, b"%d" % number) for number in range(TASKS)]
    worker = work(wire.through(url), queue, handle, prefetch=100, concurrency=4)
    for cut in range(CUTS):
        worker.until(Subscribed, cut + 1)
        goal = len(done) + TASKS // (CUTS + 1) // 2
        claim("more is done", lambda: len(done) >= goal)  # noqa: B023
        assert len(done) < TASKS
        assert wire.cut() == 1
    claim("all is done", lambda: len(done) == TASKS, within=3 * PATIENCE)

    assert worker.stop() is None
    assert {future.exception(PATIENCE) for future in futures} == {None}
    assert unflagged == []
    assert aside.ready(queue) == 0
    assert len(worker.told(Disconnected)) >= CUTS


@pytest.mark.parametrize("concurrency", [0, -1])
def test_nobody_at_work_is_refused(url, concurrency, work):
    with pytest.raises(ValueError, match=r"concurrency \(-?\d\) is 1 or more"):
        work(url, "queue", concurrency=concurrency)
