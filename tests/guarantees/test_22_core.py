"""The project's own core: its worker does its part of what the other chapters say of the broker."""

from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.dead_letters import letters_of, queue_to
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.holding import come_back
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import (
    HEARTBEATS,
    NACK,
    QUORUM_QUEUES,
    README,
    TUTORIAL_2,
    release_note,
)
from workqueue.guarantee.waiting import barrier, claim, watch

USE = README.section("use-the-core")


def tasks_of(queue):
    return [each.task for each in queue.drain()]


# The worker: when it acknowledges


@guarantee(
    "core.worker-acks-after-the-work",
    "A task whose worker is killed in the middle of it (SIGKILL) goes to another worker.",
    source=TUTORIAL_2.section("message-acknowledgment"),
    counter_example="acknowledgement.auto-ack-loses-the-task-in-hand",
    proved_by=[
        caught("mutant:auto-ack", "receives ['hold a task']"),
        caught("mutant:ack-before-work", "receives ['hold a task']"),
    ],
)
def test_the_worker_acknowledges_after_the_work(stage, queue, publish, core):
    worker = core.worker()
    [task] = publish("hold a task")
    worker.wait_until_started(task)

    worker.kill()

    come_back(stage, queue, task)


@guarantee(
    "core.acks-what-is-done-and-nothing-else",
    "The worker acknowledges a task as soon as it is done, and by that no other task that it holds.",
    source=TUTORIAL_2.section("message-acknowledgment"),
    counter_example="acknowledgement.auto-ack-loses-tasks-already-sent",
    proved_by=[
        caught("mutant:auto-ack", "receives ['hold one', 'hold another']"),
        caught("mutant:ack-forgotten", "the ack of a task makes room for the next"),
        caught("mutant:ack-on-another-channel", "the ack of a task makes room for the next"),
        caught("mutant:ack-everything", "receives ['hold one', 'hold another']"),
        caught("mutant:ack-of-another-task", "receives ['hold one', 'hold another']"),
    ],
)
def test_the_worker_acknowledges_what_is_done_and_nothing_else(stage, queue, publish, core):
    _, *undone = publish("a quick task", "hold one", "hold another")
    worker = core.worker(prefetch=2)

    claim("the ack of a task makes room for the next", lambda: queue.ready() == 0)
    worker.wait_until_started(undone[0])
    worker.kill()

    come_back(stage, queue, *undone)


# The worker: tasks that fail


@guarantee(
    "core.failed-task-comes-back",
    "A task whose handler raises an exception is tried again, marked as redelivered.",
    source=USE,
    proved_by=[
        caught("mutant:ack-on-failure", "the task that failed is tried again"),
        caught("mutant:requeue-off", "the task that failed is tried again"),
        caught("mutant:failure-ends-the-worker", "the task that failed is tried again"),
        caught("mutant:work-skipped", "the task that failed is tried again"),
    ],
)
def test_a_failed_task_comes_back(publish, core):
    worker = core.worker()
    [task] = publish("fail-once and then succeed")

    claim("the task that failed is tried again, and done", lambda: worker.done == [task])

    assert worker.started == [task, task]
    assert worker.redelivered == [False, True]


@guarantee(
    "core.failed-task-counts",
    "A task whose handler always raises an exception is dead-lettered when it exceeds the delivery limit of its queue.",
    source=QUORUM_QUEUES.section("poison-message-handling"),
    queue_types=["quorum"],
    counter_example="poison.nack-loop-never-rests",
    proved_by=[
        caught("mutant:nack-where-reject-is-due", "failures do not count", versions=">=4.3"),
        caught("mutant:ack-on-failure", "it is dead-lettered, or tried too often"),
        caught("mutant:requeue-off", "the task was given up after 1 tries"),
    ],
)
def test_a_failed_task_counts_toward_the_delivery_limit(stage, core):
    dead = stage.declare()
    queue = queue_to(dead, x_delivery_limit=2)
    worker = core.worker(queue=queue)
    [task] = stage.publish("fail always", queue=queue)

    claim("it is dead-lettered, or tried too often", lambda: dead.ready() or len(worker.started) > 3)
    worker.kill()  # all that it has told is known then

    tries = len(worker.started)
    assert tries <= 3, f"failures do not count: with a delivery limit of 2, the task was tried {tries} times"
    assert tries == 3, f"with a delivery limit of 2, the task was given up after {tries} tries"
    [letter] = letters_of(dead, 1)
    assert (letter.task, letter.deaths[0]["reason"]) == (task, "delivery_limit")


@guarantee(
    "core.rejected-task-is-dead-lettered",
    "A task whose handler raises Reject is dead-lettered, and not tried again.",
    source=USE,
    counter_example="dead-lettering.without-an-exchange-it-is-gone",
    proved_by=[
        caught("mutant:ack-on-reject", "the rejected task is dead-lettered"),
        caught("mutant:requeue-on-reject", "the rejected task was tried again"),
    ],
)
def test_a_rejected_task_is_dead_lettered(stage, core):
    dead = stage.declare()
    queue = queue_to(dead)
    worker = core.worker(queue=queue)
    [task] = stage.publish("reject this", queue=queue)

    claim("the rejected task is dead-lettered, or tried again", lambda: dead.ready() or len(worker.started) > 1)
    worker.kill()  # all that it has told is known then

    assert len(worker.started) == 1, "the rejected task was tried again"
    [letter] = letters_of(dead, 1)
    assert (letter.task, letter.deaths[0]["reason"]) == (task, "rejected")


# The worker: what it holds


