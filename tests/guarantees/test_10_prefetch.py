"""Prefetch: how many unacknowledged messages RabbitMQ lets a consumer hold."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONFIRMS, CONSUMER_PREFETCH, NACK, QUORUM_QUEUES, release_note, server_source
from workqueue.guarantee.waiting import claim, promised

QOS = CONFIRMS.section("channel-qos-prefetch")


def numbered(count):
    """So many tasks."""
    return [f"task {n}" for n in range(1, count + 1)]


def fenced(stage, queue, client):
    """Prove that the queue had its chance to send more: it took a message that came later, and answered."""
    client.declare(queue.name, passive=True)  # what it gave back is with the queue
    stage.publish("fence", queue=queue)
    queue.ready()
    client.declare(queue.name, passive=True)


# What is counted


@guarantee(
    "prefetch.per-consumer",
    "The prefetch count applies to each consumer on its own: two consumers on one channel hold n messages each.",
    source=CONSUMER_PREFETCH.section("single-consumer"),
    proved_by=[caught("raises-prefetch", "`sorted(holders) == sorted([first, first, second, second])")],
)
def test_the_prefetch_count_is_per_consumer(stage, queue, publish):
    client = stage.client()
    client.qos(2)
    first, second = client.consume(queue.name), client.consume(queue.name)

    publish(*numbered(6))

    claim("each consumer holds 2", lambda: len(client.received) >= 4)
    fenced(stage, queue, client)
    holders = [delivery.consumer for delivery in client.received]
    assert sorted(holders) == sorted([first, first, second, second])


@guarantee(
    "prefetch.applies-to-new-consumers",
    "A new prefetch count applies to the consumers that come after it; those before it keep theirs.",
    source=CONSUMER_PREFETCH.section("overview"),
    proved_by=[
        caught("lowers-prefetch", "the consumers hold 1 and 3"),
        caught("raises-prefetch", "`sorted(holders) == sorted([before, after, after, after])"),
    ],
)
def test_a_new_prefetch_count_applies_to_new_consumers(stage, queue, publish):
    client = stage.client()
    client.qos(1)
    before = client.consume(queue.name)
    client.qos(3)
    after = client.consume(queue.name)

    publish(*numbered(6))

    claim("the consumers hold 1 and 3", lambda: len(client.received) >= 4)
    fenced(stage, queue, client)
    holders = [delivery.consumer for delivery in client.received]
    assert sorted(holders) == sorted([before, after, after, after])


@hazard(
    "prefetch.set-too-late",
    "basic.qos after basic.consume does not bind the consumer that is there already: it is sent everything.",
    source=CONSUMER_PREFETCH.section("overview"),
    proved_by=[caught("lowers-prefetch", "client 1 receives ['task 1', 'task 2', 'task 3', 'task 4', 'task 5")],
)
def test_a_prefetch_count_that_is_set_too_late_binds_nobody(stage, queue, publish):
    client = stage.client()
    client.consume(queue.name)
    client.qos(1)

    tasks = publish(*numbered(10))

    client.receives(*tasks)


@hazard(
    "prefetch.ignored-with-auto-ack",
    "A prefetch count has no effect on a consumer with automatic acknowledgement: it is sent everything.",
    source=QOS,
    proved_by=[caught("wants-acks", "client 1 receives ['task 1', 'task 2', 'task 3', 'task 4', 'task 5")],
)
def test_automatic_acknowledgement_ignores_the_prefetch_count(stage, queue, publish):
    client = stage.client()
    client.qos(1)
    client.consume(queue.name, auto_ack=True)

    tasks = publish(*numbered(10))

    client.receives(*tasks)


@guarantee(
    "prefetch.zero-is-unlimited",
    "A prefetch count of 0 means no limit on the number of unacknowledged messages.",
    source=QOS,
    broken_on=[
        BrokenOn(
            "quorum",
            "",
            "a consumer without a limit holds no more than 2000 messages",
            server_source("4.0.5", "deps/rabbit/src/rabbit_quorum_queue.erl"),
        )
    ],
    proved_by=[caught("lowers-prefetch", "it is sent 2000 at least")],
)
def test_a_prefetch_count_of_0_is_no_limit(stage, queue):
    producer = stage.client()
    producer.confirm()
    producer.publish(*numbered(2100), queue=queue.name, persistent=False)
    client = stage.client()
    client.qos(0)

    client.consume(queue.name)

    claim("it is sent 2000 at least", lambda: len(client.received) >= 2000)
    claim("it is sent all 2100", lambda: len(client.received) == 2100, within=3)


# What frees a slot


@guarantee(
    "prefetch.reject-frees-a-slot",
    "A message that is rejected without requeueing makes room for exactly one more.",
    source=NACK,
    proved_by=[
        caught("swallows-rejections", "client 1 receives ['task 3']"),
        caught("raises-prefetch", "`client.tasks == tasks[:4]"),
    ],
)
def test_a_reject_makes_room_for_one_more(stage, queue, publish):
    tasks = publish(*numbered(5))
    client = stage.client()
    client.qos(2)
    client.consume(queue.name)
    first, second = client.receives(*tasks[:2])

    client.reject(first, requeue=False)
    client.receives(tasks[2])
    client.nack(second, requeue=False)
    client.receives(tasks[3])

    fenced(stage, queue, client)
    assert client.tasks == tasks[:4]


@guarantee(
    "prefetch.multiple-ack-frees-all",
    "An ack of several messages at once makes room for exactly as many.",
    source=CONFIRMS.section("consumer-acks-multiple-parameter"),
    proved_by=[
        caught("narrows-multiple", "client 1 receives ['task 5', 'task 6', 'task 7']"),
        caught("ignores-prefetch", "`client.tasks == tasks[:7]"),
    ],
)
def test_an_ack_of_several_makes_room_for_as_many(stage, queue, publish):
    tasks = publish(*numbered(9))
    client = stage.client()
    client.qos(4)
    client.consume(queue.name)
    held = client.receives(*tasks[:4])

    client.ack(held[2], multiple=True)

    client.receives(*tasks[4:7])
    fenced(stage, queue, client)
    assert client.tasks == tasks[:7]


@guarantee(
    "prefetch.bound-across-requeue",
    "Messages that are requeued and redelivered do not let a consumer hold more than n.",
    source=QOS,
    proved_by=[
        caught("raises-prefetch", "`len(client.received) == 2 + 2 * round_"),
        caught("ignores-prefetch", "`len(client.received) == 2 + 2 * round_"),
    ],
)
def test_requeueing_does_not_loosen_the_bound(stage, queue, publish):
    tasks = publish(*numbered(6))
    client = stage.client()
    client.qos(2)
    client.consume(queue.name)
    client.wait_until_holding(2)

    for round_ in range(1, 4):
        for delivery in client.received[-2:]:
            client.nack(delivery)
        claim("as many come as were given back", lambda r=round_: len(client.received) >= 2 + 2 * r)
        fenced(stage, queue, client)
        assert len(client.received) == 2 + 2 * round_

    assert set(client.tasks) <= set(tasks)


@guarantee(
    "prefetch.bound-at-the-delivery-limit",
    "A message that is dropped at its delivery limit makes room for exactly one more.",
    source=QUORUM_QUEUES.section("poison-message-handling"),
    queue_types=["quorum"],
    broken_on=[
        BrokenOn(
            "quorum",
            "<3.11",
            "the consumer gets the room twice, and holds one more than n",
            release_note("3.11.0"),
        )
    ],
    proved_by=[caught("raises-prefetch", "`held.task == poison"), caught("ignores-prefetch", "`held.task == poison")],
)
def test_the_delivery_limit_does_not_loosen_the_bound(stage):
    queue = stage.declare(x_delivery_limit=1)
    poison, *tasks = stage.publish("poison", *numbered(5), queue=queue)
    client = stage.client()
    client.qos(1)
    client.consume(queue.name)

    # Two deliveries exceed the limit of one failure; basic.reject counts as one in every version.
    for deliveries in (1, 2):
        client.wait_until_holding(deliveries)
        fenced(stage, queue, client)
        held = client.received[-1]
        assert held.task == poison
        client.reject(held)

    client.receives(tasks[0])
    fenced(stage, queue, client)
    assert [task for task in client.tasks if task != poison] == tasks[:1]


# One limit for a channel, and one for clients that set none


@guarantee(
    "prefetch.global-is-shared",
    "With global=true the prefetch count is shared by all consumers on the channel.",
    source=CONSUMER_PREFETCH.section("overview"),
    broken_on=[
        BrokenOn(
            "classic",
            ">=4.3",
            "each consumer gets the whole count for itself, and basic.qos says nothing of it",
            release_note("4.3.0"),
        ),
        BrokenOn(
            "quorum",
            "<4.3",
            "basic.consume is refused with 540, and the connection is closed",
            QUORUM_QUEUES.section("global-qos"),
        ),
        BrokenOn(
            "quorum",
            ">=4.3",
            "each consumer gets the whole count for itself, and basic.qos says nothing of it",
            release_note("4.3.0"),
        ),
    ],
    proved_by=[
        caught("swaps-global", "the two consumers of the channel hold 6 messages"),
        caught("raises-prefetch", "the two consumers of the channel hold 4 messages"),
    ],
)
def test_a_global_prefetch_count_is_shared(stage, queue, publish):
    client = stage.client()
    client.qos(3, whole_channel=True)
    with promised("consumers can share a prefetch count"):
        client.consume(queue.name)
        client.consume(queue.name)

    publish(*numbered(8))

    client.wait_until_holding(3)
    fenced(stage, queue, client)
    held = len(client.received)
    assert held == 3, f"the two consumers of the channel hold {held} messages"


@guarantee(
    "prefetch.default-can-be-configured",
    "The setting default_consumer_prefetch limits the consumers of clients that never ask for a limit.",
    source=CONSUMER_PREFETCH.section("configuring-default-prefetch"),
    needs=["ctl", "configure"],
    proved_by=[caught("ignores-default-prefetch", "`client.tasks == tasks[:2]")],
)
def test_a_default_prefetch_count_can_be_configured(stage, queue, publish):
    tasks = publish(*numbered(6))
    with stage.operator.configured("default_consumer_prefetch", "{false, 2}"):
        client = stage.client()
        client.consume(queue.name)
        client.receives(*tasks[:2])
        # No sync() on this channel: that is a basic.qos, and this client is to ask for nothing.
        fenced(stage, queue, client)

    assert client.tasks == tasks[:2]
