"""Poison tasks, those that no worker can do: in what ways they can fail and still come back."""

import statistics
import time

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.dead_letters import (
    close_channel,
    close_connection,
    deliveries_until_dead,
    nack,
    queue_to,
    reject,
)
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import (
    CONFIRMS,
    NACK,
    QUORUM_QUEUES,
    TUTORIAL_2,
    release_note,
)
from workqueue.guarantee.waiting import barrier, claim

POISON_HANDLING = QUORUM_QUEUES.section("poison-message-handling")

DROPPED_AFTER_21 = "the queue has a delivery limit of 20 by default, and drops the task after its 21st delivery"
COUNTS_SINCE_4 = BrokenOn("quorum", ">=4.0", DROPPED_AFTER_21, release_note("4.0.1"))
EVERY_RETURN_COUNTED = BrokenOn("quorum", ">=4.0,<4.3", DROPPED_AFTER_21, release_note("4.0.1"))


def comes_back_every_time(stage, fail, times):
    dead = stage.declare()
    queue = queue_to(dead)
    stage.publish("poison", queue=queue)

    deliveries = deliveries_until_dead(queue, dead, fail, times)

    stage.evidence.proof("broker", f"delivered the task {deliveries} times")
    assert deliveries == times, f"the queue dropped the task after {deliveries} deliveries"


@guarantee(
    "poison.nacked-task-comes-back",
    "A task that workers hand back with basic.nack is delivered again, however often that happens.",
    source=NACK.section("reject-vs-nack"),
    broken_on=[EVERY_RETURN_COUNTED],
    proved_by=[
        caught("discards", "the queue dropped the task after 1 deliveries"),
        caught("swallows-rejections", "the task is in its queue or dead-lettered"),
    ],
)
def test_a_nacked_task_comes_back(stage):
    comes_back_every_time(stage, nack, times=60)


@guarantee(
    "poison.rejected-task-comes-back",
    "A task that workers hand back with basic.reject is delivered again, however often that happens.",
    source=CONFIRMS.section("consumer-nacks-requeue"),
    broken_on=[COUNTS_SINCE_4],
    proved_by=[
        caught("discards", "the queue dropped the task after 1 deliveries"),
        caught("swallows-rejections", "the task is in its queue or dead-lettered"),
    ],
)
def test_a_rejected_task_comes_back(stage):
    comes_back_every_time(stage, reject, times=60)


@guarantee(
    "poison.task-outlives-closed-channels",
    "A task whose worker closes its channel without an ack is delivered again, however often that happens.",
    source=CONFIRMS.section("automatic-requeueing"),
    broken_on=[COUNTS_SINCE_4],
    proved_by=[caught("acks-for-the-dead", "the task is in its queue or dead-lettered")],
)
def test_a_task_outlives_any_number_of_closed_channels(stage):
    comes_back_every_time(stage, close_channel, times=25)


@guarantee(
    "poison.task-outlives-closed-connections",
    "A task whose worker closes its connection without an ack is delivered again, however often that happens.",
    source=CONFIRMS.section("automatic-requeueing"),
    broken_on=[COUNTS_SINCE_4],
    proved_by=[caught("acks-for-the-dead", "the task is in its queue or dead-lettered")],
)
def test_a_task_outlives_any_number_of_closed_connections(stage):
    comes_back_every_time(stage, close_connection, times=25)


@guarantee(
    "poison.task-outlives-killed-workers",
    "No message is lost, even if the workers die: a task that killed 21 workers (SIGKILL) goes to the next one.",
    source=TUTORIAL_2.section("message-acknowledgment"),
    broken_on=[COUNTS_SINCE_4],
    proved_by=[caught("acks-for-the-dead", "the task is back after 1 deaths")],
)
def test_a_task_outlives_21_killed_workers(stage, queue, publish):
    publish("poison")
    doomed = stage.doomed(queue, prefetch=2)
    for death in range(1, 21):
        assert doomed.dies() == ["poison"]
        claim(f"the task is back after {death} deaths", lambda: queue.ready() == 1)

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
        BrokenOn("quorum", "<4.3", "it counts, as each return to the queue does", release_note("4.3.0")),
    ],
    proved_by=[caught("never-redelivers", "the task is delivered or dead-lettered")],
)
def test_a_timeout_does_not_count_as_a_failure(stage):
    dead = stage.declare()
    queue = queue_to(dead, x_delivery_limit=1)
    stage.publish("a long task", queue=queue)

    # Set, and not only shortened: releases that have none by default heed it, too.
    with stage.operator.configured("consumer_timeout", "300"):
        for timeouts in range(3):
            worker = stage.client()
            worker.qos(1)
            worker.consume(queue.name)
            claim("the task is delivered or dead-lettered", lambda w=worker: w.received or dead.ready())
            assert worker.received, f"the queue dropped the task after {timeouts} timeouts"
            if timeouts < 2:
                claim("the broker takes it back", lambda w=worker: w.cancelled or not w.is_open, within=10)


@hazard(
    "poison.nack-loop-never-rests",
    "A task that is nacked comes back at once: a worker that cannot do it and keeps handing it back gets nothing else "
    "to do than that, dozens of times a second.",
    source=CONFIRMS.section("consumer-nacks-requeue"),
    broken_on=[EVERY_RETURN_COUNTED],
    proved_by=[
        caught("discards", "the queue dropped the task after 1 deliveries"),
        caught("swallows-rejections", "the task is in its queue or dead-lettered"),
        caught("lets-rest", "it took a second and more to come back 30 times"),
        caught(
            "takes-nacks-for-rejections",
            "the queue dropped the task after 21 deliveries",
            on="quorum",
            versions=">=4.0",
        ),
    ],
)
def test_a_nacked_task_comes_back_at_once_and_for_ever(stage):
    dead = stage.declare()
    queue = queue_to(dead)
    stage.publish("poison", queue=queue)
    moments = []

    def hand_back(*task):
        moments.append(time.monotonic())
        return nack(*task)

    deliveries = deliveries_until_dead(queue, dead, hand_back, most=300)

    stage.evidence.proof("broker", f"delivered it {deliveries} times in {moments[-1] - moments[0]:.2f} s")
    assert deliveries == 300, f"the queue dropped the task after {deliveries} deliveries"
    # In the middle of all: one pause of a busy machine says nothing of the broker.
    usual = statistics.median(last - first for first, last in zip(moments, moments[30:], strict=False))
    assert usual < 1, f"it took a second and more to come back 30 times: {usual:.2f} s"
