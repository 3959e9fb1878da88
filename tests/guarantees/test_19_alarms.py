"""Alarms: a broker that runs out of memory or disk space stops reading from publishers, and from nobody else."""

from workqueue.guarantee.alarms import Alarm
from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import ALARMS, DISK_ALARMS, MEMORY, PUBLISHERS
from workqueue.guarantee.waiting import barrier, claim, landed, promised, watch

NODE = ["ctl", "configure"]
CONFIRMED = "the broker confirms all"
TAKEN = "what a blocked publisher sent was taken"


def block(publisher, queue):
    """Publish once: what follows on this connection is not read until the alarm is over."""
    publisher.publish("the one that blocks", queue=queue.name)
    barrier("the publisher is blocked", lambda: publisher.connection.blocked)


def _publishers_are_blocked(stage, queue, alarm, why):
    publisher, late = stage.client(), stage.client()
    publisher.confirm()

    with stage.operator.alarm(alarm):
        publisher.publish("the one that blocks", queue=queue.name)
        claim("the publisher is told that it is blocked", lambda: publisher.connection.blocked)
        assert why in publisher.connection.blocked[0]
        publisher.publish("blocked", queue=queue.name)

        def taken():
            # Somebody who only asks is answered, many times over, while the publisher waits.
            ready = max(late.declare(queue.name, passive=True) for _ in range(10))
            return ready > 1 or any(confirm.tag >= 2 for confirm in publisher.confirms)

        assert not watch(0.6, taken), TAKEN

    claim("the publisher is told that it is no longer blocked", lambda: publisher.connection.unblocked)
    claim(CONFIRMED, lambda: any(confirm.tag >= 2 for confirm in publisher.confirms))
    assert [each.task for each in queue.drain()] == ["the one that blocks", "blocked"]


@guarantee(
    "alarms.memory-alarm-blocks-publishers",
    "While the broker is low on memory, publishers are blocked and told so; afterwards all they sent is taken.",
    source=ALARMS.section("overview"),
    needs=NODE,
    proved_by=[
        caught("hides-blocked", "the publisher is told that it is blocked"),
        caught("blocks-in-name-only", TAKEN),
    ],
)
def test_publishers_are_blocked_while_memory_is_low(stage, queue):
    _publishers_are_blocked(stage, queue, Alarm.MEMORY, "memory")


@guarantee(
    "alarms.disk-alarm-blocks-publishers",
    "While the broker is low on disk space, publishers are blocked and told so; afterwards all they sent is taken.",
    source=DISK_ALARMS.section("overview"),
    needs=NODE,
    proved_by=[
        caught("hides-blocked", "the publisher is told that it is blocked"),
        caught("never-unblocks", "the publisher is told that it is no longer blocked"),
        caught("blocks-in-name-only", TAKEN),
    ],
)
def test_publishers_are_blocked_while_disk_space_is_low(stage, queue):
    _publishers_are_blocked(stage, queue, Alarm.DISK, "disk")


@guarantee(
    "alarms.workers-go-on",
    "A worker whose connection only consumes goes on during an alarm: it receives tasks, and its acks count.",
    source=PUBLISHERS.section("disable-publishing"),
    needs=NODE,
    counter_example="alarms.publishing-workers-stall",
    proved_by=[
        caught("never-delivers", "task 1 is delivered"),
        caught("swallows-acks", "task 2 is delivered"),
        caught("refuses-settling", "its acks are accepted: the broker refused"),
    ],
)
def test_workers_go_on_during_an_alarm(stage, queue, publish):
    tasks = publish(*(f"task {n}" for n in range(1, 11)))
    publisher, worker = stage.client(), stage.client()

    with stage.operator.alarm(Alarm.MEMORY):
        block(publisher, queue)
        worker.qos(1)
        worker.consume(queue.name)
        for number, task in enumerate(tasks):
            claim(f"{task} is delivered", lambda number=number: len(worker.received) > number)
            worker.ack(worker.received[number])
            with promised("its acks are accepted"):
                worker.sync()
        assert worker.tasks[: len(tasks)] == tasks

    worker.close()
    barrier("the one that blocks is there", lambda: queue.ready() == 1)
    assert {each.task for each in queue.drain()} == {"the one that blocks"}


@hazard(
    "alarms.publishing-workers-stall",
    "A worker that also publishes on the connection it consumes from stalls during an alarm: its acks are not read.",
    source=ALARMS.section("effects-on-clusters"),
    needs=NODE,
    proved_by=[caught("blocks-in-name-only", "its ack was read, and it was given another task")],
)
def test_a_worker_that_publishes_on_its_connection_stalls(stage, queue, publish):
    mixed, pure = stage.client(), stage.client()
    results = stage.declare()
    publish("task 1", "task 2", "task 3", "task 4")
    for client in (mixed, pure):
        client.qos(1)
        client.consume(queue.name)
        client.wait_until_holding(1)

    with stage.operator.alarm(Alarm.MEMORY):
        block(mixed, results)
        mixed.ack(mixed.received[0])
        # The other worker acks later, and is given what remains, one after the other.
        for held in range(3):
            barrier("a worker goes on", lambda held=held: len(pure.received) > held or len(mixed.received) > 1)
            assert len(mixed.received) == 1, "its ack was read, and it was given another task"
            pure.ack(pure.received[held])
        pure.sync()
        assert len(mixed.received) == 1, "its ack was read, and it was given another task"

    publish("task 5")
    barrier("its ack is read once the alarm is over", lambda: "task 5" in mixed.tasks + pure.tasks)
    assert len(pure.tasks + mixed.tasks) == 5


@hazard(
    "alarms.blocked-connections-are-not-monitored",
    "A blocked connection that is lost in silence keeps its tasks during the alarm: its heartbeats are not watched.",
    source=ALARMS.section("overview"),
    needs=NODE,
    proved_by=[caught("blocks-and-forgets", "`other.tasks == idle.tasks")],
)
def test_the_heartbeats_of_a_blocked_connection_are_not_watched(stage, queue, publish):
    wire = stage.proxy()
    blocked, idle = (stage.client(heartbeat=1, proxy=wire) for _ in range(2))
    publish("task 1", "task 2")
    for client in (blocked, idle):
        client.qos(1)
        client.consume(queue.name)
        client.wait_until_holding(1)
    results = stage.declare()

    with stage.operator.alarm(Alarm.MEMORY):
        block(blocked, results)
        landed("both connections fall silent", wire.freeze(), 2)
        other = stage.client()
        other.consume(queue.name)
        # Lost at the same moment and not blocked: the broker had as long to notice the other.
        barrier("the other is given up", lambda: set(idle.tasks) <= set(other.tasks))
        other.sync()
        assert other.tasks == idle.tasks


@guarantee(
    "alarms.confirmed-is-kept",
    "What was confirmed before an alarm is still there after it.",
    source=MEMORY.section("overview"),
    needs=NODE,
    proved_by=[caught("drops-one-in-three", "`[each.task for each in queue.drain()] == tasks")],
)
def test_what_was_confirmed_before_an_alarm_is_there_after_it(stage, queue, publish):
    tasks = publish(*(f"task {n}" for n in range(1, 101)))
    publisher = stage.client()

    with stage.operator.alarm(Alarm.MEMORY):
        block(publisher, stage.declare())

    assert [each.task for each in queue.drain()] == tasks
