"""Limits on length, and on the life of a queue that nobody uses."""

import time

from pika.exceptions import ConnectionClosedByBroker

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import LENGTH_LIMIT, QUORUM_QUEUES, TTL, release_note, server_source
from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import claim, promised

OVERVIEW = LENGTH_LIMIT.section("overview")
DROP_HEAD = LENGTH_LIMIT.section("default-behaviour")
OVERFLOW = LENGTH_LIMIT.section("overflow-behaviour")
BOTH = LENGTH_LIMIT.section("definition-using-x-args")
QUEUE_TTL = TTL.section("queue-ttl")

FEATURES = QUORUM_QUEUES.section("feature-matrix")
RABBIT_FIFO = server_source("4.3.0", "deps/rabbit/src/rabbit_fifo.erl")

TASKS = [f"task {n}" for n in range(1, 6)]

#: Seconds for what only has to come at some time.
AT_LEISURE = 10

#: What of a lease is sure to pass before it is over: a node has a clock of its own, and it may count in milliseconds.
ABOUT = 0.95

NO_REJECT_YET = BrokenOn("quorum", "<3.8.10", "quorum queues refuse x-overflow (406)", release_note("3.8.10"))
NO_EXPIRES_YET = BrokenOn("quorum", "<3.10", "quorum queues refuse x-expires (406)", release_note("3.10.0"))


def all_of(stage, queue):
    """All that a consumer is given. What comes last is published when the rest is here, as it counts for the limit."""
    consumer = stage.client()
    consumer.consume(queue.name)
    claim("all that is ready is delivered", lambda: consumer.received and queue.ready() == 0)
    consumer.publish("last", queue=queue.name)
    consumer.receives("last")
    assert consumer.tasks[-1] == "last"
    return consumer.tasks[:-1]


@guarantee(
    "limits.full-queue-drops-the-oldest",
    "A queue that is longer than its x-max-length drops its oldest messages, and keeps the latest.",
    source=DROP_HEAD,
    counter_example="queue-size.fills-up-when-all-are-busy",
    proved_by=[caught("ignores-length-limit", "`all_of(stage, queue) == TASKS[2:]")],
)
def test_a_full_queue_drops_the_oldest(stage):
    queue = stage.declare(x_max_length=3)

    stage.publish(*TASKS, queue=queue)

    assert all_of(stage, queue) == TASKS[2:]


@guarantee(
    "limits.max-length-bytes-counts-bodies",
    "A queue with x-max-length-bytes keeps as many of the latest messages as their bodies have bytes; nothing else of "
    "them counts.",
    source=OVERVIEW,
    broken_on=[BrokenOn("quorum", ">=4.3", "more than the bodies counts, so that fewer are kept", RABBIT_FIFO)],
    proved_by=[caught("ignores-length-limit", "three remain")],
)
def test_a_limit_in_bytes_counts_the_bodies(stage):
    queue = stage.declare(x_max_length_bytes=3 * len(TASKS[0]))

    stage.publish(*TASKS, queue=queue)

    claim("three remain", lambda: queue.ready() == 3, within=3)
    assert all_of(stage, queue) == TASKS[2:]


@guarantee(
    "limits.first-limit-reached-counts",
    "If a queue has limits on both messages and bytes, the one that is reached first counts.",
    source=BOTH,
    proved_by=[
        caught("ignores-length-limit", "three short messages are kept"),
        caught("ignores-limit-in-bytes", "two long messages are kept"),
    ],
)
def test_the_limit_that_is_reached_first_counts(stage):
    queue = stage.declare(x_max_length=3, x_max_length_bytes=2_500)

    stage.publish(*TASKS, queue=queue)
    claim("three short messages are kept", lambda: queue.ready() == 3)

    stage.publish(*("long" * 250 for _ in range(5)), queue=queue)
    claim("two long messages are kept", lambda: queue.ready() == 2)


