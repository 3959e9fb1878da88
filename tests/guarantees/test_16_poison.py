"""Poison tasks: those that no worker can do. What becomes of them depends on the queue, its version, and how they fail."""

import time

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.sources import (
    CLASSIC_QUEUES,
    CONFIRMS,
    NACK,
    QUORUM_QUEUES,
    TUTORIAL_2,
    release_note,
    server_source,
)
from workqueue.guarantee.waiting import barrier, claim, refused

POISON_HANDLING = QUORUM_QUEUES.section("poison-message-handling")
CONFIGURING = QUORUM_QUEUES.section("poison-message-handling-configuring-limit")

DROPPED_AFTER_21 = "the queue has a delivery limit of 20 by default, and drops the task after its 21st delivery"
COUNTS_SINCE_4 = BrokenOn("quorum", ">=4.0", DROPPED_AFTER_21, release_note("4.0.1"))
NO_LIMIT_YET = BrokenOn("quorum", "<4.0", "there is no delivery limit by default", release_note("4.0.1"))
EVERY_RETURN_COUNTED = BrokenOn("quorum", ">=4.0,<4.3", DROPPED_AFTER_21, release_note("4.0.1"))


def queue_with_dead_letters(stage, **arguments):
    """A queue, and the queue that what it drops goes to: a task is in the one, in the other, or in a worker's hands."""
    dead = stage.declare()
    return stage.declare(x_dead_letter_exchange="", x_dead_letter_routing_key=dead.name, **arguments), dead


# Ways in which an attempt can fail; each returns the channel to go on with


def nack(stage, channel, tag):
    channel.basic_nack(tag, requeue=True)
    return channel


def reject(stage, channel, tag):
    channel.basic_reject(tag, requeue=True)
    return channel


def close_channel(stage, channel, tag):
    channel.close()
    return channel.connection.channel()


def close_connection(stage, channel, tag):
    channel.connection.close()
    return stage.connect().channel()


def deliveries_until_dead(stage, queue, dead, fail, most):
    """How often a task is delivered, each attempt failing, until it is dead-lettered; `most` if it never is."""
    channel = stage.connect().channel()
    for attempt in range(most):
        method = None

        def delivered_or_dead(channel=channel):
            nonlocal method
            method, _, _ = channel.basic_get(queue.name)
            return method or dead.ready()

        claim("the task is either in its queue or dead-lettered", delivered_or_dead)
        if method is None:
            return attempt
        channel = fail(stage, channel, method.delivery_tag)
    return most


def comes_back_every_time(stage, fail, times):
    queue, dead = queue_with_dead_letters(stage)
    stage.publish("poison", queue=queue)

    deliveries = deliveries_until_dead(stage, queue, dead, fail, times)

    stage.evidence.proof("broker", f"delivered the task {deliveries} times")
    assert deliveries == times, f"the queue dropped the task after {deliveries} deliveries"


@guarantee(
    "poison.nacked-task-comes-back",
    "A task that workers hand back with basic.nack is delivered again, however often that happens.",
    source=NACK.section("reject-vs-nack"),
    broken_on=[EVERY_RETURN_COUNTED],
)
def test_a_nacked_task_comes_back(stage):
    comes_back_every_time(stage, nack, times=60)


@guarantee(
    "poison.rejected-task-comes-back",
    "A task that workers hand back with basic.reject is delivered again, however often that happens.",
    source=CONFIRMS.section("consumer-nacks-requeue"),
    broken_on=[COUNTS_SINCE_4],
)
def test_a_rejected_task_comes_back(stage):
    comes_back_every_time(stage, reject, times=60)


@guarantee(
    "poison.task-outlives-closed-channels",
    "A task whose worker closes its channel without an ack is delivered again, however often that happens.",
    source=CONFIRMS.section("automatic-requeueing"),
    broken_on=[COUNTS_SINCE_4],
)
def test_a_task_outlives_any_number_of_closed_channels(stage):
    comes_back_every_time(stage, close_channel, times=25)


@guarantee(
    "poison.task-outlives-closed-connections",
    "A task whose worker closes its connection without an ack is delivered again, however often that happens.",
    source=CONFIRMS.section("automatic-requeueing"),
    broken_on=[COUNTS_SINCE_4],
)
def test_a_task_outlives_any_number_of_closed_connections(stage):
    comes_back_every_time(stage, close_connection, times=25)


@guarantee(
    "poison.task-outlives-killed-workers",
    "No message is lost, even if the workers die: a task that killed 21 workers (SIGKILL) goes to the next one.",
    source=TUTORIAL_2.section("message-acknowledgment"),
    broken_on=[COUNTS_SINCE_4],
)
def test_a_task_outlives_21_killed_workers(stage, queue, publish):
    publish("poison")
    doomed = stage.doomed(queue, prefetch=2)
    for _ in range(20):
        assert doomed.dies() == ["poison"]

    # The last one also holds a healthy task. Both come back at once, so where that one is, the other must be too.
    publish("healthy")
    barrier("the last worker held both", lambda: sorted(doomed.dies(holding=2)) == ["healthy", "poison"])
    survivor = stage.client()
    survivor.consume(queue.name)
    survivor.receives("healthy")
    publish("new")
    survivor.receives("new")

    assert "poison" in survivor.tasks, "the task is gone: the queue dropped it when its 21st worker died"


