"""Publisher confirms: what the broker answers to a publish, when, and what a producer may conclude from it."""

from workqueue.guarantee.answers import answered
from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import (
    CHANNELS,
    CONFIRMS,
    LENGTH_LIMIT,
    LIMITS,
    PUBLISHERS,
    RELIABILITY,
    release_note,
)
from workqueue.guarantee.waiting import barrier, claim, landed, promised, refused

PUBLISHER_CONFIRMS = CONFIRMS.section("publisher-confirms")
WHEN = CONFIRMS.section("when-publishes-are-confirmed")
MEBIBYTE = 1024 * 1024


def producer_of(stage, **options):
    """A client in confirm mode."""
    client = stage.client(**options)
    client.confirm()
    return client


# Answers


@guarantee(
    "confirms.each-publish-is-answered-once",
    "Every publish is answered exactly once, alone or together with others.",
    source=CONFIRMS.section("server-sent-nacks"),
    proved_by=[
        caught("repeats-confirms", "`sorted(answered(producer.confirms, 500)) == list(range(1, 501))"),
        caught("forges-confirms", "`sorted(answered(producer.confirms, 500)) == list(range(1, 501))"),
    ],
)
def test_each_publish_is_answered_exactly_once(stage, queue):
    producer = producer_of(stage)

    producer.publish(*(f"task {n}" for n in range(1, 501)), queue=queue.name)

    claim("all are answered", lambda: set(answered(producer.confirms, 500)) >= set(range(1, 501)))
    producer.sync()
    assert sorted(answered(producer.confirms, 500)) == list(range(1, 501))
    assert all(confirm.ok for confirm in producer.confirms)


@guarantee(
    "confirms.transient-messages-too",
    "A message that is not persistent is confirmed, too.",
    source=WHEN,
    proved_by=[caught("refuses-publishes", "it is confirmed")],
)
def test_a_transient_message_is_confirmed(stage, queue):
    producer = producer_of(stage)

    producer.publish("a task", queue=queue.name, persistent=False)

    claim("it is confirmed", lambda: [confirm.ok for confirm in producer.confirms] == [True])
    assert [each.task for each in queue.drain()] == ["a task"]


@guarantee(
    "confirms.do-not-wait-for-workers",
    "A confirm says that the broker has the task, not that it was done: it comes without any worker, and while one "
    "holds the task.",
    source=CONFIRMS.section("publisher-confirms"),
    proved_by=[
        caught("loses-confirms", "it is confirmed without any worker"),
        caught("withholds-confirms", "it is confirmed while a worker holds a task"),
        caught("drops-publishes", "client 2 receives ['nobody is there']"),
    ],
)
def test_a_confirm_does_not_wait_for_a_worker(stage, queue):
    producer, worker = producer_of(stage), stage.client()

    producer.publish("nobody is there", queue=queue.name)
    claim("it is confirmed without any worker", lambda: len(producer.confirms) == 1)
    worker.consume(queue.name)
    worker.receives("nobody is there")
    producer.publish("a worker holds it", queue=queue.name)
    worker.receives("a worker holds it")

    claim("it is confirmed while a worker holds a task", lambda: len(producer.confirms) == 2)
    worker.close()
    claim("what it held is ready again", lambda: queue.ready() == 2)
    assert [each.task for each in queue.drain()] == ["nobody is there", "a worker holds it"]


@guarantee(
    "confirms.confirmed-is-there-at-once",
    "A task that was confirmed can be fetched at once, by anybody.",
    source=WHEN,
    proved_by=[
        caught("confirms-early", "was confirmed and is not there"),
        caught("drops-publishes", "was confirmed and is not there"),
    ],
)
def test_what_was_confirmed_can_be_fetched_at_once(stage, queue):
    producer, worker = producer_of(stage), stage.client()

    for number in range(1, 21):
        producer.publish(f"task {number}", queue=queue.name)
        barrier("it is confirmed", lambda number=number: len(producer.confirms) == number)
        fetched = worker.get(queue.name, auto_ack=True)
        assert fetched is not None, f"task {number} was confirmed and is not there"
        assert fetched.task == f"task {number}"


@guarantee(
    "confirms.count-for-each-channel",
    "Confirms count the publishes of their own channel, from 1.",
    source=PUBLISHER_CONFIRMS,
    proved_by=[
        caught("counts-for-the-connection", "`[confirm.tag for confirm in second.confirms] == [1, 2]"),
        caught("forges-confirms", "it is confirmed"),
    ],
)
def test_confirms_count_the_publishes_of_their_channel(stage, queue):
    first = producer_of(stage)
    second = producer_of(stage, beside=first)

    for producer, count in ((first, 3), (second, 2)):
        for number in range(1, count + 1):
            producer.publish("a task", queue=queue.name)
            claim("it is confirmed", lambda p=producer, n=number: len(p.confirms) == n)

    assert [confirm.tag for confirm in first.confirms] == [1, 2, 3]
    assert [confirm.tag for confirm in second.confirms] == [1, 2]


