"""Order: "queues in RabbitMQ are ordered collections of messages", and what a requeue makes of it."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.holding import work_off
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import (
    NACK,
    QUEUES,
    QUORUM_QUEUES,
    SEMANTICS,
    Source,
    release_note,
    server_source,
)
from workqueue.guarantee.waiting import claim, promised

ORDERING = QUEUES.section("message-ordering")
RETURNED = QUEUES.section("preserving-message-order")
REQUEUED = NACK.section("consumer-acknowledgements-and-publisher-confirms")

RETURNS_ARE_FIFO = Source(
    "Quorum queues keep what is returned in a queue of its own (rabbitmq-website #1731)",
    "https://github.com/rabbitmq/rabbitmq-website/issues/1731",
)

TASKS = [f"task {n}" for n in range(1, 6)]

TO_THE_BACK = BrokenOn(
    "quorum",
    ">=3.10,<4.0",
    "a quorum queue without a delivery limit puts what is requeued at its back",
    release_note("3.10.0"),
)


def holder(stage, queue, count):
    """A client that holds the first messages of a queue, and a consumer no longer."""
    client = stage.client()
    client.qos(count)
    tag = client.consume(queue.name)
    client.wait_until_holding(count)
    client.cancel(tag)
    return client


def order(stage, queue, count):
    """The next messages in the order in which a new consumer gets them."""
    client = stage.client()
    client.consume(queue.name)
    claim(f"{client.name} receives {count} messages", lambda: len(client.received) >= count)
    return client.tasks


# First in, first out


@guarantee(
    "ordering.fifo",
    "Messages published on one channel reach the only consumer of their queue in the order of publication.",
    source=ORDERING,
    counter_example="ordering.competing-consumers-see-disorder",
    proved_by=[
        caught("reorders-publishes", "`consumer.tasks == tasks"),
        caught("swaps-deliveries", "`consumer.tasks == tasks"),
    ],
)
def test_messages_come_in_the_order_in_which_they_were_published(stage, queue):
    producer, consumer = stage.client(), stage.client()
    consumer.consume(queue.name)

    tasks = producer.publish(*(f"task {n}" for n in range(1, 501)), queue=queue.name)

    consumer.receives(*tasks)
    assert consumer.tasks == tasks


@guarantee(
    "ordering.each-publisher-keeps-its-order",
    "Where several producers publish to the same queue, the messages of each keep their order.",
    source=SEMANTICS.section("ordering"),
    proved_by=[
        caught("reorders-publishes", "`[task for task in consumer.tasks if task.startswith('first')] =="),
        caught("swaps-deliveries", "`[task for task in consumer.tasks if task.startswith('first')] =="),
    ],
)
def test_with_two_producers_the_messages_of_each_keep_their_order(stage, queue):
    first, second, consumer = stage.client(), stage.client(), stage.client()
    consumer.consume(queue.name)

    mine = [f"first {n}" for n in range(1, 201)]
    yours = [f"second {n}" for n in range(1, 201)]
    for one, other in zip(mine, yours, strict=True):
        first.publish(one, queue=queue.name)
        second.publish(other, queue=queue.name)

    consumer.receives(*mine, *yours)
    assert [task for task in consumer.tasks if task.startswith("first")] == mine
    assert [task for task in consumer.tasks if task.startswith("second")] == yours


# What is requeued


def requeued(stage, queue, requeue, *, within=None):
    """The order in which a consumer with prefetch 1 gets the messages if it gives the first one back."""
    stage.publish(*TASKS, queue=queue)
    consumer = stage.client()
    consumer.qos(1)
    consumer.consume(queue.name)
    [first] = consumer.wait_until_holding(1)

    requeue(consumer, first)

    return work_off(consumer, len(TASKS) + 1, done=1, within=within)[1:]


@guarantee(
    "ordering.nacked-message-comes-first-again",
    "A message that is requeued with basic.nack goes back to its place at the head of the queue.",
    source=REQUEUED,
    broken_on=[TO_THE_BACK],
    proved_by=[caught("requeues-at-the-tail", "`requeued(stage, queue, lambda consumer, first: consumer.nack(fir")],
)
def test_a_nacked_message_comes_first_again(stage, queue):
    assert requeued(stage, queue, lambda consumer, first: consumer.nack(first)) == TASKS


@guarantee(
    "ordering.rejected-message-comes-first-again",
    "A message that is requeued with basic.reject goes back to its place at the head of the queue.",
    source=REQUEUED,
    broken_on=[TO_THE_BACK],
    proved_by=[caught("requeues-at-the-tail", "`requeued(stage, queue, lambda consumer, first: consumer.reject(f")],
)
def test_a_rejected_message_comes_first_again(stage, queue):
    assert requeued(stage, queue, lambda consumer, first: consumer.reject(first)) == TASKS


@guarantee(
    "ordering.delivery-limit-requeues-at-the-front",
    "A quorum queue that has a delivery limit puts what is requeued back at its head.",
    source=release_note("3.10.0"),
    queue_types=["quorum"],
    counter_example="ordering.without-delivery-limit-requeues-at-the-back",
    proved_by=[caught("requeues-at-the-tail", "`requeued(stage, queue, lambda consumer, first: consumer.nack(fir")],
)
def test_with_a_delivery_limit_a_requeued_message_comes_first_again(stage):
    queue = stage.declare(x_delivery_limit=5)
    assert requeued(stage, queue, lambda consumer, first: consumer.nack(first)) == TASKS


@hazard(
    "ordering.without-delivery-limit-requeues-at-the-back",
    "A quorum queue whose delivery limit is switched off (-1) puts what is requeued at its back.",
    source=QUORUM_QUEUES.section("poison-message-handling"),
    queue_types=["quorum"],
    broken_on=[
        BrokenOn("quorum", "<4.0", "-1 is a limit: what is requeued is dropped at once", release_note("4.0.1")),
        BrokenOn(
            "quorum",
            ">=4.3",
            "what is requeued is at the head of the queue in any case",
            server_source("4.3.0", "deps/rabbit/src/rabbit_channel.erl"),
        ),
    ],
    proved_by=[
        caught("lowers-delivery-limit", "client 1 receives 6 messages"),
        caught("ignores-delivery-limit", "`came == [*TASKS[1:], TASKS[0]]"),
        caught("discards", "client 1 receives 6 messages"),
    ],
)
def test_without_a_delivery_limit_a_requeued_message_comes_last(stage):
    with promised("a delivery limit can be switched off"):
        queue = stage.declare(x_delivery_limit=-1)
    came = requeued(stage, queue, lambda consumer, first: consumer.nack(first), within=3)
    assert came == [*TASKS[1:], TASKS[0]]


@guarantee(
    "ordering.middle-message-goes-back-before-the-rest",
    "A message that is requeued out of the middle comes before all that were not delivered yet.",
    source=REQUEUED,
    broken_on=[TO_THE_BACK],
    proved_by=[caught("requeues-at-the-tail", "`order(stage, queue, 3) == [TASKS[1], TASKS[3], TASKS[4]]")],
)
def test_a_message_out_of_the_middle_comes_before_the_rest(stage, queue, publish):
    publish(*TASKS)
    first = holder(stage, queue, 3)

    first.nack(first.received[1])
    first.sync()

    assert order(stage, queue, 3) == [TASKS[1], TASKS[3], TASKS[4]]


@guarantee(
    "ordering.requeued-one-by-one-keeps-order",
    "Messages that are requeued one by one, the last first, are delivered in their original order.",
    source=REQUEUED,
    broken_on=[
        BrokenOn("quorum", "", "what is requeued first is delivered first", RETURNS_ARE_FIFO),
    ],
    proved_by=[
        caught("requeues-at-the-tail", "`order(stage, queue, 5) == TASKS"),
        caught("swaps-deliveries", "`order(stage, queue, 5) == TASKS"),
    ],
)
def test_what_is_requeued_last_first_keeps_its_order(stage, queue, publish):
    publish(*TASKS)
    first = holder(stage, queue, 3)

    for delivery in reversed(first.received):
        first.nack(delivery)
    first.sync()

    assert order(stage, queue, 5) == TASKS


@guarantee(
    "ordering.nack-multiple-keeps-order",
    "Messages that are requeued all at once (basic.nack with multiple) keep their order.",
    source=REQUEUED,
    broken_on=[TO_THE_BACK],
    proved_by=[
        caught("requeues-at-the-tail", "`order(stage, queue, 5) == TASKS"),
        caught("swaps-deliveries", "`order(stage, queue, 5) == TASKS"),
    ],
)
def test_what_is_requeued_all_at_once_keeps_its_order(stage, queue, publish):
    publish(*TASKS)
    first = holder(stage, queue, 3)

    first.nack(max(each.tag for each in first.received), multiple=True)
    first.sync()

    assert order(stage, queue, 5) == TASKS


@guarantee(
    "ordering.channel-close-returns-in-order",
    "What a consumer held when its channel was closed is delivered again in order, before all that comes after it.",
    source=RETURNED,
    proved_by=[
        caught("requeues-at-the-tail", "`order(stage, queue, 5) == TASKS"),
        caught("acks-for-the-dead", "what it held is ready again"),
    ],
)
def test_what_a_closed_channel_held_comes_again_in_order(stage, queue, publish):
    publish(*TASKS)
    first = stage.client()
    first.qos(3)
    first.consume(queue.name)
    first.wait_until_holding(3)

    first.close()

    claim("what it held is ready again", lambda: queue.ready() == 5)
    assert order(stage, queue, 5) == TASKS


@guarantee(
    "ordering.polled-messages-return-in-order",
    "What was fetched with basic.get when the channel was closed, fewer than ten, is delivered again in order.",
    source=RETURNED,
    counter_example="ordering.ten-polled-messages-return-in-disorder",
    proved_by=[
        caught("requeues-at-the-tail", "`order(stage, queue, 5) == TASKS"),
        caught("acks-for-the-dead", "what it held is ready again"),
    ],
)
def test_what_was_polled_comes_again_in_order(stage, queue, publish):
    publish(*TASKS)
    first = stage.client()
    for task in TASKS[:3]:
        claim(f"{task} is fetched", lambda task=task: first.get(queue.name).task == task)

    first.close()

    claim("what it held is ready again", lambda: queue.ready() == 5)
    assert order(stage, queue, 5) == TASKS


@hazard(
    "ordering.ten-polled-messages-return-in-disorder",
    "Ten or more messages that were fetched from a quorum queue with basic.get come back in disorder when the channel "
    "is closed: in the order of their delivery tags as text (1, 10, 11, 12, 2 ...).",
    source=RETURNED,
    queue_types=["quorum"],
    proved_by=[caught("requeues-at-the-tail", "they came back in the order")],
)
def test_many_that_were_polled_come_again_in_disorder(stage, queue, publish):
    tasks = publish(*(f"task {tag}" for tag in range(1, 13)))
    first = stage.client()
    for task in tasks:
        claim(f"{task} is fetched", lambda task=task: first.get(queue.name).task == task)

    first.close()

    claim("what it held is ready again", lambda: queue.ready() == 12)
    came = order(stage, queue, 12)
    assert came == [f"task {tag}" for tag in sorted(range(1, 13), key=str)], f"they came back in the order {came}"


@guarantee(
    "ordering.held-messages-return-in-order-after-restart",
    "What consumers held when RabbitMQ restarted is delivered again in order, before all that comes after it.",
    source=RETURNED,
    across="restart",
    proved_by=[
        caught("swaps-deliveries", "`[message.task for message in queue.drain()] == TASKS"),
        caught("auto-acks", "`[message.task for message in queue.drain()] == TASKS"),
    ],
)
def test_what_was_held_comes_again_in_order_after_a_restart(stage, queue, publish):
    publish(*TASKS)
    consumer = stage.client()
    consumer.qos(3)
    consumer.consume(queue.name)
    consumer.wait_until_holding(3)
    consumer.sync()
    yield
    assert [message.task for message in queue.drain()] == TASKS


@hazard(
    "ordering.competing-consumers-see-disorder",
    "With several consumers, a message that one of them gives back is delivered after messages that were published "
    "later.",
    source=QUEUES.section("when-messages-can-be-reordered"),
    proved_by=[caught("discards", "client 2 receives ['task 1']")],
)
def test_competing_consumers_see_disorder_after_a_requeue(stage, queue, publish):
    first, second = stage.client(), stage.client()
    first.qos(1)
    first.consume(queue.name)
    publish("task 1")
    [one] = first.wait_until_holding(1)
    second.consume(queue.name)
    publish("task 2")
    second.wait_until_holding(1)

    first.cancel(one.consumer)
    first.nack(one)

    second.receives("task 1")
    assert second.tasks == ["task 2", "task 1"]
