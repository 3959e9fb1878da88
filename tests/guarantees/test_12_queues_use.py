"""Queues: how they are declared again, reached, emptied and removed, and what an error costs."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CHANNELS, QUEUES, TUTORIAL_2, server_source
from workqueue.guarantee.waiting import claim, disconnected, promised, refused

EQUIVALENCE = QUEUES.section("property-equivalence")
ERRORS = CHANNELS.section("error-handling")
DEFAULT_EXCHANGE = TUTORIAL_2.section("putting-it-all-together")

TASKS = [f"task {n}" for n in range(1, 6)]


# Redeclaring, besides what the chapter on durability has


@guarantee(
    "queues.type-defaults-to-classic",
    "A declaration without x-queue-type is the same as one with the type classic.",
    source=EQUIVALENCE,
    queue_types=["classic"],
    proved_by=[caught("refuses-to-redeclare", "no type is the type classic: the broker refused:")],
)
def test_without_a_type_a_queue_is_classic(stage, queue, publish):
    publish(*TASKS)
    with promised("no type is the type classic"):
        assert stage.client().declare(queue.name) == len(TASKS)


@guarantee(
    "queues.redeclare-other-auto-delete-refused",
    "RabbitMQ does not allow redefining an existing queue as one that deletes itself (406); the queue is not harmed.",
    source=EQUIVALENCE,
    proved_by=[
        caught("never-deletes-itself", "the declarations differ: it was accepted"),
        caught("forgives", "the declarations differ: it was accepted"),
    ],
)
def test_redeclaring_as_auto_delete_is_refused(stage, queue, publish):
    publish(*TASKS)

    with refused("the declarations differ", 406, "PRECONDITION_FAILED"):
        stage.client().declare(queue.name, auto_delete=True, arguments=queue.arguments)

    assert [message.task for message in queue.drain()] == TASKS


@hazard(
    "queues.unknown-argument-is-taken-in-silence",
    "A mistyped optional argument is no error: the queue is made without the feature that was meant, also where it "
    "exists already.",
    source=QUEUES.section("optional-arguments"),
    proved_by=[caught("refuses-options", "an unknown argument is no error: the broker refused:")],
)
def test_a_mistyped_argument_is_taken_in_silence(stage):
    with promised("an unknown argument is no error"):
        queue = stage.declare(x_max_lenght=1)

    with promised("nor is it one when the queue exists without it"):
        stage.client().declare(queue.name, arguments={"x-queue-type": stage.queue_type, "x-expire": 1})

    stage.publish(*TASKS, queue=queue)
    assert [message.task for message in queue.drain()] == TASKS


# The default exchange


@guarantee(
    "queues.default-exchange-reaches-every-queue",
    "Every queue is reached through the default exchange under its own name, without a binding.",
    source=DEFAULT_EXCHANGE,
    proved_by=[
        caught("misroutes", "`[message.task for message in one.drain()] == ['for one']"),
        caught("corrupts-bodies", "`[message.task for message in one.drain()] == ['for one']"),
    ],
)
def test_the_default_exchange_reaches_every_queue_by_its_name(stage):
    one, other = stage.declare(), stage.declare()

    stage.publish("for one", queue=one)
    stage.publish("for the other", queue=other)

    assert [message.task for message in one.drain()] == ["for one"]
    assert [message.task for message in other.drain()] == ["for the other"]


@guarantee(
    "queues.default-exchange-cannot-be-changed",
    "The default exchange can neither be bound to nor deleted (403).",
    source=DEFAULT_EXCHANGE,
    proved_by=[
        caught("forgives", "queues cannot be bound to it: it was accepted"),
        caught("ignores-bindings", "queues cannot be bound to it: it was accepted"),
    ],
)
def test_the_default_exchange_can_neither_be_bound_nor_deleted(stage, queue, publish):
    with refused("queues cannot be bound to it", 403, "default exchange"), stage.channel() as channel:
        channel.queue_bind(queue.name, "", "another key")
    with refused("it cannot be deleted", 403, "default exchange"), stage.channel() as channel:
        channel.exchange_delete("")

    publish("a task")
    assert [message.task for message in queue.drain()] == ["a task"]


# Emptying and removing


@guarantee(
    "queues.purge-spares-what-is-held",
    "A purge removes the messages that are ready; those that a consumer holds unacknowledged stay.",
    source=QUEUES.section("purging"),
    proved_by=[
        caught("ignores-purge", "`removed == 3"),
        caught("acks-for-the-dead", "what it held is ready again"),
    ],
)
def test_a_purge_spares_what_a_consumer_holds(stage, queue, publish):
    publish(*TASKS)
    consumer = stage.client()
    consumer.qos(2)
    consumer.consume(queue.name)
    consumer.wait_until_holding(2)

    with promised("a queue can be purged"):
        removed = stage.client().purge(queue.name)

    assert removed == 3
    consumer.close()
    claim("what it held is ready again", lambda: queue.ready() == 2)
    assert [message.task for message in queue.drain()] == TASKS[:2]


NO_CONDITIONS = BrokenOn(
    "quorum",
    "",
    "quorum queues do not support it: it costs the connection (540)",
    server_source("4.3.0", "deps/rabbit/src/rabbit_quorum_queue.erl"),
)


def delete(stage, name, **conditions):
    with stage.channel() as channel:
        channel.queue_delete(name, **conditions)


@guarantee(
    "queues.delete-if-unused-spares-a-queue-in-use",
    "A deletion on condition that the queue is unused is refused while it has a consumer (406), and done afterwards.",
    source=QUEUES.section("declaration"),
    broken_on=[NO_CONDITIONS],
    proved_by=[
        caught("ignores-conditions", "a queue in use is spared: it was accepted"),
        caught("forgives", "a queue in use is spared: it was accepted"),
    ],
)
def test_a_queue_in_use_is_not_deleted(stage, queue):
    consumer = stage.client()
    tag = consumer.consume(queue.name)
    with promised("the queue can be asked"), refused("a queue in use is spared", 406, "in use"):
        delete(stage, queue.name, if_unused=True)

    consumer.cancel(tag)

    with promised("an unused queue is deleted"):
        delete(stage, queue.name, if_unused=True)
    assert not queue.exists()


@guarantee(
    "queues.delete-if-empty-spares-a-queue-with-messages",
    "A deletion on condition that the queue is empty is refused while it has messages (406), and done afterwards.",
    source=QUEUES.section("declaration"),
    broken_on=[NO_CONDITIONS],
    proved_by=[
        caught("ignores-conditions", "a queue with messages is spared: it was accepted"),
        caught("forgives", "a queue with messages is spared: it was accepted"),
    ],
)
def test_a_queue_with_messages_is_not_deleted(stage, queue, publish):
    publish("a task")
    with promised("the queue can be asked"), refused("a queue with messages is spared", 406, "not empty"):
        delete(stage, queue.name, if_empty=True)

    queue.drain()

    with promised("an empty queue is deleted"):
        delete(stage, queue.name, if_empty=True)
    assert not queue.exists()


# What an error costs


@guarantee(
    "queues.soft-error-costs-one-channel",
    "An error such as 404 closes the channel on which it was made; the connection and its other channels go on.",
    source=ERRORS,
    counter_example="queues.hard-error-costs-the-connection",
    proved_by=[
        caught("escalates", "there is no such queue: refused, but the whole connection was closed:"),
        caught("forgives", "there is no such queue: it was accepted"),
    ],
)
def test_a_soft_error_costs_one_channel(stage, queue):
    wrong = stage.client()
    right = stage.client(beside=wrong)
    right.consume(queue.name)

    with refused("there is no such queue", 404, "NOT_FOUND"):
        wrong.consume(stage.new_name())

    stage.publish("a task")
    right.receives("a task")
    assert right.connection.is_open


@hazard(
    "queues.hard-error-costs-the-connection",
    "An error such as 540 (a method that is not implemented) closes the connection, with all of its channels.",
    source=ERRORS,
    proved_by=[
        caught("renames-errors", "basic.recover without requeue is not implemented: refused, but with"),
        caught("always-recovers", "basic.recover without requeue is not implemented: it was accepted"),
    ],
)
def test_a_hard_error_costs_the_connection(stage):
    wrong = stage.client()
    bystander = stage.client(beside=wrong)

    with disconnected("basic.recover without requeue is not implemented", 540, "NOT_IMPLEMENTED"):
        wrong.recover(requeue=False)

    claim("the other channel is closed with it", lambda: not bystander.is_open)