@guarantee(
    "confirms.count-from-confirm-select",
    "What was published before the channel was put into confirm mode is not counted, and not confirmed.",
    source=PUBLISHER_CONFIRMS,
    proved_by=[
        caught("forges-confirms", "`[confirm.tag for confirm in producer.confirms] == [1]"),
        caught("repeats-confirms", "`[confirm.tag for confirm in producer.confirms] == [1]"),
    ],
)
def test_counting_begins_with_confirm_select(stage, queue):
    producer = stage.client()
    producer.publish("before", "before, too", queue=queue.name)

    producer.confirm()
    producer.publish("after", queue=queue.name)

    claim("it is confirmed", lambda: producer.confirms)
    producer.sync()
    assert [confirm.tag for confirm in producer.confirms] == [1]
    assert [each.task for each in queue.drain()] == ["before", "before, too", "after"]


# What is not taken


@guarantee(
    "confirms.mandatory-is-returned-first",
    "A mandatory message that no queue gets is returned (312, NO_ROUTE), and only then confirmed.",
    source=PUBLISHERS.section("unroutable"),
    counter_example="consumers.publish-to-missing-queue-vanishes",
    proved_by=[
        caught("returns-late", "`producer.answers == ['basic.return', 'basic.ack']"),
        caught("ignores-mandatory", "`producer.answers == ['basic.return', 'basic.ack']"),
    ],
)
def test_a_mandatory_message_without_a_queue_is_returned_before_it_is_confirmed(stage, queue):
    producer = producer_of(stage)

    producer.publish("a task", queue=f"{queue.name}-misspelt", mandatory=True)

    claim("it is confirmed", lambda: producer.confirms)
    assert producer.answers == ["basic.return", "basic.ack"]
    [returned] = producer.returned
    assert (returned.task, returned.code, returned.text) == ("a task", 312, "NO_ROUTE")


@guarantee(
    "confirms.full-queue-refuses",
    "With x-overflow=reject-publish, a publish to a full queue is refused with basic.nack, and is not in the queue.",
    source=LENGTH_LIMIT.section("overflow-behaviour"),
    counter_example="confirms.full-queue-drops-what-it-confirmed",
    broken_on=[
        BrokenOn("quorum", "<3.8.10", "quorum queues refuse x-overflow=reject-publish (406)", release_note("3.8.10"))
    ],
    proved_by=[
        caught("keeps-what-it-refuses", "task 3 was refused, and then delivered"),
        caught("hides-refusals", "the queue took everything"),
    ],
)
def test_a_publish_to_a_full_queue_is_refused(stage):
    with promised("a queue can refuse publishes when it is full"):
        queue = stage.declare(x_max_length=2, x_overflow="reject-publish")
    producer, worker = producer_of(stage), stage.client()

    # A quorum queue may take a few more than its limit before it refuses.
    taken = []
    for number in range(1, 51):
        [task] = producer.publish(f"task {number}", queue=queue.name)
        barrier("it is answered", lambda number=number: len(producer.confirms) == number)
        if not producer.confirms[-1].ok:
            break
        taken.append(task)

    assert len(taken) < 50, "the queue took everything"
    assert taken[:2] == ["task 1", "task 2"]
    worker.consume(queue.name)
    worker.receives(*taken)
    # By another channel: this one may not have heard yet that there is room again.
    worker.publish("the last", queue=queue.name)
    worker.receives("the last")
    assert worker.tasks == [*taken, "the last"], f"{task} was refused, and then delivered"


@hazard(
    "confirms.full-queue-drops-what-it-confirmed",
    "A full queue that drops its oldest message, as is the default, confirms everything: a confirmed task can be gone.",
    source=LENGTH_LIMIT.section("default-overflow-behaviour"),
    proved_by=[
        caught("ignores-length-limit", "`worker.tasks == ['task 3', 'the last']"),
        caught("refuses-publishes", "`all((confirm.ok for confirm in producer.confirms))"),
    ],
)
def test_a_full_queue_drops_what_it_confirmed(stage):
    queue = stage.declare(x_max_length=1)
    producer = producer_of(stage)

    for number in range(1, 4):
        producer.publish(f"task {number}", queue=queue.name)
        claim("it is confirmed", lambda number=number: len(producer.confirms) == number)

    assert all(confirm.ok for confirm in producer.confirms)
    worker = stage.client()
    worker.consume(queue.name)
    worker.receives("task 3")
    producer.publish("the last", queue=queue.name)
    worker.receives("the last")
    assert worker.tasks == ["task 3", "the last"]


