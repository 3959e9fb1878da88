"""Queues: how they are declared and named, and what RabbitMQ refuses."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import QUEUES, QUORUM_QUEUES, release_note, server_source
from workqueue.guarantee.waiting import claim, disconnected, promised, refused, watch

DURABILITY = QUEUES.section("durability")
EXCLUSIVE = QUEUES.section("exclusive-queues")
TEMPORARY = QUEUES.section("temporary-queues")
NAMES = QUEUES.section("names")

PERMITTED = {"permit.transient_nonexcl_queues": "true"}
DENIED = {"permit.transient_nonexcl_queues": "false"}

TASKS = [f"task {n}" for n in range(1, 6)]


# Transient queues, which 4.3 denies unless its configuration (or its packager) permits them


@guarantee(
    "queues.transient-queue-can-be-declared",
    "A queue can be declared that is neither durable nor exclusive.",
    source=DURABILITY,
    queue_types=["classic"],
    broken_on=[
        BrokenOn(
            "classic",
            "",
            "transient_nonexcl_queues is a deprecated feature that this broker is configured not to permit (541)",
            release_note("4.3.0"),
            DENIED,
        )
    ],
    proved_by=[caught("refuses-transient", "a queue can be transient: the broker refused: ChannelClosedByBroker:")],
)
def test_a_transient_queue_can_be_declared(stage):
    with promised("a queue can be transient"):
        queue = stage.declare(durable=False)

    stage.publish(*TASKS, queue=queue)
    assert [message.task for message in queue.drain()] == TASKS


@hazard(
    "queues.refused-transient-queue-costs-the-connection",
    "Where transient queues are not permitted, declaring one costs the whole connection, with all of its channels.",
    source=release_note("4.3.0"),
    queue_types=["classic"],
    broken_on=[
        BrokenOn("classic", "<3.13", "deprecated features cannot be denied yet", release_note("3.13.0")),
        BrokenOn("classic", "", "this broker permits transient queues", release_note("4.3.0"), PERMITTED),
    ],
    proved_by=[caught("renames-errors", "refused, but with 506")],
)
def test_a_refused_transient_queue_costs_the_connection(stage):
    declaring = stage.client()
    other = stage.client(beside=declaring)

    with disconnected("a transient queue is refused", 541, "transient_nonexcl_queues"):
        declaring.declare(stage.new_name(), durable=False)

    claim("the other channel is closed with it", lambda: not other.is_open)


@guarantee(
    "queues.exclusive-queue-can-be-transient",
    "An exclusive queue can be transient, also where other transient queues are not permitted.",
    source=release_note("4.3.0"),
    queue_types=["classic"],
    proved_by=[caught("refuses-transient", "an exclusive queue can be transient: the broker refused:")],
)
def test_an_exclusive_queue_can_be_transient(stage):
    with promised("an exclusive queue can be transient"):
        name, owner = exclusive(stage, durable=False)

    owner.publish("a reply", queue=name)
    claim("it takes messages", lambda: owner.declare(name, passive=True) == 1)


# Exclusive queues


def exclusive(stage, *, durable):
    """Declare an exclusive queue; its name, and the client whose connection owns it."""
    name, owner = stage.new_name(), stage.client()
    owner.declare(name, durable=durable, exclusive=True)
    return name, owner


@guarantee(
    "queues.exclusive-queue-is-locked",
    "An exclusive queue belongs to its connection: others can neither declare nor consume from it (405).",
    source=EXCLUSIVE,
    queue_types=["classic"],
    proved_by=[
        caught("shares-exclusive", "another connection cannot consume from it: it was accepted"),
        caught("forgives", "another connection cannot consume from it: it was accepted"),
    ],
)
def test_an_exclusive_queue_is_locked_for_others(stage):
    name, owner = exclusive(stage, durable=True)
    consumer, declarer = stage.client(), stage.client()

    with refused("another connection cannot consume from it", 405, "RESOURCE_LOCKED"):
        consumer.consume(name)
    with refused("another connection cannot declare it", 405, "RESOURCE_LOCKED"):
        declarer.declare(name, exclusive=True)

    with promised("another channel of its own connection can"):
        stage.client(beside=owner).consume(name)


@guarantee(
    "queues.exclusive-queue-goes-with-its-connection",
    "An exclusive queue is deleted when its connection is closed, even if it was declared durable.",
    source=EXCLUSIVE,
    queue_types=["classic"],
    proved_by=[caught("never-deletes-itself", "the queue is gone")],
)
def test_an_exclusive_queue_goes_with_its_connection(stage):
    name, owner = exclusive(stage, durable=True)
    owner.publish(*TASKS, queue=name)
    owner.sync()

    owner.connection.end()

    claim("the queue is gone", lambda: not stage.knows(name))


# Queues that delete themselves


NO_AUTO_DELETE = BrokenOn(
    "quorum",
    "",
    "quorum queues refuse auto-delete (406)",
    QUORUM_QUEUES.section("feature-comparison"),
)


def auto_delete(stage):
    """A client that declared an auto-delete queue, and the queue's name."""
    name, client = stage.new_name(), stage.client()
    with promised("a queue can delete itself"):
        client.declare(name, auto_delete=True, arguments={"x-queue-type": stage.queue_type})
    return name, client


@guarantee(
    "queues.auto-delete-goes-with-the-last-consumer",
    "An auto-delete queue is deleted when its last consumer is gone, and not before.",
    source=TEMPORARY,
    broken_on=[NO_AUTO_DELETE],
    proved_by=[
        caught("never-deletes-itself", "the queue is gone"),
        caught("deletes-too-early", "it was deleted while it had a consumer"),
    ],
)
def test_an_auto_delete_queue_goes_with_its_last_consumer(stage):
    name, client = auto_delete(stage)
    first, last = client.consume(name), client.consume(name)

    client.cancel(first)
    # That it is not deleted takes a while to see; the consumer that is left would be told.
    assert not watch(0.5, lambda: client.cancelled), "it was deleted while it had a consumer"
    client.publish("a task", queue=name)
    client.receives("a task")

    client.cancel(last)

    claim("the queue is gone", lambda: not stage.knows(name))


