"""The acknowledgement timeout: what becomes of a worker, its channel and its task when the ack does not come in time.

The timeout is half a second here; a broker of ours looks at its timers every second.
"""

import itertools
import math
import time

import pytest
from pika.exceptions import ChannelClosedByBroker

from workqueue.broker import Capability
from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.node_settings import configured
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import (
    CONSUMER_CANCEL,
    CONSUMERS,
    QUORUM_QUEUES,
    TUTORIAL_2,
    Source,
    release_note,
    server_source,
)
from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import claim, promised, refused, watch

TIMEOUT = CONSUMERS.section("acknowledgement-timeout")
IN_THE_QUEUE = QUORUM_QUEUES.section("consumer-timeout")
NODE = ["ctl", "configure"]

MILLISECONDS = 500
#: Seconds for the broker to act: the timeout, a tick of its timer, and much more.
SOON = 4

NEVER_ON_CLASSIC = BrokenOn(
    "classic", ">=4.3", "the timeout is never evaluated on classic queues", release_note("4.3.0")
)
CANCELS_INSTEAD = BrokenOn(
    "quorum", ">=4.3", "the broker cancels the consumer, and its channel stays open", release_note("4.3.0")
)


@pytest.fixture(scope="module")
def brief_timeout(workqueue_broker):
    """Channels and consumers that begin in these specs have a timeout of half a second."""
    if Capability.CONFIGURE not in workqueue_broker.capabilities:
        yield  # the spec says so itself
        return
    with configured(workqueue_broker, "consumer_timeout", str(MILLISECONDS)):
        yield


def holding(stage, queue, *, beside=None):
    """A client that holds the first task of the queue, and does nothing about it."""
    client = stage.client(beside=beside)
    client.qos(1)
    client.consume(queue.name)
    client.wait_until_holding(1)
    return client


def acted_on(client):
    """Whether the broker has done something about a client, as far as it has heard."""
    return client.cancelled or client.closed_by


def the_broker_acts(client, *, within=SOON):
    """Wait until the broker has done something about a client that does not ack."""
    claim("the broker closes the channel or cancels the consumer", lambda: acted_on(client), within=within)


def doing_fresh_tasks_until_the_broker_acts(stage, client, queue, *, timeout):
    """The task of this queue that a client has in hand when the broker does something about the client.

    Whatever it does, these tasks are no reason: it acks each when it has the next one, and holds none for long.
    """
    deadline = time.monotonic() + 2 * SOON
    in_hand, since, longest = None, math.inf, 0.0
    for number in itertools.count(1):
        published = time.monotonic()
        [task] = stage.publish(f"fresh task {number}", queue=queue)
        watch(deadline - time.monotonic(), lambda task=task: task in client.tasks or acted_on(client))
        if task in client.tasks:
            if in_hand is not None:
                client.ack(in_hand)
            longest = max(longest, time.monotonic() - since)
            in_hand, since = client.received[-1], published
        if watch(timeout / 10, lambda: acted_on(client)):
            break
        if time.monotonic() > deadline:
            the_broker_acts(client, within=0)
    longest = max(longest, time.monotonic() - since)
    if in_hand is None or longest > timeout / 2:
        raise Unknown(f"the client had no task in hand, or one for too long ({longest:.1f} s): {client!r}")
    return in_hand


# What the broker does


@guarantee(
    "ack-timeout.task-goes-to-another-worker",
    "A task that was not acknowledged within consumer_timeout is taken from its worker and goes to another one.",
    source=TUTORIAL_2.section("message-acknowledgment"),
    needs=NODE,
    broken_on=[NEVER_ON_CLASSIC],
    proved_by=[caught("never-redelivers", "client 2 receives ['a long task']")],
)
def test_a_task_that_is_not_acked_in_time_goes_to_another_worker(stage, queue, publish, brief_timeout):
    [task] = publish("a long task")
    holding(stage, queue)
    other = stage.client()
    other.consume(queue.name)

    [again] = other.receives(task, within=SOON)

    assert again.redelivered