@guarantee(
    "poison.timeout-is-not-a-failure",
    "A task that the broker takes from a worker because of the acknowledgement timeout has not failed: that does not "
    "count towards the delivery limit.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
    needs=["ctl", "configure"],
    broken_on=[
        BrokenOn("quorum", "<3.8.15", "there is no acknowledgement timeout", release_note("3.8.15")),
        BrokenOn("quorum", "<4.3", "it counts, as each return to the queue does", release_note("4.3.0")),
    ],
)
def test_a_timeout_does_not_count_as_a_failure(stage):
    queue, dead = queue_with_dead_letters(stage, x_delivery_limit=1)
    stage.publish("a long task", queue=queue)

    with stage.compressed_ack_timeout(seconds=0.3):
        for timeouts in range(3):
            worker = stage.client()
            worker.qos(1)
            worker.consume(queue.name)
            claim("the task is delivered or dead-lettered", lambda w=worker: w.received or dead.ready())
            assert worker.received, f"the queue dropped the task after {timeouts} timeouts"
            if timeouts < 2:
                claim("the broker takes it back", lambda w=worker: w.cancelled or not w.is_open, within=5)


# The delivery limit


@guarantee(
    "poison.default-limit-is-20",
    "A quorum queue has a delivery limit of 20 by default: a task that always fails is delivered 21 times, and then "
    "dead-lettered (or dropped) for the reason delivery_limit.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
    broken_on=[NO_LIMIT_YET],
)
def test_a_quorum_queue_gives_up_after_21_deliveries(stage):
    queue, dead = queue_with_dead_letters(stage)
    stage.publish("poison", queue=queue)

    assert deliveries_until_dead(stage, queue, dead, reject, most=40) == 21

    [letter] = dead.drain()
    assert [death["reason"] for death in letter.deaths] == ["delivery_limit"]
    assert queue.drain() == []


@guarantee(
    "poison.limit-of-n",
    "With x-delivery-limit=n a quorum queue delivers a task that always fails n + 1 times.",
    source=CONFIGURING,
    queue_types=["quorum"],
)
def test_a_limit_of_n_means_n_plus_1_deliveries(stage):
    queue, dead = queue_with_dead_letters(stage, x_delivery_limit=3)
    stage.publish("poison", queue=queue)

    assert deliveries_until_dead(stage, queue, dead, reject, most=20) == 4

    [letter] = dead.drain()
    assert [death["reason"] for death in letter.deaths] == ["delivery_limit"]


@guarantee(
    "poison.limit-can-be-switched-off",
    "With x-delivery-limit=-1 a quorum queue has no delivery limit.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
    broken_on=[
        BrokenOn(
            "quorum",
            "<4.0",
            "the task is dropped after its first delivery: one failure is more than -1",
            server_source("3.10.8", "deps/rabbit/src/rabbit_fifo.erl"),
        )
    ],
)
def test_minus_1_switches_the_limit_off(stage):
    queue, dead = queue_with_dead_letters(stage, x_delivery_limit=-1)
    stage.publish("poison", queue=queue)

    deliveries = deliveries_until_dead(stage, queue, dead, reject, most=60)

    assert deliveries == 60, f"the queue dropped the task after {deliveries} deliveries"


@guarantee(
    "poison.lower-limit-wins",
    "If a policy and the queue's own argument both set a delivery limit, the lower one applies.",
    source=CONFIGURING,
    queue_types=["quorum"],
    needs=["ctl"],
)
def test_the_lower_limit_wins(stage):
    queue, dead = queue_with_dead_letters(stage, x_delivery_limit=5)
    stage.publish("poison", queue=queue)

    with stage.policy(queue, delivery_limit=2):
        assert deliveries_until_dead(stage, queue, dead, reject, most=20) == 3


@guarantee(
    "poison.classic-refuses-a-limit",
    "A classic queue cannot have a delivery limit: x-delivery-limit is refused.",
    source=CLASSIC_QUEUES,
    queue_types=["classic"],
    broken_on=[
        BrokenOn(
            "classic",
            "<3.10",
            "the argument is accepted, and ignored",
            server_source("3.8.9", "src/rabbit_amqqueue.erl"),
        )
    ],
)
def test_a_classic_queue_refuses_a_delivery_limit(stage):
    with refused("a classic queue has no delivery limit", 406, "x-delivery-limit"):
        stage.declare(x_delivery_limit=1)


