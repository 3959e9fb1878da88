"""Message acknowledgment: what an ack is, what becomes of one that is forgotten, and how long there is time for it."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONFIRMS, TUTORIAL_2, TUTORIAL_2_OF_2019, release_note, server_source
from workqueue.guarantee.waiting import barrier, claim, refused, watch

ACKNOWLEDGEMENT = TUTORIAL_2.section("message-acknowledgment")


# Manual is the default, and an ack is final


@guarantee(
    "acknowledgement.manual-by-default",
    "Manual message acknowledgments are turned on by default.",
    source=ACKNOWLEDGEMENT,
    counter_example="acknowledgement.auto-ack-loses-the-task-in-hand",
    proved_by=[
        caught("auto-acks", "`[each.task for each in queue.drain()] == [task]"),
        caught("acks-for-the-dead", "`[each.task for each in queue.drain()] == [task]"),
    ],
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
    proved_by=[
        caught("resurrects-acked", "`[each.task for each in queue.drain()] == [held]"),
        caught("swallows-acks", "worker 1 receives ['held']: not within"),
    ],
)
def test_an_acked_task_does_not_come_back(queue, workers, publish):
    [worker] = workers(1, prefetch=1, hold=True)
    acked, held = publish("acked", "held")
    worker.wait_until_started(acked)
    assert worker.finish() == acked
    # The broker sends the next one because it has seen the ack of the first.
    worker.receives(held)

    worker.kill()
    barrier("the broker knows that it is gone", lambda: queue.consumers() == 0)

    assert [each.task for each in queue.drain()] == [held]


@guarantee(
    "acknowledgement.other-channel-is-refused",
    "Attempting to acknowledge using a different channel results in a channel-level protocol exception (406), and "
    "the task stays with its worker.",
    source=ACKNOWLEDGEMENT,
    counter_example="acknowledgement.other-channel-can-hit-another-task",
    proved_by=[
        caught("forgives", "an ack on another channel is an error: it was accepted"),
        caught("renames-errors", "an ack on another channel is an error: refused, but with 506"),
    ],
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
    claim("what it held is ready again", lambda: queue.ready() == 1)
    assert [each.task for each in queue.drain()] == [task], "the task was not held by the channel that received it"


@hazard(
    "acknowledgement.other-channel-can-hit-another-task",
    "If the other channel holds a task of its own under the same delivery tag, the ack raises nothing, and deletes "
    "that task instead.",
    source=server_source("4.0.5", "deps/rabbit/src/rabbit_channel.erl"),
    proved_by=[caught("swallows-acks", "`[each.task for each in queue.drain()] == [mine]")],
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
    claim("what was not acknowledged is ready again", queue.ready)
    assert [each.task for each in queue.drain()] == [mine]


@guarantee(
    "acknowledgement.double-ack-is-refused",
    "Acknowledging a task twice closes the channel with 406, unknown delivery tag.",
    source=CONFIRMS.section("consumer-acks-double-acking"),
    proved_by=[
        caught("forgives", "a double ack is an error: it was accepted"),
        caught("renames-errors", "a double ack is an error: refused, but with 506 'RESOURCE_ERROR"),
    ],
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
    proved_by=[caught("auto-acks", "rabbitmqctl shows 7 unacknowledged and none ready")],
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
    proved_by=[
        caught("acks-for-the-dead", "`sorted((each.task for each in returned)) == tasks"),
        caught("auto-acks", "`sorted((each.task for each in returned)) == tasks"),
    ],
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
    proved_by=[
        caught("hangs-up", "the broker took the task from the worker that was busy with it, and"),
        # The tutorial's worker gets no more tasks then; the core subscribes again, and its task goes to the other one.
        caught("cancels-consumers", "the worker that was busy with it, and"),
        caught("starves-one", "the worker that was busy with it, and the other one, get one more each: not within"),
    ],
)
def test_there_are_no_message_timeouts(stage, queue, workers, publish):
    with stage.operator.compressed_ack_timeout(seconds=1) as timeout:
        first, second = workers(2, prefetch=1, hold=True)
        [task] = publish("a very, very long task")
        first.wait_until_started(task)

        taken = watch(timeout * 8, lambda: second.tasks)

    assert not taken, "the broker took the task from the worker that was busy with it, and gave it to another"
    first.finish()
    # Its ack counts, and both are still served: that the other one got nothing so far was not for want of a consumer.
    more = publish("another task", "one more task")
    claim(
        "the worker that was busy with it, and the other one, get one more each",
        lambda: sorted([*first.tasks[1:], *second.tasks]) == sorted(more),
    )
    assert len(second.tasks) == 1
    for worker in (first, second):
        worker.kill()
    barrier("the broker knows that they are gone", lambda: queue.consumers() == 0)
    assert sorted(each.task for each in queue.drain()) == sorted(more), "the task that took so long is not done with"
