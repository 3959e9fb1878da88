"""Redelivery: what becomes of a task that is acknowledged, handed back, refused, or still held when a channel ends."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.sources import CHANNELS, CONFIRMS, LENGTH_LIMIT, NACK, RELIABILITY, server_source
from workqueue.guarantee.waiting import claim, disconnected, refused

MULTIPLE = CONFIRMS.section("consumer-acks-multiple-parameter")
REQUEUE = CONFIRMS.section("consumer-nacks-requeue")
CHANNEL_SOURCE = server_source("4.0.5", "deps/rabbit/src/rabbit_channel.erl")

TASKS = [f"task {n}" for n in range(1, 6)]


def holder_of(stage, queue, *tasks, prefetch=0):
    """A client that holds these tasks, just published, unacknowledged."""
    client = stage.client()
    client.qos(prefetch)
    client.consume(queue.name)
    stage.publish(*tasks, queue=queue)
    client.wait_until_holding(len(tasks))
    return client


def come_back(stage, queue, *tasks):
    """Claim that these tasks come back, each marked as redelivered, and no others; those that do come at once."""
    other = stage.client()
    other.consume(queue.name)
    other.receives(*tasks)
    other.receives(*stage.publish("the last task", queue=queue))
    *returned, _ = other.received
    assert sorted(delivery.task for delivery in returned) == sorted(tasks)
    assert all(delivery.redelivered for delivery in returned), f"not marked as redelivered: {returned}"


# Acknowledging


@guarantee(
    "redelivery.multiple-ack-covers-all-before",
    "With multiple, an acknowledgement covers its task and all that the channel was sent before it, and no later one.",
    source=MULTIPLE,
    counter_example="redelivery.single-ack-covers-one",
)
def test_a_multiple_ack_covers_all_before_it(stage, queue):
    worker = holder_of(stage, queue, *TASKS)

    worker.ack(worker.received[2], multiple=True)
    worker.sync()
    worker.close()

    come_back(stage, queue, *TASKS[3:])


@hazard(
    "redelivery.single-ack-covers-one",
    "Without multiple, an acknowledgement covers its own task only: those before it come back.",
    source=MULTIPLE,
)
def test_a_single_ack_covers_one_task(stage, queue):
    worker = holder_of(stage, queue, *TASKS)

    worker.ack(worker.received[2])
    worker.sync()
    worker.close()

    come_back(stage, queue, *TASKS[:2], *TASKS[3:])


@guarantee(
    "redelivery.tag-zero-acks-all",
    "Acknowledging delivery tag 0 with multiple acknowledges everything that the channel holds.",
    source=CHANNEL_SOURCE,
)
def test_tag_zero_with_multiple_acks_everything(stage, queue):
    worker = holder_of(stage, queue, *TASKS)

    worker.ack(0, multiple=True)
    [held] = stage.publish("a task not acknowledged", queue=queue)
    worker.receives(held)
    worker.close()

    come_back(stage, queue, held)


@guarantee(
    "redelivery.ack-with-auto-ack-is-refused",
    "A worker that acknowledges although it consumes with automatic acknowledgement loses its channel: 406, unknown "
    "delivery tag.",
    source=CONFIRMS.section("consumer-acks-double-acking"),
)
def test_an_ack_on_an_automatic_consumer_closes_the_channel(stage, queue, publish):
    worker = stage.client()
    worker.consume(queue.name, auto_ack=True)
    publish("a task")
    [delivery] = worker.wait_until_holding(1)

    with refused("there is nothing to acknowledge", 406, "unknown delivery tag"):
        worker.ack(delivery)
        worker.sync()


ROUNDS, ACKS = 5, 500


def _returned_after_acks_and_close(stage, queue):
    """How many come back, of tasks whose acks were sent immediately before a channel was closed, in each round."""
    returned = []
    for number in range(ROUNDS):
        worker, other = stage.client(), stage.client()
        worker.consume(queue.name)
        *acked, held = worker.publish(*(f"task {number}.{n}" for n in range(ACKS + 1)), queue=queue.name)
        worker.wait_until_holding(ACKS + 1)

        worker.ack_and_close(worker.received[:ACKS])

        # The one that was not acknowledged comes back last.
        other.consume(queue.name)
        other.receives(held)
        *again, _ = other.tasks
        assert again == [task for task in acked if task in again]
        assert all(delivery.redelivered for delivery in other.received)
        other.ack(0, multiple=True)
        other.sync()
        other.close()
        returned.append(len(again))
    stage.evidence.proof("broker", f"of {ACKS} acks sent immediately before a close, these came back: {returned}")
    return returned


@guarantee(
    "redelivery.acks-before-close-count",
    "On a classic queue, acknowledgements that are sent immediately before the channel is closed count.",
    source=CHANNELS.section("lifecycle"),
    queue_types=["classic"],
)
def test_acks_sent_before_the_channel_closes_count(stage, queue):
    assert _returned_after_acks_and_close(stage, queue) == [0] * ROUNDS


@hazard(
    "redelivery.acks-before-close-can-be-lost",
    "On a quorum queue, acknowledgements that are sent immediately before the channel is closed can be lost, and their "
    "tasks come back, marked as redelivered. (How many did is measured; any number from none up is possible.)",
    source=CHANNELS.section("lifecycle"),
    queue_types=["quorum"],
)
def test_acks_sent_before_the_channel_closes_can_be_lost(stage, queue):
    # That nothing but those comes back, each once and marked, is what can be relied on.
    _returned_after_acks_and_close(stage, queue)


# Handing back, and refusing


def _goes_back_to_the_queue(stage, queue, give_back):
    worker = stage.client()
    [task] = stage.publish("a task", queue=queue)
    delivery = worker.get(queue.name)
    assert not delivery.redelivered

    give_back(worker, delivery)
    worker.sync()

    again = claim("it is in the queue again", lambda: worker.get(queue.name))
    assert (again.task, again.redelivered) == (task, True)


@guarantee(
    "redelivery.reject-returns",
    "A task that is rejected with requeue goes back to the queue, and is marked as redelivered.",
    source=REQUEUE,
    counter_example="redelivery.reject-without-requeue-discards",
)
def test_a_rejected_task_goes_back(stage, queue):
    _goes_back_to_the_queue(stage, queue, lambda worker, delivery: worker.reject(delivery, requeue=True))


@guarantee(
    "redelivery.nack-returns",
    "A task that is nacked with requeue goes back to the queue, and is marked as redelivered.",
    source=REQUEUE,
    counter_example="redelivery.nack-without-requeue-discards",
)
def test_a_nacked_task_goes_back(stage, queue):
    _goes_back_to_the_queue(stage, queue, lambda worker, delivery: worker.nack(delivery, requeue=True))


def _is_discarded(stage, queue, refuse):
    worker = holder_of(stage, queue, "refused", "held")

    refuse(worker, worker.received[0])
    worker.sync()
    worker.close()

    come_back(stage, queue, "held")


@hazard(
    "redelivery.reject-without-requeue-discards",
    "A task that is rejected without requeue is discarded for good, if the queue has no dead letter exchange.",
    source=REQUEUE,
)
def test_a_task_rejected_without_requeue_is_gone(stage, queue):
    _is_discarded(stage, queue, lambda worker, delivery: worker.reject(delivery, requeue=False))


@hazard(
    "redelivery.nack-without-requeue-discards",
    "A task that is nacked without requeue is discarded for good, if the queue has no dead letter exchange.",
    source=REQUEUE,
)
def test_a_task_nacked_without_requeue_is_gone(stage, queue):
    _is_discarded(stage, queue, lambda worker, delivery: worker.nack(delivery, requeue=False))


@guarantee(
    "redelivery.multiple-nack-returns-a-batch",
    "With multiple, a nack with requeue returns its task and all that the channel was sent before it, no later one.",
    source=NACK.section("overview"),
)
def test_a_multiple_nack_returns_a_batch(stage, queue):
    worker = holder_of(stage, queue, *TASKS, prefetch=len(TASKS))
    other = stage.client()
    other.consume(queue.name)

    worker.nack(worker.received[2], multiple=True)
    worker.sync()
    claim("three are delivered again", lambda: len(other.received) + len(worker.received) == len(TASKS) + 3)
    again = [*other.received, *worker.received[len(TASKS) :]]

    assert sorted(delivery.task for delivery in again) == TASKS[:3]
    assert all(delivery.redelivered for delivery in again)


@guarantee(
    "redelivery.goes-to-another-waiting-worker",
    "A task that one worker hands back goes to another one that is waiting.",
    source=REQUEUE,
)
def test_a_task_handed_back_goes_to_another_waiting_worker(stage, queue):
    first = holder_of(stage, queue, "a task", prefetch=1)
    second = stage.client()
    second.qos(1)
    second.consume(queue.name)

    first.reject(first.received[0])

    claim("it is delivered again", lambda: second.tasks or first.tasks[1:])
    assert second.tasks == ["a task"], "it went to the same worker again"
    assert second.received[0].redelivered


@hazard(
    "redelivery.single-worker-gets-it-again",
    "A task that the only worker hands back comes straight back to it, as often as it does so (10 times here): "
    "a task that cannot be done keeps it busy.",
    source=REQUEUE,
)
def test_a_task_handed_back_by_the_only_worker_comes_straight_back(stage, queue):
    worker = holder_of(stage, queue, "a task", prefetch=1)

    for times in range(1, 11):
        worker.reject(worker.received[-1])
        claim("it comes straight back", lambda so_far=times: len(worker.received) == so_far + 1)

    assert set(worker.tasks) == {"a task"}
    assert all(delivery.redelivered for delivery in worker.received[1:])


# basic.recover


@guarantee(
    "redelivery.recover-returns-everything-held",
    "basic.recover with requeue returns all that the channel holds: it is delivered again, marked as redelivered.",
    source=CHANNEL_SOURCE,
)
def test_recover_redelivers_everything_that_is_held(stage, queue):
    worker = holder_of(stage, queue, *TASKS)

    worker.recover(requeue=True)

    claim("all are delivered again", lambda: len(worker.received) == 2 * len(TASKS))
    again = worker.received[len(TASKS) :]
    assert sorted(delivery.task for delivery in again) == TASKS
    assert all(delivery.redelivered for delivery in again)


@guarantee(
    "redelivery.recover-without-requeue-disconnects",
    "basic.recover without requeue is not implemented: the broker closes the connection with 540, and what was held is "
    "back in the queue.",
    source=CHANNEL_SOURCE,
)
def test_recover_without_requeue_costs_the_connection(stage, queue):
    worker = holder_of(stage, queue, *TASKS)

    with disconnected("recover without requeue is refused", 540, "NOT_IMPLEMENTED"):
        worker.recover(requeue=False)

    come_back(stage, queue, *TASKS)


# What is held does not count, and what was never delivered is not marked


@hazard(
    "redelivery.length-limit-ignores-held-tasks",
    "A length limit does not protect from tasks that workers hold: with x-max-length 5, a queue can have 20 of them "
    "unacknowledged, and 5 more that are ready.",
    source=LENGTH_LIMIT.section("overview"),
)
def test_a_length_limit_does_not_count_what_is_held(stage):
    queue = stage.declare(x_max_length=5)
    worker = stage.client()
    worker.qos(20)
    worker.consume(queue.name)
    tasks = [f"task {n}" for n in range(1, 26)]
    for task in tasks:
        stage.publish(task, queue=queue)
        # One at a time, so that no more than five are ever ready on their way to the worker.
        if len(worker.received) < 20:
            worker.receives(task)

    claim("five are ready beside the 20 that are held", lambda: queue.ready() == 5)

    assert worker.tasks == tasks[:20]
    for delivery in worker.received:
        worker.ack(delivery)
    worker.receives(*tasks)


@guarantee(
    "redelivery.restart-marks-nothing-new",
    "A task that was never delivered is not marked as redelivered after a restart of RabbitMQ.",
    source=RELIABILITY.section("consumer-side"),
    across="restart",
)
def test_after_a_restart_a_task_never_delivered_is_not_marked(queue, publish):
    publish(*TASKS)
    yield
    assert [(each.task, each.redelivered) for each in queue.drain()] == [(task, False) for task in TASKS]


@guarantee(
    "redelivery.kill-marks-nothing-new",
    "A task that was never delivered is not marked as redelivered after a SIGKILL of RabbitMQ.",
    source=RELIABILITY.section("consumer-side"),
    across="kill",
    broken_on=[
        BrokenOn(
            "classic",
            "",
            "after a crash, a classic queue marks everything that it recovers as redelivered",
            server_source("4.0.5", "deps/rabbit/src/rabbit_variable_queue.erl"),
        )
    ],
)
def test_after_a_kill_a_task_never_delivered_is_not_marked(queue, publish):
    publish(*TASKS)
    yield
    drained = queue.drain()
    assert {each.task for each in drained} >= set(TASKS)
    assert [each.task for each in drained if each.redelivered] == []