@hazard(
    "poison.dropped-without-a-trace",
    "Without a dead-letter exchange, a task that exceeds the delivery limit of a quorum queue is gone without a trace.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
)
def test_without_a_dead_letter_exchange_the_task_is_gone(stage):
    queue = stage.declare(x_delivery_limit=1)
    stage.publish("poison", queue=queue)
    channel = stage.connect().channel()
    for _ in range(2):
        method, _, body = barrier("the task is delivered", lambda: (got := channel.basic_get(queue.name))[0] and got)
        channel.basic_reject(method.delivery_tag)

    # Whatever the broker does to the one task, it has done when it delivers what was returned after it.
    stage.publish("healthy", queue=queue)
    method, _, body = barrier("a new task is delivered", lambda: (got := channel.basic_get(queue.name))[0] and got)
    assert body == b"healthy"
    channel.connection.close()

    assert [each.task for each in queue.drain()] == ["healthy"]


@hazard(
    "poison.bystanders-are-dropped-too",
    "With a prefetch above 1, the healthy tasks that a worker holds when a poison task kills it count as failed, too: a "
    "quorum queue drops them all.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
)
def test_healthy_tasks_held_beside_a_poison_task_are_dropped_with_it(stage):
    queue, dead = queue_with_dead_letters(stage, x_delivery_limit=2)
    tasks = stage.publish("poison", "healthy 1", "healthy 2", "healthy 3", "healthy 4", queue=queue)
    doomed = stage.doomed(queue, prefetch=5)

    for _ in range(3):
        doomed.dies(holding=5)

    claim("all are dead-lettered", lambda: dead.ready() == 5)
    letters = dead.drain()
    assert sorted(each.task for each in letters) == sorted(tasks)
    assert {each.deaths[0]["reason"] for each in letters} == {"delivery_limit"}


@guarantee(
    "poison.prefetch-one-spares-bystanders",
    "With a prefetch of 1, the queue drops the poison task alone; the healthy tasks behind it stay in order.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
    counter_example="poison.bystanders-are-dropped-too",
)
def test_with_prefetch_1_only_the_poison_task_is_dropped(stage):
    queue, dead = queue_with_dead_letters(stage, x_delivery_limit=2)
    stage.publish("poison", "healthy 1", "healthy 2", "healthy 3", "healthy 4", queue=queue)
    doomed = stage.doomed(queue, prefetch=1)

    for _ in range(3):
        assert doomed.dies() == ["poison"]

    claim("the poison task is dead-lettered", lambda: dead.ready() == 1)
    assert [each.task for each in dead.drain()] == ["poison"]
    assert [each.task for each in queue.drain()] == ["healthy 1", "healthy 2", "healthy 3", "healthy 4"]


@hazard(
    "poison.graceful-stop-counts-as-failure",
    "A pika worker that stops gracefully (stop_consuming) hands the tasks that it has not begun back with basic.reject: "
    "a quorum queue counts each such stop as a failure, and drops tasks that no worker ever began.",
    source=NACK.section("reject-vs-nack"),
    queue_types=["quorum"],
    broken_on=[NO_LIMIT_YET],
)
def test_a_task_that_nobody_began_is_dropped_after_graceful_stops(stage):
    queue, dead = queue_with_dead_letters(stage)
    tasks = stage.publish(*(f"task {n}" for n in range(1, 26)), queue=queue)
    begun = []

    def work(channel, method, properties, body):
        begun.append(body.decode())
        barrier("the worker was sent all tasks", lambda: queue.ready() == 0)
        channel.basic_ack(method.delivery_tag)
        channel.stop_consuming()

    def waiting():
        """How many tasks still wait to be done, once none is held by a worker that is gone."""
        barrier("the tasks are back", lambda: len(begun) + queue.ready() + dead.ready() == len(tasks))
        return queue.ready()

    while waiting():
        channel = stage.connect().channel()
        channel.basic_qos(prefetch_count=len(tasks))
        channel.basic_consume(queue.name, work)
        barrier(
            "it does one task and stops",
            lambda c=channel: c.connection.process_data_events(time_limit=0.1) or not c.consumer_tags,
        )
        channel.connection.close()

    letters = dead.drain()
    stage.evidence.proof("broker", f"dropped {[each.task for each in letters]} after {len(begun)} stops")
    assert letters, "every task was done"
    assert sorted(begun + [each.task for each in letters]) == sorted(tasks)
    assert {each.deaths[0]["reason"] for each in letters} == {"delivery_limit"}


@hazard(
    "poison.nack-loop-never-rests",
    "A task that is nacked comes back at once: a worker that cannot do it and keeps handing it back gets nothing else "
    "to do than that, hundreds of times a second.",
    source=CONFIRMS.section("consumer-nacks-requeue"),
    broken_on=[EVERY_RETURN_COUNTED],
)
def test_a_nacked_task_comes_back_at_once_and_for_ever(stage):
    queue, dead = queue_with_dead_letters(stage)
    stage.publish("poison", queue=queue)
    began = time.monotonic()

    deliveries = deliveries_until_dead(stage, queue, dead, nack, most=300)

    took = time.monotonic() - began
    stage.evidence.proof("broker", f"delivered it {deliveries} times in {took:.2f} s")
    assert deliveries == 300, f"the queue dropped the task after {deliveries} deliveries"
    assert took < 10