@guarantee(
    "ack-timeout.closes-the-channel",
    "A worker that does not acknowledge within consumer_timeout has its channel closed with 406; its connection stays.",
    source=TIMEOUT,
    needs=NODE,
    broken_on=[NEVER_ON_CLASSIC, CANCELS_INSTEAD],
    proved_by=[
        caught("forgives", "the broker closes the channel or cancels the consumer"),
        caught("renames-errors", "`late.closed_by.reply_code == 406"),
        caught("escalates", "cancelled: [], closed: (406, 'PRECONDITION_FAILED -"),
    ],
)
def test_the_channel_of_a_worker_that_is_late_is_closed(stage, queue, publish, brief_timeout):
    publish("a long task")
    late = holding(stage, queue)

    the_broker_acts(late)

    assert isinstance(late.closed_by, ChannelClosedByBroker), f"cancelled: {late.cancelled}, closed: {late.closed_by}"
    assert late.closed_by.reply_code == 406
    assert "timed out" in late.closed_by.reply_text
    assert late.connection.is_open


@guarantee(
    "ack-timeout.cancels-the-consumer",
    "On a quorum queue, a worker that does not acknowledge within the timeout has its consumer cancelled; its channel "
    "and the other consumers on it live on.",
    source=IN_THE_QUEUE,
    queue_types=["quorum"],
    needs=NODE,
    broken_on=[BrokenOn("quorum", "<4.3", "the channel is closed, with all that is on it", release_note("4.3.0"))],
    proved_by=[caught("hides-cancels", "the broker closes the channel or cancels the consumer")],
)
def test_the_consumer_of_a_worker_that_is_late_is_cancelled(stage, queue, publish, brief_timeout):
    quiet = stage.declare()
    publish("a long task")
    late = holding(stage, queue)
    innocent = late.consume(quiet.name)

    the_broker_acts(late)

    assert late.is_open, f"the channel was closed: {late.closed_by}"
    assert late.cancelled == [late.received[0].consumer]
    stage.publish("a task for the other consumer", queue=quiet)
    [delivery] = late.receives("a task for the other consumer")
    assert delivery.consumer == innocent


@hazard(
    "ack-timeout.bystanders-lose-their-tasks",
    "When a consumer is late, every other consumer on its channel loses the tasks that it holds, too.",
    source=TIMEOUT,
    needs=NODE,
    broken_on=[NEVER_ON_CLASSIC, CANCELS_INSTEAD],
    proved_by=[
        caught("spares-channels", "the channel stayed open, with its other consumers"),
        caught("auto-acks", "the broker closes the channel or cancels the consumer"),
        caught("auto-acks-bystanders", "client 2 receives ['fresh task"),
    ],
)
def test_every_consumer_on_the_channel_loses_its_tasks(stage, queue, publish, brief_timeout):
    others = stage.declare()
    publish("a long task")
    with stage.operator.configured("consumer_timeout", str(4 * MILLISECONDS)):  # time to get the other tasks
        late = holding(stage, queue)
        late.qos(2)  # for the next consumer
        late.consume(others.name)

        # So it is the long task that is overdue, and no other.
        fresh = doing_fresh_tasks_until_the_broker_acts(stage, late, others, timeout=4 * MILLISECONDS / 1000)

    assert not late.is_open, "the channel stayed open, with its other consumers"
    other = stage.client()
    other.consume(others.name)
    [again] = other.receives(fresh.task)
    assert again.redelivered


@guarantee(
    "ack-timeout.fetched-task-times-out-too",
    "A task that was fetched with basic.get and is not acknowledged in time is taken back, too: the channel is closed.",
    source=TIMEOUT,
    needs=NODE,
    broken_on=[NEVER_ON_CLASSIC],
    proved_by=[caught("auto-acks", "the broker closes the channel or cancels the consumer")],
)
def test_a_fetched_task_that_is_not_acked_in_time_is_taken_back(stage, queue, publish, brief_timeout):
    [task] = publish("a long task")
    late = stage.client()
    assert late.get(queue.name).task == task

    the_broker_acts(late)

    assert not late.is_open
    claim("the task is back in the queue", lambda: queue.ready() == 1)