@hazard(
    "confirms.missing-exchange-loses-what-follows",
    "Publishing to an exchange that does not exist closes the channel (404) a little later: without confirms, all that "
    "was published on it in the meantime is lost without an error.",
    source=CHANNELS.section("error-handling"),
    proved_by=[
        caught("errs-late", "`queue.drain() == []"),
        caught("forgives", "the channel is closed: it was accepted"),
    ],
)
def test_what_follows_a_publish_to_a_missing_exchange_is_lost(stage, queue):
    producer = stage.client()

    producer.publish("a mistake", queue=queue.name, exchange=f"{queue.name}-misspelt")
    producer.publish(*(f"task {n}" for n in range(1, 11)), queue=queue.name)

    with refused("the channel is closed", 404, "no exchange"):
        producer.sync()
    assert producer.connection.is_open
    assert queue.drain() == []


@hazard(
    "confirms.lost-confirm-leads-to-a-duplicate",
    "If the confirm is lost with the connection, the producer cannot know, and publishing again makes a duplicate.",
    source=RELIABILITY.section("publisher-side"),
    proved_by=[
        caught(
            "drops-one-in-three", "`[each.task for each in drained] == ['before', 'charge the card', 'charge the card']"
        ),
        caught("drops-publishes", "the broker has it"),
    ],
)
def test_publishing_again_after_a_lost_confirm_makes_a_duplicate(stage, queue):
    wire = stage.proxy()
    producer = producer_of(stage, proxy=wire)
    stage.publish("before", queue=queue)  # who may not publish is told so here: from now on nobody hears an answer

    landed("the producer hears no answer any more", wire.lose_answers())
    producer.publish("charge the card", queue=queue.name)
    claim("the broker has it", lambda: queue.ready() == 2)
    wire.close()
    barrier("the producer notices", lambda: not producer.is_open)
    assert producer.confirms == []
    stage.publish("charge the card", queue=queue)

    drained = queue.drain()
    assert [each.task for each in drained] == ["before", "charge the card", "charge the card"]
    assert not any(each.redelivered for each in drained), "nothing tells the duplicate from the first"


# Large tasks


def assert_taken(stage, queue, task):
    fetched = stage.client().get(queue.name, auto_ack=True)
    assert fetched is not None, "it was confirmed, and is not there"
    same = fetched.task == task  # said in a word: a difference of so many bytes cannot be shown
    assert same, f"it came out as another than it went in: {len(fetched.task)} bytes"


@guarantee(
    "confirms.fifteen-mebibytes-are-taken",
    "A task of 15 MiB is taken and confirmed.",
    source=LIMITS.section("message-size"),
    proved_by=[
        caught("drops-publishes", "it was confirmed, and is not there"),
        caught("truncates", "it came out as another than it went in: 1048576 bytes"),
        caught("refuses-large-messages", "it is confirmed"),
    ],
)
def test_a_task_of_15_mebibytes_is_taken(stage, queue):
    producer = producer_of(stage)

    [task] = producer.publish("." * 15 * MEBIBYTE, queue=queue.name)

    claim("it is confirmed", lambda: producer.confirms and producer.confirms[0].ok)
    assert_taken(stage, queue, task)


@guarantee(
    "confirms.seventeen-mebibytes-are-taken",
    "A task of 17 MiB is taken and confirmed.",
    source=release_note("4.0.1"),
    broken_on=[
        BrokenOn(
            kind,
            ">=4.0",
            "the default limit went down from 128 to 16 MiB: the channel is closed with 406",
            release_note("4.0.1"),
        )
        for kind in ("classic", "quorum")
    ],
    proved_by=[
        caught("drops-publishes", "it was confirmed, and is not there"),
        caught("truncates", "it came out as another than it went in: 1048576 bytes"),
        caught("refuses-large-messages", "refused: (406, 'PRECONDITION_FAILED - message size')"),
    ],
)
def test_a_task_of_17_mebibytes_is_taken(stage, queue):
    producer = producer_of(stage)

    [task] = producer.publish("." * 17 * MEBIBYTE, queue=queue.name)

    claim("it is confirmed or refused", lambda: producer.confirms or producer.closed_by)
    assert producer.closed_by is None, f"refused: {producer.closed_by}"
    assert producer.confirms[0].ok
    assert_taken(stage, queue, task)


@guarantee(
    "confirms.too-large-closes-one-channel",
    "A task that is larger than max_message_size is refused with 406: its channel is closed, and only that one.",
    source=LIMITS.section("message-size"),
    proved_by=[
        caught("escalates", "a task that is too large: refused, but the whole connection was"),
        caught("forgives", "a task that is too large: it was accepted"),
        caught("renames-errors", "a task that is too large: refused, but with 506 'RESOURCE_ERROR"),
    ],
)
def test_a_task_that_is_too_large_closes_its_channel_alone(stage, queue):
    producer = producer_of(stage)
    other = producer_of(stage, beside=producer)

    # 128 MiB was the largest default that any version had.
    producer.publish("." * (128 * MEBIBYTE + 1), queue=queue.name)

    with refused("a task that is too large", 406, "is larger than"):
        producer.sync()
    other.publish("a task", queue=queue.name)
    claim("the other channel goes on", lambda: other.confirms and other.confirms[0].ok)
    assert [each.task for each in queue.drain()] == ["a task"]
