"""Acknowledgements in bulk, by mistake and at the last moment: which tasks come back when the channel ends."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.holding import come_back, holder_of
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CHANNELS, CONFIRMS, server_source
from workqueue.guarantee.waiting import refused

MULTIPLE = CONFIRMS.section("consumer-acks-multiple-parameter")
CHANNEL_SOURCE = server_source("4.0.5", "deps/rabbit/src/rabbit_channel.erl")
TASKS = [f"task {n}" for n in range(1, 6)]


@guarantee(
    "redelivery.multiple-ack-covers-all-before",
    "With multiple, an acknowledgement covers its task and all that the channel was sent before it, and no later one.",
    source=MULTIPLE,
    counter_example="redelivery.single-ack-covers-one",
    proved_by=[caught("narrows-multiple", "came back: [Delivery(task='task 1")],
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
    proved_by=[caught("widens-single", "client 2 receives ['task 1', 'task 2', 'task 4', 'task 5']")],
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
    proved_by=[caught("narrows-multiple", "came back: [Delivery(task='task 1")],
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
    proved_by=[
        caught("forgives", "there is nothing to acknowledge: it was accepted"),
        caught("wants-acks", "there is nothing to acknowledge: it was accepted"),
    ],
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

        for delivery in worker.received[:ACKS]:
            worker.ack(delivery)
        worker.close()

        # The one that was not acknowledged comes back, and with it all whose acks were lost.
        other.consume(queue.name)
        other.receives(held)
        [last] = other.receives(*stage.publish("a task from afterwards", queue=queue))
        again = [delivery.task for delivery in other.received if delivery.task not in (held, last.task)]
        assert len(again) == len(set(again))
        assert set(again) <= set(acked)
        assert all(delivery.redelivered for delivery in other.received if delivery is not last)
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
    proved_by=[caught("loses-the-last-acks", "`_returned_after_acks_and_close(stage, queue) == [0] * ROUNDS")],
)
def test_acks_sent_before_the_channel_closes_count(stage, queue):
    assert _returned_after_acks_and_close(stage, queue) == [0] * ROUNDS
