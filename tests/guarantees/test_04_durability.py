"""Message durability: "our tasks will still be lost if RabbitMQ server stops", unless it is told to keep them."""

from types import MappingProxyType

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.core_programs import ended
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import QUEUES, TUTORIAL_2, release_note
from workqueue.guarantee.waiting import promised, refused

DURABILITY = TUTORIAL_2.section("message-durability")
EQUIVALENCE = QUEUES.section("property-equivalence")

NOTHING = MappingProxyType({})
TASKS = [f"task {n}" for n in range(1, 11)]


def bodies(drained):
    return [message.task for message in drained]


# The queue


@guarantee(
    "durability.queue-survives-restart",
    "A queue declared durable survives a graceful restart of RabbitMQ.",
    source=DURABILITY,
    across="restart",
    counter_example="durability.transient-queue-is-forgotten",
    proved_by=[caught("forgets-queues", "`queue.exists()"), caught("forgets-the-first-queue", "`queue.exists()")],
)
def test_a_durable_queue_survives_a_restart(queue):
    assert queue.exists()
    yield
    assert queue.exists()


@guarantee(
    "durability.queue-survives-kill",
    "A queue declared durable survives a SIGKILL of RabbitMQ.",
    source=DURABILITY,
    across="kill",
    counter_example="durability.transient-queue-is-forgotten",
    proved_by=[caught("forgets-queues", "`queue.exists()"), caught("forgets-the-first-queue", "`queue.exists()")],
)
def test_a_durable_queue_survives_a_kill(queue):
    assert queue.exists()
    yield
    assert queue.exists()


@hazard(
    "durability.transient-queue-is-forgotten",
    "A queue that is not declared durable is forgotten when RabbitMQ restarts, with the persistent messages in it.",
    source=DURABILITY,
    queue_types=["classic"],
    across="restart",
    broken_on=[
        BrokenOn(
            "classic",
            "",
            "this broker permits no transient queues (deprecated feature, 541), so there is none to be forgotten",
            release_note("4.3.0"),
            {"permit.transient_nonexcl_queues": "false"},
        )
    ],
    proved_by=[caught("makes-durable", "`not transient.exists()")],
)
def test_a_transient_queue_is_forgotten(stage):
    with promised("a queue can be transient"):
        transient = stage.declare(durable=False)
    stage.publish(*TASKS, queue=transient)
    assert transient.ready() == len(TASKS)
    yield
    assert not transient.exists()


# Redeclaring with other arguments


def _is_refused_and_harms_nothing(stage, queue, argument, *, durable=True, arguments=NOTHING):
    stage.publish(*TASKS)
    connection = stage.connect()
    channel = connection.channel()

    with refused(f"redeclaring with another {argument} is an error", 406, argument):
        channel.queue_declare(queue.name, durable=durable, arguments={**queue.arguments, **arguments})

    assert connection.is_open, "only the channel is closed"
    assert bodies(queue.drain()) == TASKS


@guarantee(
    "durability.redeclare-other-durability-refused",
    "RabbitMQ doesn't allow redefining an existing queue as transient; neither queue nor messages are harmed.",
    source=EQUIVALENCE,
    proved_by=[
        caught("forgives", "redeclaring with another durable is an error: it was accepted"),
        caught("renames-errors", "redeclaring with another durable is an error: refused, but with 506"),
    ],
)
def test_redeclaring_as_transient_is_refused(stage, queue):
    _is_refused_and_harms_nothing(stage, queue, "durable", durable=False)


@guarantee(
    "durability.redeclare-other-type-refused",
    "RabbitMQ doesn't allow redefining an existing queue with another type; neither queue nor messages are harmed.",
    source=EQUIVALENCE,
    proved_by=[
        caught("forgives", "redeclaring with another x-queue-type is an error: it was accepted"),
        caught("renames-errors", "redeclaring with another x-queue-type is an error: refused, but with"),
    ],
)
def test_redeclaring_with_another_type_is_refused(stage, queue):
    other = "quorum" if stage.queue_type == "classic" else "classic"
    _is_refused_and_harms_nothing(stage, queue, "x-queue-type", arguments={"x-queue-type": other})


@guarantee(
    "durability.redeclare-other-ttl-refused",
    "RabbitMQ doesn't allow redefining an existing queue with a message TTL; neither queue nor messages are harmed.",
    source=EQUIVALENCE,
    proved_by=[
        caught("forgives", "redeclaring with another x-message-ttl is an error: it was accepted"),
        caught("ignores-ttl", "redeclaring with another x-message-ttl is an error: it was accepted"),
    ],
)
def test_redeclaring_with_a_message_ttl_is_refused(stage, queue):
    _is_refused_and_harms_nothing(stage, queue, "x-message-ttl", arguments={"x-message-ttl": 60_000})


@guarantee(
    "durability.redeclare-other-length-refused",
    "RabbitMQ doesn't allow redefining an existing queue with a length limit; neither queue nor messages are harmed.",
    source=EQUIVALENCE,
    proved_by=[
        caught("forgives", "redeclaring with another x-max-length is an error: it was accepted"),
        caught("ignores-length-limit", "redeclaring with another x-max-length is an error: it was accepted"),
    ],
)
def test_redeclaring_with_a_length_limit_is_refused(stage, queue):
    _is_refused_and_harms_nothing(stage, queue, "x-max-length", arguments={"x-max-length": 5})


@guarantee(
    "durability.redeclare-same-is-harmless",
    "Declaring a queue again with the same arguments changes nothing.",
    source=EQUIVALENCE,
    proved_by=[caught("refuses-to-redeclare", "the same declaration is accepted: the broker refused:")],
)
def test_redeclaring_with_the_same_arguments_changes_nothing(stage, queue, publish):
    publish(*TASKS)

    with promised("the same declaration is accepted"), stage.channel() as channel:
        channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))

    assert queue.ready() == len(TASKS)
    assert bodies(queue.drain()) == TASKS


@guarantee(
    "durability.producer-and-consumer-must-agree",
    "The declaration needs to be the same in producer and consumer: the second to come with another is turned away.",
    source=DURABILITY,
    proved_by=[
        caught("renames-errors", "workqueue worker (2) ends: not within"),
        caught("mutant:declares-nothing", "workqueue worker (2) ends: not within"),
        caught("mutant:producer-declares-nothing", "`late.status != 0"),
    ],
)
def test_producer_and_consumer_must_agree(stage, queue):
    other = "quorum" if stage.queue_type == "classic" else "classic"
    sent = stage.run("new-task", "--queue", queue.name, "--queue-type", stage.queue_type, "A task")
    assert sent.status == 0, sent.output

    turned_away = stage.start("worker", "--queue", queue.name, "--queue-type", other)

    assert ended(turned_away) != 0
    assert "x-queue-type" in turned_away.output

    late = stage.run("new-task", "--queue", queue.name, "--queue-type", other, "Another task")

    assert late.status != 0
    assert "x-queue-type" in late.output
    assert bodies(queue.drain()) == ["A task"]
