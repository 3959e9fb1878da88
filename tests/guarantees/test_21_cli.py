"""The command line: what the tutorial's ``rabbitmqctl list_queues`` and its neighbours tell an operator."""

import contextlib

from workqueue.broker.errors import CtlFailed
from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CHANNELS, CONSUMERS, RABBITMQCTL, TUTORIAL_2, release_note, server_source
from workqueue.guarantee.verdict import Broken
from workqueue.guarantee.waiting import claim

CTL = ["ctl"]
WRONG_USAGE = 64  # rabbitmqctl's exit status for commands and columns that it does not know


def rows(broker, *command):
    """What a command of rabbitmqctl lists: a list of columns for each line."""
    return [line.split("\t") for line in broker.ctl(*command).splitlines()]


def row_of(broker, name, *command):
    """The line that begins with a name."""
    return next((row for row in rows(broker, *command) if row[0] == name), None)


@contextlib.contextmanager
def accepted():
    """What rabbitmqctl does not accept breaks the promise."""
    try:
        yield
    except CtlFailed as error:
        if error.status != WRONG_USAGE:
            raise
        raise Broken(str(error)) from error


@guarantee(
    "cli.columns-come-in-the-order-asked",
    "rabbitmqctl list_queues shows the columns that it was asked for, in that order.",
    source=TUTORIAL_2.section("message-acknowledgment"),
    needs=CTL,
    proved_by=[caught("shuffles-columns", "1 unacknowledged, 2 ready")],
)
def test_columns_come_in_the_order_in_which_they_were_asked_for(broker, queue, publish, stage):
    publish("held", "ready", "ready too")
    holder = stage.client()
    assert holder.get(queue.name) is not None

    asked = ("list_queues", "name", "messages_unacknowledged", "messages_ready", "durable")
    claim("1 unacknowledged, 2 ready", lambda: row_of(broker, queue.name, *asked) == [queue.name, "1", "2", "true"])


@guarantee(
    "cli.shows-names-and-messages-by-default",
    "rabbitmqctl list_queues, asked for nothing in particular, shows names and numbers of messages.",
    source=RABBITMQCTL.section("list_queues"),
    needs=CTL,
    proved_by=[caught("shuffles-columns", "name and messages")],
)
def test_names_and_messages_are_the_default(broker, queue, publish):
    publish("a task", "another task")

    claim("name and messages", lambda: row_of(broker, queue.name, "list_queues") == [queue.name, "2"])


@guarantee(
    "cli.counters-add-up",
    "messages_ready and messages_unacknowledged add up to messages.",
    source=RABBITMQCTL.section("list_queues"),
    needs=CTL,
    proved_by=[caught("miscounts", "7 are 4 and 3")],
)
def test_ready_and_unacknowledged_add_up(broker, queue, publish, stage):
    publish(*(f"task {n}" for n in range(1, 8)))
    holder = stage.client()
    for _ in range(3):
        holder.get(queue.name)

    asked = ("list_queues", "name", "messages", "messages_ready", "messages_unacknowledged")
    claim("7 are 4 and 3", lambda: row_of(broker, queue.name, *asked) == [queue.name, "7", "4", "3"])


@guarantee(
    "cli.shows-the-queue-type",
    "rabbitmqctl list_queues shows the type of each queue.",
    source=RABBITMQCTL.section("list_queues"),
    needs=CTL,
    proved_by=[
        caught("lists-nothing", "`shown is not None"),
        caught("declares-classic", "`stage.queue_type in shown[1]", on="quorum"),
        caught("declares-quorum", "`stage.queue_type in shown[1]", on="classic"),
    ],
)
def test_the_queue_type_is_shown(broker, queue, stage):
    shown = row_of(broker, queue.name, "list_queues", "name", "type")
    assert shown is not None
    # 4.3 shows the name of the module for types that it did not come with, and the plain name for these two.
    assert stage.queue_type in shown[1]