@guarantee(
    "queues.auto-delete-stays-without-a-consumer",
    "An auto-delete queue that never had a consumer stays, even if the connection that declared it is closed.",
    source=TEMPORARY,
    broken_on=[NO_AUTO_DELETE],
    proved_by=[caught("makes-exclusive", "`stage.knows(name)")],
)
def test_an_auto_delete_queue_that_never_had_a_consumer_stays(stage):
    name, client = auto_delete(stage)
    used, consumer = auto_delete(stage)
    consumer.consume(used)

    client.connection.end()
    consumer.connection.end()

    claim("the other, that had a consumer, is gone", lambda: not stage.knows(used))
    assert stage.knows(name)


# What a quorum queue cannot be


@guarantee(
    "queues.quorum-must-be-durable",
    "A quorum queue cannot be transient: such a declaration is refused (406).",
    source=QUORUM_QUEUES.section("feature-comparison"),
    queue_types=["quorum"],
    broken_on=[
        BrokenOn(
            "quorum",
            "",
            "this broker permits no transient queues, of no type: it costs the connection (541)",
            release_note("4.3.0"),
            DENIED,
        )
    ],
    proved_by=[
        caught("makes-durable", "a quorum queue is durable: it was accepted"),
        caught("forgives", "a quorum queue is durable: it was accepted"),
    ],
)
def test_a_quorum_queue_must_be_durable(stage):
    with promised("it costs the channel"), refused("a quorum queue is durable", 406, "non-durable"):
        stage.client().declare(stage.new_name(), durable=False, arguments={"x-queue-type": "quorum"})


@guarantee(
    "queues.quorum-cannot-be-exclusive",
    "A quorum queue cannot be exclusive: such a declaration is refused (406).",
    source=QUORUM_QUEUES.section("feature-comparison"),
    queue_types=["quorum"],
    proved_by=[
        caught("makes-durable", "a quorum queue is not exclusive: it was accepted"),
        caught("never-deletes-itself", "a quorum queue is not exclusive: it was accepted"),
    ],
)
def test_a_quorum_queue_cannot_be_exclusive(stage):
    with refused("a quorum queue is not exclusive", 406, "exclusive"):
        stage.client().declare(stage.new_name(), exclusive=True, arguments={"x-queue-type": "quorum"})


# Names


@guarantee(
    "queues.broker-makes-up-a-name",
    "A queue that is declared without a name gets one from RabbitMQ, another each time, beginning with amq.gen-.",
    source=QUEUES.section("server-named-queues"),
    broken_on=[
        BrokenOn("quorum", ">3.8.9", "quorum queues must be given a name (406)", QUORUM_QUEUES.section("declaring"))
    ],
    proved_by=[caught("renames-queues", "`all((name.startswith('amq.gen-') for name in names))")],
)
def test_the_broker_makes_up_names(stage):
    names = []
    with promised("a queue can be declared without a name"), stage.channel() as channel:
        for _ in range(2):
            declared = channel.queue_declare("", durable=True, arguments={"x-queue-type": stage.queue_type})
            names.append(declared.method.queue)
        for name in names:
            channel.queue_delete(name)

    assert all(name.startswith("amq.gen-") for name in names)
    assert len(set(names)) == 2


@guarantee(
    "queues.reserved-name-is-refused",
    "A queue cannot be given a name that begins with amq. (403).",
    source=NAMES,
    proved_by=[
        caught("forgives", "amq. is reserved: it was accepted"),
        caught("renames-errors", "amq. is reserved: refused, but with 506 'RESOURCE_ERROR"),
    ],
)
def test_a_reserved_name_is_refused(stage):
    arguments = {"x-queue-type": stage.queue_type}
    with refused("amq. is reserved", 403, "reserved prefix"):
        stage.client().declare(f"amq.{stage.new_name()}", arguments=arguments)


@guarantee(
    "queues.name-can-have-255-bytes",
    "A queue's name can be 255 bytes of UTF-8 long.",
    source=NAMES,
    broken_on=[
        BrokenOn(
            "quorum",
            "<3.10",
            "the name of a quorum queue has to be shorter: the connection is closed with 541",
            server_source("3.8.9", "src/rabbit_quorum_queue.erl"),
        )
    ],
    proved_by=[caught("refuses-long-names", "a name of 255 bytes is accepted: the broker refused")],
)
def test_a_name_can_have_255_bytes(stage):
    name = stage.new_name("x" * 238 + "ü")
    client = stage.client()
    with promised("a name of 255 bytes is accepted"):
        client.declare(name, arguments={"x-queue-type": stage.queue_type})
        client.publish("a task", queue=name)
        delivered = claim("the queue works", lambda: client.get(name))

    assert delivered.task == "a task"


@guarantee(
    "queues.passive-declare-of-a-missing-queue-is-refused",
    "A passive declaration asks whether a queue is there: it does not make one, and answers 404 if there is none.",
    source=QUEUES.section("declaration"),
    proved_by=[
        caught("creates-what-is-missing", "there is no such queue: it was accepted"),
        caught("forgives", "there is no such queue: it was accepted"),
    ],
)
def test_a_passive_declaration_makes_no_queue(stage):
    name = stage.new_name()
    for _ in range(2):
        with refused("there is no such queue", 404, "NOT_FOUND"):
            stage.client().declare(name, passive=True)
