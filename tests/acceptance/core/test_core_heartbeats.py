"""Heartbeats are answered whatever the rest of the process does, and what does not answer them is left."""

from workqueue import Producer
from workqueue.broker import Capability
from workqueue.events import Connected, Disconnected, Draining, Subscribed, TaskEnded
from workqueue.guarantee.waiting import claim, watch

LONG = 4.0
"""Seconds after which a broker has closed a connection with ``heartbeat=1`` that is silent: two to three, measured."""


def test_heartbeats_are_answered_during_long_tasks_and_while_stopping(
    url, workqueue_broker, new_queue, aside, work, gate
):
    # Given a worker with a task, another one that was stopped in the middle of one, and a producer that does nothing,
    every_second = f"{url}?heartbeat=1"
    first, second = queues = [new_queue(kind) for kind in ("classic", "quorum")]
    events = []
    with Producer(every_second, observer=events.append) as producer:
        for queue in queues:
            producer.send(queue, b"long")
        working, stopping = workers = [work(every_second, queue, gate) for queue in queues]
        for worker in workers:
            claim("the task is started", lambda worker=worker: worker.started)
        stopping.worker.stop()
        stopping.until(Draining)
        if Capability.CTL in workqueue_broker.capabilities:
            assert workqueue_broker.ctl("list_connections", "timeout").split().count("1") == 3

        # When that takes longer than a broker waits for heartbeats,
        lost = watch(LONG, lambda: [*working.told(Disconnected), *stopping.told(Disconnected), *events[1:-2]])

        # I expect nobody to have lost anything.
        assert not lost
        gate.open()
        assert stopping.wait() is None
        for worker in workers:
            assert [(event.outcome, event.settled) for event in worker.until(TaskEnded)] == [("done", True)]
        producer.send(first, b"short")
        working.until(TaskEnded, 2)
        assert working.stop() is None
        assert [type(event) for event in events if isinstance(event, Connected | Disconnected)] == [Connected]
    assert aside.ready(first) + aside.ready(second) == 0


def test_a_silent_wire_is_noticed_and_another_connection_made(url, wire, new_queue, producer, work, gate):
    queue = new_queue("classic")
    producer.send(queue, b"held")
    worker = work(wire.through(f"{url}?heartbeat=1"), queue, gate)
    claim("the task is started", lambda: worker.started)
    assert wire.freeze() == 1

    worker.until(Disconnected)  # after 12 s: pika waits five more, twice

    wire.thaw()
    worker.until(Subscribed, 2)
    gate.open()
    claim("the task is done", lambda: [each.settled for each in worker.told(TaskEnded)] == [False, True])
    assert worker.stop() is None