@guarantee(
    "limits.reject-publish-keeps-the-oldest",
    "A full queue whose overflow is reject-publish keeps its oldest messages, and refuses (basic.nack) what comes.",
    source=OVERFLOW,
    broken_on=[NO_REJECT_YET],
    counter_example="limits.reject-publish-is-silent-without-confirms",
    proved_by=[caught("ignores-overflow", "none was refused")],
)
def test_a_full_queue_that_rejects_keeps_the_oldest(stage):
    with promised("a queue can reject what comes"):
        queue = stage.declare(x_max_length=3, x_overflow="reject-publish")
    producer = stage.client()
    producer.confirm()

    accepted = []
    # A quorum queue takes a few more before its publishers know that it is full.
    tasks = [f"task {n}" for n in range(1, 51)]
    for number, task in enumerate(tasks):
        producer.publish(task, queue=queue.name)
        claim(f"{task} is answered", lambda number=number: len(producer.confirms) > number)
        if not producer.confirms[-1].ok:
            break
        accepted.append(task)

    assert len(accepted) < len(tasks), "none was refused"
    assert all_of(stage, queue) == accepted == tasks[: len(accepted)]


@hazard(
    "limits.reject-publish-is-silent-without-confirms",
    "Without publisher confirms, what a full queue refuses (overflow reject-publish) is lost, and nobody is told.",
    source=OVERFLOW,
    broken_on=[NO_REJECT_YET],
    proved_by=[
        caught("tells-of-refusals", "`producer.returned == []"),
        caught("ignores-length-limit", "the queue does not take everything"),
    ],
)
def test_without_confirms_what_is_refused_is_lost_in_silence(stage):
    with promised("a queue can reject what comes"):
        queue = stage.declare(x_max_length=3, x_overflow="reject-publish")
    producer, beside = stage.client(), stage.declare()

    tasks = []

    def refuses():
        # A quorum queue takes some more before its publishers know that it is full.
        tasks.append(f"task {len(tasks) + 1}")
        producer.publish(tasks[-1], queue=queue.name, mandatory=True)
        producer.sync()
        stage.publish("tick", queue=beside)  # the node's log is no further behind than this
        return len(tasks) - queue.ready() > 20

    with promised("nobody is told"):
        claim("the queue does not take everything", refuses)
    kept = all_of(stage, queue)
    assert len(kept) < len(tasks)
    assert kept == tasks[: len(kept)]
    assert producer.is_open
    assert producer.returned == []


@guarantee(
    "limits.lower-of-policy-and-argument",
    "If a policy and the arguments of a queue set the same limit, the lower value counts.",
    source=OVERVIEW,
    needs=["ctl"],
    proved_by=[caught("misreads-policies", "the policy limits the bytes")],
)
def test_the_lower_of_policy_and_argument_counts(stage):
    queue = stage.declare(x_max_length=3, x_max_length_bytes=1_000_000)

    with stage.operator.policy(queue, max_length=10, max_length_bytes=2_500):
        claim("the argument limits the messages", lambda: stage.publish(*TASKS, queue=queue) and queue.ready() == 3)
        long = ["long" * 250] * 5
        claim("the policy limits the bytes", lambda: stage.publish(*long, queue=queue) and queue.ready() == 2)


class _Lease:
    """Uses of a queue, each of which has to come before its lease is over; make one before it is declared."""

    def __init__(self, milliseconds):
        self.milliseconds = milliseconds
        self._used_at = time.monotonic()  # at the earliest

    def renew(self, use):
        """Use the queue; if that may have come too late, because of us, nothing can be said of the broker."""
        began = time.monotonic()
        try:
            return use()
        finally:
            gap = 1000 * (time.monotonic() - self._used_at)
            if gap >= self.milliseconds:
                raise Unknown(f"the harness did not use the queue for up to {gap:.0f} of {self.milliseconds} ms")
            self._used_at = began


def _is_gone(stage, queue, client=None):
    """Whether a queue is gone; to ask by declaring it passively, or with basic.get, could count as use."""
    client = client or stage.client()

    def gone():
        nonlocal client
        client.publish("are you there?", queue=queue.name, mandatory=True)
        try:
            client.sync()
        except ConnectionClosedByBroker:
            # A publish in the very moment of the deletion can cost the connection (541): ask again.
            client = stage.client()
        return client.returned

    return gone