@guarantee(
    "cli.mirror-columns-are-accepted",
    "rabbitmqctl list_queues accepts the columns of mirrored queues, slave_pids and synchronised_slave_pids.",
    source=RABBITMQCTL.section("list_queues"),
    needs=CTL,
    broken_on=[
        BrokenOn(kind, ">=4.0", "there are no mirrored queues any more, and no columns for them", release_note("4.0.1"))
        for kind in ("classic", "quorum")
    ],
    proved_by=[caught("lists-nothing", "`shown is not None")],
)
def test_the_columns_of_mirrored_queues_are_accepted(broker, queue):
    with accepted():
        shown = row_of(broker, queue.name, "list_queues", "name", "slave_pids", "synchronised_slave_pids")
    assert shown is not None


@guarantee(
    "cli.shows-the-members-of-a-quorum-queue",
    "rabbitmqctl list_queues shows on which nodes a quorum queue has its leader and its members.",
    source=RABBITMQCTL.section("list_queues"),
    queue_types=["quorum"],
    needs=CTL,
    broken_on=[
        BrokenOn(
            "quorum",
            "<3.10",
            "there are no such columns (seen on 3.8.9; 3.10.8 has them)",
            server_source("3.10.8", "deps/rabbitmq_cli/lib/rabbitmq/cli/ctl/commands/list_queues_command.ex"),
        )
    ],
    proved_by=[
        caught("lists-nothing", "`shown is not None"),
        caught("shuffles-columns", "`shown is not None"),
        caught("lists-names-only", "leader, members and those online are on the node"),
    ],
)
def test_leader_and_members_are_shown(broker, queue):
    with accepted():
        shown = row_of(broker, queue.name, "list_queues", "name", "leader", "members", "online")
    node = broker.ctl("eval", "node().").strip().strip("'")
    assert shown is not None
    on_the_node = [node in column for column in shown[1:]]
    assert on_the_node == [True] * 3, f"leader, members and those online are on the node {node}, and shown is {shown}"


@guarantee(
    "cli.shows-consumers-and-their-prefetch",
    "rabbitmqctl list_consumers shows who consumes from a queue, how it acknowledges, and its prefetch.",
    source=CONSUMERS.section("active-consumer"),
    needs=CTL,
    proved_by=[caught("raises-prefetch", "`sorted(shown) == sorted([[tags[0], 'true', '7'], [tags[1], 'fals")],
)
def test_consumers_are_shown_with_their_prefetch(broker, queue, stage):
    careful, careless = stage.client(), stage.client()
    careful.qos(7)
    tags = [careful.consume(queue.name), careless.consume(queue.name, auto_ack=True)]

    asked = ("list_consumers", "queue_name", "consumer_tag", "ack_required", "prefetch_count")
    shown = [row[1:] for row in rows(broker, *asked) if row[0] == queue.name]
    assert sorted(shown) == sorted([[tags[0], "true", "7"], [tags[1], "false", "0"]])


@guarantee(
    "cli.shows-what-a-channel-holds",
    "rabbitmqctl list_channels shows how many messages a channel holds unacknowledged.",
    source=CHANNELS.section("monitoring"),
    needs=CTL,
    proved_by=[caught("raises-prefetch", "a channel with prefetch 11 holds 5")],
)
def test_what_a_channel_holds_is_shown(broker, queue, publish, stage):
    publish(*(f"task {n}" for n in range(1, 6)))
    holder = stage.client()
    holder.qos(11)
    holder.consume(queue.name)
    holder.wait_until_holding(5)

    claim(
        "a channel with prefetch 11 holds 5",
        lambda: ["11", "5"] in rows(broker, "list_channels", "prefetch_count", "messages_unacknowledged"),
    )


@guarantee(
    "cli.knows-deprecated-features",
    "rabbitmqctl list_deprecated_features tells which features are deprecated, such as transient queues.",
    source=release_note("3.13.0"),
    needs=CTL,
    broken_on=[
        BrokenOn(kind, "<3.13", "there is no such command yet", release_note("3.13.0"))
        for kind in ("classic", "quorum")
    ],
    proved_by=[caught("lists-nothing", "`'transient_nonexcl_queues' in listed")],
)
def test_deprecated_features_are_listed(broker, queue):
    with accepted():
        listed = broker.ctl("list_deprecated_features")
    assert "transient_nonexcl_queues" in listed