@guarantee(
    "ack-timeout.error-names-the-timeout",
    "When a channel is closed for a late acknowledgement, the error says which timeout was exceeded.",
    source=TIMEOUT,
    needs=NODE,
    broken_on=[
        *(
            BrokenOn(kind, "<3.8.15", "the error names the channel, but no timeout", release_note("3.8.15"))
            for kind in ("classic", "quorum")
        ),
        NEVER_ON_CLASSIC,
        BrokenOn(
            "quorum",
            ">=4.3",
            "it says -1 ms, whatever the timeout is",
            server_source("4.3.5", "deps/rabbit/src/rabbit_channel.erl"),
        ),
    ],
    proved_by=[caught("renames-errors", "ms' in str(late.closed_by)` was claimed")],
)
def test_the_error_names_the_timeout(stage, queue, publish, brief_timeout):
    publish("a long task")
    late = stage.client()
    assert late.get(queue.name) is not None

    the_broker_acts(late)

    assert f"{MILLISECONDS} ms" in str(late.closed_by)


# What the worker hears of it


@guarantee(
    "ack-timeout.late-ack-is-refused",
    "A worker that acknowledges too late is told so: its ack fails.",
    source=TIMEOUT,
    needs=NODE,
    counter_example="ack-timeout.late-ack-goes-unnoticed",
    broken_on=[
        NEVER_ON_CLASSIC,
        BrokenOn("quorum", ">=4.3", "a late ack is ignored without a word", IN_THE_QUEUE),
    ],
    proved_by=[caught("forgives", "a late ack fails: it was accepted")],
)
def test_a_late_ack_fails(stage, queue, publish, brief_timeout):
    [task] = publish("a long task")
    late = holding(stage, queue)
    other = stage.client()
    other.consume(queue.name)
    other.receives(task, within=SOON)

    with refused("a late ack fails", 406, "timed out"):
        late.ack(late.received[0])
        late.sync()


@hazard(
    "ack-timeout.late-ack-goes-unnoticed",
    "On a quorum queue, an ack that comes too late raises nothing and does nothing: another worker has the task, and "
    "neither can know.",
    source=IN_THE_QUEUE,
    queue_types=["quorum"],
    needs=NODE,
    broken_on=[BrokenOn("quorum", "<4.3", "the late worker's channel was closed", release_note("4.3.0"))],
    proved_by=[caught("refuses-settling", "the late ack raises nothing: the broker refused:")],
)
def test_a_late_ack_raises_nothing_and_does_nothing(stage, queue, publish, brief_timeout):
    [task] = publish("a long task")
    late = holding(stage, queue)
    other = stage.client()
    other.consume(queue.name)
    other.receives(task, within=SOON)

    late.ack(late.received[0])

    with promised("the late ack raises nothing"):
        late.sync()
    for client in (late, other):
        client.close()
    claim("the task is back in the queue", lambda: queue.ready() == 1)
    assert [each.task for each in queue.drain()] == [task], "the late ack removed the task"


@guarantee(
    "ack-timeout.cancelled-consumer-gets-nothing-more",
    "A consumer that the broker gave up because it was late is sent nothing any more.",
    source=CONSUMER_CANCEL.section("overview"),
    queue_types=["quorum"],
    needs=NODE,
    broken_on=[
        BrokenOn(
            "quorum",
            ">=4.3",
            "it stays registered until the client answers basic.cancel, which pika never does; with its late ack it is "
            "active again, and is sent tasks that no callback will ever see",
            Source(
                "rabbitmq-server issue 17317",
                "https://github.com/rabbitmq/rabbitmq-server/issues/17317",
            ),
        ),
    ],
    proved_by=[
        caught("auto-acks", "the broker closes the channel or cancels the consumer"),
        caught("never-redelivers", "the task went to a consumer that is no more"),
    ],
)
def test_a_consumer_that_was_cancelled_for_being_late_gets_nothing_more(stage, queue, publish, brief_timeout):
    [task] = publish("a long task")
    late = holding(stage, queue)
    the_broker_acts(late)
    if late.is_open:
        late.ack(late.received[0])
        late.sync()
    healthy = stage.client()
    healthy.qos(10)
    healthy.consume(queue.name)

    publish("the next task")

    # Whatever was to be had before it has been sent to somebody.
    healthy.receives("the next task")
    assert healthy.tasks == [task, "the next task"], "the task went to a consumer that is no more"