@guarantee(
    "limits.unused-queue-is-deleted",
    "A queue with x-expires is deleted, with the messages in it, when nobody has used it for so long.",
    source=QUEUE_TTL,
    broken_on=[NO_EXPIRES_YET],
    proved_by=[
        caught("ignores-expiry", "the queue is deleted"),
        caught("shortens-expiry", "it was deleted too early, after "),
    ],
)
def test_an_unused_queue_is_deleted(stage):
    # Quorum queues look once a second, so that only a longer lease can be told from one that is over at once.
    lease = 300 if stage.queue_type == "classic" else 1_900
    observer = stage.client()
    began = time.monotonic()
    with promised("a queue can expire"):
        queue = stage.declare(x_expires=lease)

    claim("the queue is deleted", _is_gone(stage, queue, observer))
    lived = 1000 * (time.monotonic() - began)
    assert lived >= ABOUT * lease, f"it was deleted too early, after {lived:.0f} of {lease} ms"


@guarantee(
    "limits.consumer-keeps-the-queue",
    "A queue with x-expires is kept for as long as it has a consumer, however idle.",
    source=QUEUE_TTL,
    broken_on=[NO_EXPIRES_YET],
    proved_by=[caught("starves-all", "it was deleted, although it had a consumer")],
)
def test_a_consumer_keeps_the_queue(stage):
    with promised("a queue can expire"):
        used = stage.declare(x_expires=300)
    consumer = stage.client()
    tag = consumer.consume(used.name, auto_ack=True)

    unused = stage.declare(x_expires=1_600)  # more than a second later: quorum queues look once a second
    claim("a queue that waits longer is deleted", _is_gone(stage, unused), within=AT_LEISURE)

    assert stage.knows(used.name), "it was deleted, although it had a consumer"
    stage.publish("a task", queue=used)
    consumer.receives("a task")
    consumer.cancel(tag)
    claim("the queue is deleted without its consumer", _is_gone(stage, used))


@guarantee(
    "limits.redeclaring-keeps-the-queue",
    "A queue with x-expires is kept, with its messages, for as long as it is declared again and again.",
    source=QUEUE_TTL,
    broken_on=[
        NO_EXPIRES_YET,
        BrokenOn("quorum", ">=3.10", "to declare it again does not renew the lease of a quorum queue", FEATURES),
    ],
    proved_by=[
        caught("answers-redeclarations", "the queue is there: the broker refused: ChannelClosedByBroker: (404)")
    ],
)
def test_to_redeclare_a_queue_keeps_it(stage):
    client, observer = stage.client(), stage.client()
    lease = _Lease(1_500)
    with promised("a queue can expire"):
        queue = stage.declare(x_expires=lease.milliseconds)
        stage.publish("kept", queue=queue)
        unused = stage.declare(x_expires=2_500)
    gone = _is_gone(stage, unused, observer)

    def redeclare():
        lease.renew(lambda: client.declare(queue.name, arguments=dict(queue.arguments)))
        return gone()

    with promised("the queue is there"):
        claim("a queue that is not declared again is deleted", redeclare, within=AT_LEISURE)
        assert lease.renew(lambda: client.get(queue.name)) is not None


@guarantee(
    "limits.polling-keeps-the-queue",
    "A queue with x-expires is kept for as long as somebody polls it with basic.get, even if it is empty.",
    source=QUEUE_TTL,
    broken_on=[NO_EXPIRES_YET],
    proved_by=[caught("finds-nothing", "it was deleted, although it was polled")],
)
def test_to_poll_a_queue_keeps_it(stage):
    client, observer = stage.client(), stage.client()
    lease = _Lease(1_500)
    with promised("a queue can expire"):
        queue, unused = stage.declare(x_expires=lease.milliseconds), stage.declare(x_expires=2_500)
    gone = _is_gone(stage, unused, observer)

    def poll():
        lease.renew(lambda: client.get(queue.name))
        return gone()

    with promised("the queue is there"):
        claim("a queue that is not polled is deleted", poll, within=AT_LEISURE)
    assert lease.renew(lambda: stage.knows(queue.name)), "it was deleted, although it was polled"
