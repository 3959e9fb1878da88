"""Message acknowledgment: "to make sure a message is never lost, RabbitMQ supports message acknowledgments"."""

import time

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.sources import (
    CONFIRMS,
    CONSUMERS,
    HEARTBEATS,
    RELIABILITY,
    TUTORIAL_2,
    TUTORIAL_2_OF_2019,
    release_note,
    server_source,
)
from workqueue.guarantee.waiting import barrier, claim, refused, watch

ACKNOWLEDGEMENT = TUTORIAL_2.section("message-acknowledgment")


# What automatic acknowledgement loses


@hazard(
    "acknowledgement.auto-ack-loses-the-task-in-hand",
    "With automatic acknowledgement, a worker that is killed loses the task that it is working on.",
    source=ACKNOWLEDGEMENT,
)
def test_auto_ack_loses_the_task_in_hand(queue, workers, publish):
    [worker] = workers(1, auto_ack=True, hold=True)
    [task] = publish("a long task")
    worker.wait_until_started(task)

    worker.kill()

    assert queue.drain() == []


@hazard(
    "acknowledgement.auto-ack-loses-tasks-already-sent",
    "With automatic acknowledgement, a worker that is killed also loses all tasks that were sent to it and not begun.",
    source=ACKNOWLEDGEMENT,
)
def test_auto_ack_loses_everything_already_sent_to_the_worker(queue, workers, publish):
    [worker] = workers(1, auto_ack=True, hold=True)
    tasks = publish(*(f"task {n}" for n in range(1, 11)))
    worker.wait_until_holding(10)
    assert worker.started == tasks[:1]

    worker.kill()

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
)
def test_tasks_come_back_when_the_channel_closes(queue, workers, publish):
    _comes_back_to_another_worker(queue, workers, publish, end=lambda worker: worker.close_channel())


@guarantee(
    "acknowledgement.returned-on-connection-close",
    "If a worker's connection is closed, its unacknowledged tasks go to another worker.",
    source=ACKNOWLEDGEMENT,
)
def test_tasks_come_back_when_the_connection_closes(queue, workers, publish):
    _comes_back_to_another_worker(queue, workers, publish, end=lambda worker: worker.close_connection())


@guarantee(
    "acknowledgement.returned-on-worker-kill",
    "If a worker dies without sending an ack (SIGKILL), its tasks go to another worker.",
    source=ACKNOWLEDGEMENT,
    counter_example="acknowledgement.auto-ack-loses-the-task-in-hand",
)
def test_tasks_come_back_when_the_worker_is_killed(queue, workers, publish):
    _comes_back_to_another_worker(queue, workers, publish, end=lambda worker: worker.kill())


@guarantee(
    "acknowledgement.returned-on-ctrl-c",
    "Even if you kill a worker using CTRL+C while it was processing a message, nothing is lost.",
    source=ACKNOWLEDGEMENT,
    counter_example="acknowledgement.auto-ack-loses-tasks-already-sent",
)
def test_tasks_come_back_when_the_worker_is_interrupted(queue, workers, publish):
    _comes_back_to_another_worker(queue, workers, publish, end=lambda worker: worker.interrupt())


@guarantee(
    "acknowledgement.returned-on-silent-tcp-loss",
    "If a worker's TCP connection is lost in silence (no FIN, no RST), its tasks go to another worker once heartbeats "
    "are missed.",
    source=HEARTBEATS.section("heartbeats-interval"),
)
def test_tasks_come_back_when_the_connection_is_lost_in_silence(stage, queue, workers, publish):
    wire = stage.proxy()
    [first] = workers(1, prefetch=1, hold=True, heartbeat=1, proxy=wire)
    [task] = publish("a long task")
    first.wait_until_started(task)
    [second] = workers(1, hold=True)

    silenced = wire.freeze()

    stage.evidence.proof("wire", f"{silenced} connection fell silent, and none was closed")
    assert silenced == 1
    [returned] = second.receives(task)
    assert returned.redelivered


@guarantee(
    "acknowledgement.redelivered-promptly",
    "If another worker is online, RabbitMQ quickly redelivers a dead worker's task: within seconds, long before a "
    "heartbeat could be missed.",
    source=ACKNOWLEDGEMENT,
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
)
def test_work_can_be_done_twice(workers, publish):
    [first] = workers(1, prefetch=1, forget_ack=True)
    [task] = publish("charge the card")
    first.finishes(task)

    first.kill()
    [second] = workers(1, prefetch=1)

    second.finishes(task)
    assert second.received[0].redelivered


# Manual is the default, and an ack is final


@guarantee(
    "acknowledgement.manual-by-default",
    "Manual message acknowledgments are turned on by default.",
    source=ACKNOWLEDGEMENT,
    counter_example="acknowledgement.auto-ack-loses-the-task-in-hand",
)
def test_manual_acknowledgement_is_the_default(stage, queue, publish):
    [task] = publish("a task")
    channel = stage.connect().channel()
    got = []

    # Exactly the tutorial's call, with nothing said about acknowledgement.
    channel.basic_consume(queue=queue.name, on_message_callback=lambda ch, method, properties, body: got.append(body))
    barrier("the task is delivered", lambda: channel.connection.process_data_events() or got)
    channel.connection.close()

    assert [each.task for each in queue.drain()] == [task]