@guarantee(
    "core.one-task-at-a-time",
    "A worker with prefetch 1 that finds a backlog is given one task of it.",
    source=TUTORIAL_2.section("fair-dispatch"),
    counter_example="fair-dispatch.without-prefetch-holds-many",
    proved_by=[
        caught("mutant:no-qos", "with prefetch 1, the worker was given 10 tasks at once"),
        caught("mutant:qos-after-consume", "with prefetch 1, the worker was given 10 tasks at once"),
    ],
)
def test_a_worker_takes_one_task_of_a_backlog(queue, publish, core):
    tasks = publish(*(f"hold task {n}" for n in range(1, 11)))

    worker = core.worker(prefetch=1)
    worker.wait_until_started(tasks[0])

    # The queue sent whatever the subscription allowed before it answers this.
    held = len(tasks) - queue.ready()
    assert held == 1, f"with prefetch 1, the worker was given {held} tasks at once"


@guarantee(
    "core.heartbeats-during-a-long-task",
    "A worker keeps its connection through a task of six heartbeat timeouts, and its ack is accepted.",
    source=HEARTBEATS.section("heartbeats-interval"),
    counter_example="connections.busy-worker-is-disconnected",
    proved_by=[caught("mutant:work-on-io-thread", "the broker gave the busy worker up")],
)
def test_heartbeats_go_on_during_a_long_task(stage, queue, publish, core):
    heartbeat = 1
    worker = core.worker(heartbeat=heartbeat)
    barrier("that is what it agreed on with the broker", lambda: worker.heartbeat == heartbeat)
    [task] = publish("hold a long task")
    worker.wait_until_started(task)
    other = stage.client()
    other.consume(queue.name)

    # The broker gives a silent client up after two to three timeouts.
    watch(6 * heartbeat, lambda: other.tasks)
    assert other.tasks == [], "the broker gave the busy worker up, and its task to another"
    stage.evidence.proof(worker.name, f"worked for {6 * heartbeat} s with a heartbeat timeout of {worker.heartbeat} s")

    worker.finish()
    claim("the task is done", lambda: worker.done == [task])
    worker.terminate()
    assert worker.ends() == 0
    other.receives(*publish("a task from afterwards"))
    assert other.tasks == ["a task from afterwards"], "the ack was not accepted"


# The worker: how it ends


@guarantee(
    "core.stop-finishes-the-task-in-hand",
    "A worker that gets SIGTERM finishes the task in hand, acknowledges it, takes no other, and ends with status 0.",
    source=USE,
    proved_by=[
        caught("mutant:stop-at-once", "SIGTERM ended the worker in the middle of its task"),
        caught("mutant:stop-ignored", "ends: not within"),
        caught("mutant:ack-twice", "ended with status 1 (ChannelClosed)"),
        caught("mutant:settle-before-cancel", "sent the other task to a worker that was stopping"),
    ],
)
def test_a_stopped_worker_finishes_the_task_in_hand(queue, publish, core):
    worker = core.worker()
    in_hand, waiting = publish("hold a task", "another task")
    worker.wait_until_started(in_hand)

    worker.terminate()
    assert worker.status is None, "SIGTERM ended the worker in the middle of its task"
    worker.finish()

    status = worker.ends()
    assert status == 0, f"the worker was stopped, and ended with status {status} ({worker.error})"
    assert worker.done == [in_hand]
    [left] = queue.drain()
    assert left.task == waiting
    assert not left.redelivered, "the broker had sent the other task to a worker that was stopping"


@guarantee(
    "core.stop-hands-back-what-was-not-started",
    "A worker that gets SIGTERM hands back the tasks that it was given and has not started.",
    source=USE,
    proved_by=[
        caught("mutant:stop-acks-the-rest", "of ['a second task', 'a third task'], [] came back"),
        caught("mutant:stop-drops-the-rest", "of ['a second task', 'a third task'], [] came back"),
    ],
)
def test_a_stopped_worker_hands_back_what_it_has_not_started(queue, publish, core):
    worker = core.worker(prefetch=3)
    in_hand, *unstarted = publish("hold a task", "a second task", "a third task")
    worker.wait_until_started(in_hand)
    barrier("it was given all three", lambda: queue.ready() == 0)

    worker.terminate()
    worker.finish()

    assert worker.ends() == 0
    assert worker.done == [in_hand]
    returned = tasks_of(queue)
    assert sorted(returned) == sorted(unstarted), f"of {unstarted}, {returned} came back"


@guarantee(
    "core.handing-back-is-no-failure",
    "A task that a stopped worker hands back does not count as a failure: it has no x-delivery-count afterwards.",
    source=NACK.section("reject-vs-nack"),
    queue_types=["quorum"],
    broken_on=[BrokenOn("quorum", "<4.3", "every return counts as a failure", release_note("4.3.0"))],
    proved_by=[caught("mutant:stop-fails-the-rest", "a task that was handed back counts as failed")],
)
def test_what_a_stopped_worker_hands_back_does_not_count_as_failed(queue, publish, core):
    worker = core.worker(prefetch=2)
    in_hand, unstarted = publish("hold a task", "a second task")
    worker.wait_until_started(in_hand)
    barrier("it was given both", lambda: queue.ready() == 0)

    worker.terminate()
    worker.finish()
    barrier("it has ended", lambda: worker.status is not None)

    [returned] = queue.drain()
    assert returned.task == unstarted
    failures = returned.headers.get("x-delivery-count", 0)
    assert failures == 0, f"a task that was handed back counts as failed: x-delivery-count is {failures}"
