"""Message acknowledgment: "to make sure a message is never lost, RabbitMQ supports message acknowledgments"."""

import time

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import (
    CONSUMERS,
    HEARTBEATS,
    RELIABILITY,
    TUTORIAL_2,
)
from workqueue.guarantee.waiting import barrier, landed

ACKNOWLEDGEMENT = TUTORIAL_2.section("message-acknowledgment")


# What automatic acknowledgement loses


@hazard(
    "acknowledgement.auto-ack-loses-the-task-in-hand",
    "With automatic acknowledgement, a worker that is killed loses the task that it is working on.",
    source=ACKNOWLEDGEMENT,
    proved_by=[caught("wants-acks", "`queue.drain() == []")],
)
def test_auto_ack_loses_the_task_in_hand(queue, workers, publish):
    [worker] = workers(1, auto_ack=True, hold=True)
    [task] = publish("a long task")
    worker.wait_until_started(task)

    worker.kill()
    barrier("the broker knows that it is gone", lambda: queue.consumers() == 0)

    assert queue.drain() == []


@hazard(
    "acknowledgement.auto-ack-loses-tasks-already-sent",
    "With automatic acknowledgement, a worker that is killed also loses all tasks that were sent to it and not begun.",
    source=ACKNOWLEDGEMENT,
    proved_by=[caught("wants-acks", "`queue.drain() == []")],
)
def test_auto_ack_loses_everything_already_sent_to_the_worker(queue, workers, publish):
    [worker] = workers(1, auto_ack=True, hold=True)
    tasks = publish(*(f"task {n}" for n in range(1, 11)))
    worker.wait_until_holding(10)
    assert worker.started == tasks[:1]

    worker.kill()
    barrier("the broker knows that it is gone", lambda: queue.consumers() == 0)

    assert queue.drain() == []


# What manual acknowledgement brings back


def _comes_back_to_another_worker(queue, workers, publish, end):
    """Three tasks are held by a worker that ends, and come back to another that is already waiting."""
    [first] = workers(1, prefetch=3, hold=True)
    tasks = publish("first task", "second task", "third task")
    first.wait_until_holding(3)
    first.wait_until_started(tasks[0])
    [second] = workers(1, hold=True)

    end(first)

    returned = second.receives(*tasks)
    assert all(delivery.redelivered for delivery in returned), f"not marked as redelivered: {returned}"


@guarantee(
    "acknowledgement.returned-on-channel-close",
    "If a worker's channel is closed, its unacknowledged tasks go to another worker.",
    source=ACKNOWLEDGEMENT,
    proved_by=[caught("acks-for-the-dead", "worker 2 receives ['first task', 'second task', 'third task']")],
)
def test_tasks_come_back_when_the_channel_closes(queue, workers, publish):
    _comes_back_to_another_worker(queue, workers, publish, end=lambda worker: worker.close_channel())


@guarantee(
    "acknowledgement.returned-on-connection-close",
    "If a worker's connection is closed, its unacknowledged tasks go to another worker.",
    source=ACKNOWLEDGEMENT,
    proved_by=[caught("acks-for-the-dead", "worker 2 receives ['first task', 'second task', 'third task']")],
)
def test_tasks_come_back_when_the_connection_closes(queue, workers, publish):
    _comes_back_to_another_worker(queue, workers, publish, end=lambda worker: worker.close_connection())


@guarantee(
    "acknowledgement.returned-on-worker-kill",
    "If a worker dies without sending an ack (SIGKILL), its tasks go to another worker.",
    source=ACKNOWLEDGEMENT,
    counter_example="acknowledgement.auto-ack-loses-the-task-in-hand",
    proved_by=[caught("acks-for-the-dead", "worker 2 receives ['first task', 'second task', 'third task']")],
)
def test_tasks_come_back_when_the_worker_is_killed(queue, workers, publish):
    _comes_back_to_another_worker(queue, workers, publish, end=lambda worker: worker.kill())


@guarantee(
    "acknowledgement.returned-on-ctrl-c",
    "Even if you kill a worker using CTRL+C while it was processing a message, nothing is lost.",
    source=ACKNOWLEDGEMENT,
    counter_example="acknowledgement.auto-ack-loses-tasks-already-sent",
    proved_by=[caught("acks-for-the-dead", "worker 2 receives ['first task', 'second task', 'third task']")],
)
def test_tasks_come_back_when_the_worker_is_interrupted(queue, workers, publish):
    _comes_back_to_another_worker(queue, workers, publish, end=lambda worker: worker.interrupt())


@guarantee(
    "acknowledgement.returned-on-silent-tcp-loss",
    "If a worker's TCP connection is lost in silence (no FIN, no RST), its tasks go to another worker once heartbeats "
    "are missed.",
    source=HEARTBEATS.section("heartbeats-interval"),
    proved_by=[caught("beats-for-the-dead", "worker 2 receives ['a long task']")],
)
def test_tasks_come_back_when_the_connection_is_lost_in_silence(stage, queue, workers, publish):
    wire = stage.proxy()
    [first] = workers(1, prefetch=1, hold=True, heartbeat=1, proxy=wire)
    [task] = publish("a long task")
    first.wait_until_started(task)
    [second] = workers(1, hold=True)

    silenced = wire.freeze()

    landed("the worker's connection falls silent", silenced)
    stage.evidence.proof("wire", f"{silenced} connection fell silent, and none was closed")
    [returned] = second.receives(task)
    assert returned.redelivered


@guarantee(
    "acknowledgement.redelivered-promptly",
    "If another worker is online, RabbitMQ quickly redelivers a dead worker's task: within seconds, long before a "
    "heartbeat could be missed.",
    source=ACKNOWLEDGEMENT,
    proved_by=[caught("delays-redelivery", "worker 2 receives ['a long task']")],
)
def test_another_worker_gets_the_task_promptly(stage, workers, publish):
    first, second = workers(2, prefetch=1, hold=True)
    [task] = publish("a long task")
    first.wait_until_started(task)

    first.kill()
    gone = time.monotonic()
    [returned] = second.receives(task)

    took = returned.at - gone
    stage.evidence.proof("broker", f"redelivered it {took * 1000:.0f} ms after the worker was seen gone")
    assert took < 5


# The redelivered flag


@guarantee(
    "acknowledgement.redelivered-flag-tells-the-truth",
    "A task is marked as redelivered if, and only if, it was delivered before and came back.",
    source=CONSUMERS.section("message-properties"),
    proved_by=[
        caught("hides-redelivered", "`again.redelivered is True"),
        caught("forges-redelivered", "`first.received[0].redelivered is False"),
    ],
)
def test_the_redelivered_flag_tells_the_truth(workers, publish):
    [first] = workers(1, prefetch=1, hold=True)
    seen, unseen = publish("seen before", "never seen")
    first.wait_until_started(seen)

    first.kill()
    [second] = workers(1, hold=True)
    again, new = second.receives(seen, unseen)

    assert first.received[0].redelivered is False
    assert again.redelivered is True
    assert new.redelivered is False


@hazard(
    "acknowledgement.work-can-be-done-twice",
    "A task whose worker dies after the work and before the ack is done again: at least once is not exactly once.",
    source=RELIABILITY.section("consumer-side"),
    proved_by=[caught("acks-for-the-dead", "worker 2 gets and finishes ['charge the card']")],
)
def test_work_can_be_done_twice(workers, publish):
    [first] = workers(1, prefetch=1, forget_ack=True)
    [task] = publish("charge the card")
    first.finishes(task)

    first.kill()
    [second] = workers(1, prefetch=1)

    second.finishes(task)
    assert second.received[0].redelivered