@guarantee(
    "acknowledgement.acked-is-gone",
    "An acknowledged task is deleted: it does not come back when its worker dies.",
    source=ACKNOWLEDGEMENT,
    counter_example="acknowledgement.forgotten-acks-come-back",
)
def test_an_acked_task_does_not_come_back(queue, workers, publish):
    [worker] = workers(1, prefetch=1, hold=True)
    acked, held = publish("acked", "held")
    worker.wait_until_started(acked)
    assert worker.finish() == acked
    # The broker sends the next one because it has seen the ack of the first.
    worker.wait_until_started(held)

    worker.kill()

    assert [each.task for each in queue.drain()] == [held]


@guarantee(
    "acknowledgement.other-channel-is-refused",
    "Attempting to acknowledge using a different channel results in a channel-level protocol exception (406), and "
    "the task stays with its worker.",
    source=ACKNOWLEDGEMENT,
    counter_example="acknowledgement.other-channel-can-hit-another-task",
)
def test_an_ack_on_another_channel_closes_that_channel(stage, queue, publish):
    [task] = publish("a task")
    connection = stage.connect()
    receiving, other = connection.channel(), connection.channel()
    method, _, _ = receiving.basic_get(queue.name)

    with refused("an ack on another channel is an error", 406, "unknown delivery tag"):
        other.basic_ack(method.delivery_tag)
        other.queue_declare(queue.name, passive=True)

    assert connection.is_open
    assert receiving.is_open
    receiving.close()
    assert [each.task for each in queue.drain()] == [task], "the task was not held by the channel that received it"


@hazard(
    "acknowledgement.other-channel-can-hit-another-task",
    "If the other channel holds a task of its own under the same delivery tag, the ack raises nothing, and deletes "
    "that task instead.",
    source=server_source("4.0.5", "deps/rabbit/src/rabbit_channel.erl"),
)
def test_an_ack_on_another_channel_can_delete_the_wrong_task(stage, queue, publish):
    mine, innocent = publish("mine", "innocent")
    connection = stage.connect()
    receiving, other = connection.channel(), connection.channel()
    method, _, body = receiving.basic_get(queue.name)
    _, _, others_body = other.basic_get(queue.name)
    assert (body.decode(), others_body.decode()) == (mine, innocent)

    other.basic_ack(method.delivery_tag)  # meant for "mine"
    other.queue_declare(queue.name, passive=True)

    assert other.is_open
    connection.close()
    assert [each.task for each in queue.drain()] == [mine]


@guarantee(
    "acknowledgement.double-ack-is-refused",
    "Acknowledging a task twice closes the channel with 406, unknown delivery tag.",
    source=CONFIRMS.section("consumer-acks-double-acking"),
)
def test_a_double_ack_closes_the_channel(stage, queue, publish):
    publish("a task")
    channel = stage.connect().channel()
    method, _, _ = channel.basic_get(queue.name)
    channel.basic_ack(method.delivery_tag)

    with refused("a double ack is an error", 406, "unknown delivery tag"):
        channel.basic_ack(method.delivery_tag)
        channel.queue_declare(queue.name, passive=True)

    assert queue.drain() == []


# Forgotten acknowledgement


@hazard(
    "acknowledgement.forgotten-acks-pile-up",
    "If basic_ack is forgotten, messages_unacknowledged grows, as rabbitmqctl list_queues shows.",
    source=ACKNOWLEDGEMENT,
    needs=["ctl"],
)
def test_forgotten_acks_pile_up(queue, workers, publish):
    [worker] = workers(1, forget_ack=True)
    tasks = publish(*(f"task {n}" for n in range(1, 8)))
    worker.finishes(*tasks)

    counts = claim(
        "rabbitmqctl shows 7 unacknowledged and none ready",
        lambda: (now := queue.counts()) and now.unacknowledged == 7 and now,
    )
    assert counts.ready == 0


@hazard(
    "acknowledgement.forgotten-acks-come-back",
    "If basic_ack is forgotten, the tasks are redelivered when the worker quits, though it has done them all.",
    source=ACKNOWLEDGEMENT,
)
def test_forgotten_acks_come_back_when_the_worker_quits(queue, workers, publish):
    [worker] = workers(1, forget_ack=True)
    tasks = publish(*(f"task {n}" for n in range(1, 8)))
    worker.finishes(*tasks)

    worker.close_connection()

    returned = queue.drain()
    assert sorted(each.task for each in returned) == tasks
    assert all(each.redelivered for each in returned)


# No message timeouts

BROKER_ENFORCES_A_TIMEOUT = "the broker enforces an acknowledgement timeout by default (30 minutes)"


@guarantee(
    "acknowledgement.no-timeouts",
    "There aren't any message timeouts: it is fine if processing takes a very, very long time. (A timeout that the "
    "broker has by default is made one second long for this.)",
    source=TUTORIAL_2_OF_2019,
    needs=["ctl", "configure"],
    broken_on=[
        BrokenOn("classic", ">=3.8.15,<4.3", BROKER_ENFORCES_A_TIMEOUT, release_note("3.8.15")),
        BrokenOn("quorum", ">=3.8.15", BROKER_ENFORCES_A_TIMEOUT, release_note("3.8.15")),
    ],
)
def test_there_are_no_message_timeouts(stage, workers, publish):
    with stage.compressed_ack_timeout(seconds=1) as timeout:
        first, second = workers(2, prefetch=1, hold=True)
        [task] = publish("a very, very long task")
        first.wait_until_started(task)

        taken = watch(timeout * 4, lambda: second.tasks)

    assert not taken, "the broker took the task from the worker that was busy with it, and gave it to another"
