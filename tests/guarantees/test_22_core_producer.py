"""The project's own core: its producer does its part of what the other chapters say of the broker."""

from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import (
    CONFIRMS,
    LENGTH_LIMIT,
    PUBLISHERS,
    README,
    RELIABILITY,
    TUTORIAL_2,
    release_note,
)
from workqueue.guarantee.waiting import barrier, claim, landed, promised

USE = README.section("use-the-core")
CONFIRMS_GUIDE = CONFIRMS.section("publisher-confirms")


def tasks_of(queue):
    return [each.task for each in queue.drain()]


@guarantee(
    "core.messages-are-persistent",
    "What the producer has sent survives a restart of RabbitMQ.",
    source=TUTORIAL_2.section("message-durability"),
    queue_types=["classic"],
    across="restart",
    counter_example="durability.transient-message-is-lost",
    proved_by=[caught("mutant:transient-message", "of 5 messages, 0 survived the restart")],
)
def test_messages_of_the_producer_are_persistent(queue, core):
    producer = core.producer()
    tasks = [f"task {n}" for n in range(1, 6)]
    for task in tasks:
        answer = producer.send(task, queue=queue)
        assert answer.error == "", answer.why
    yield
    kept = tasks_of(queue)
    assert kept == tasks, f"of {len(tasks)} messages, {len(kept)} survived the restart"


@guarantee(
    "core.send-puts-it-in-the-queue-once",
    "When send returns, the message is in the queue, once.",
    source=USE,
    proved_by=[
        caught("mutant:send-twice", "send returned once, and 'one' was in the queue twice"),
        caught("mutant:send-without-waiting", "' was not in the queue"),
        caught("confirms-early", "' was not in the queue"),
    ],
)
def test_what_was_sent_is_in_the_queue_once(stage, queue, core):
    producer, reader = core.producer(), stage.client()

    for task in ("one", "two", "three"):
        answer = producer.send(task, queue=queue)
        fetched, again = (reader.get(queue.name, auto_ack=True) for _ in range(2))

        assert answer.error == "", answer.why
        assert fetched is not None, f"send returned, and {task!r} was not in the queue"
        assert fetched.task == task
        assert again is None, f"send returned once, and {again.task!r} was in the queue twice"

    late = tasks_of(queue)
    assert late == [], f"there came later, too: {late}"


@guarantee(
    "core.refused-is-told",
    "If the broker refuses a message, as a full queue with x-overflow=reject-publish does, send raises Nacked.",
    source=LENGTH_LIMIT.section("overflow-behaviour"),
    counter_example="confirms.full-queue-drops-what-it-confirmed",
    broken_on=[
        BrokenOn("quorum", "<3.8.10", "quorum queues refuse x-overflow=reject-publish (406)", release_note("3.8.10"))
    ],
    proved_by=[
        caught("mutant:no-confirm", "that it refused some was not told"),
        caught("mutant:nack-taken-for-ack", "that it refused some was not told"),
        caught("mutant:send-without-waiting", "that it refused some was not told"),
    ],
)
def test_a_message_that_was_refused_is_told(stage, core):
    with promised("a queue can refuse publishes when it is full"):
        queue = stage.declare(x_max_length=2, x_overflow="reject-publish")
    producer, reader = core.producer(), stage.client()

    # A quorum queue may take a few more than its limit before it refuses.
    errors = []
    while not any(errors) and len(errors) < 200:
        errors.append(producer.send(f"task {len(errors) + 1}", queue=queue).error)

    told = len(errors) - 1
    assert any(errors), f"{len(errors)} sends to a queue for 2 returned: that it refused some was not told"
    assert errors[-1] == "Nacked"
    reader.consume(queue.name)
    reader.receives(*(f"task {n}" for n in range(1, told + 1)))
    assert len(reader.tasks) == told, f"send returned {told} times, and {len(reader.tasks)} were in the queue"


@guarantee(
    "core.unroutable-is-told",
    "If there is no queue for a message, send raises Unroutable, and the next message is fine.",
    source=PUBLISHERS.section("unroutable"),
    counter_example="consumers.publish-to-missing-queue-vanishes",
    proved_by=[
        caught("mutant:mandatory-off", "no queue took it, and send ended with success"),
        caught("mutant:returns-ignored", "no queue took it, and send ended with success"),
        caught("mutant:no-confirm", "no queue took it, and send ended with success"),
    ],
)
def test_a_message_without_a_queue_is_told(queue, core):
    producer = core.producer()

    vanished = producer.send("a task", queue=f"{queue.name}-misspelt")
    taken = producer.send("another task", queue=queue)

    assert vanished.error == "Unroutable", f"no queue took it, and send ended with {vanished.error or 'success'}"
    assert taken.error == "", taken.why
    assert tasks_of(queue) == ["another task"]


@guarantee(
    "core.unconfirmed-is-unknown",
    "If the confirmation of a message is lost, send does not return as if it had come: it raises OutcomeUnknown.",
    source=RELIABILITY.section("publisher-side"),
    counter_example="confirms.lost-confirm-leads-to-a-duplicate",
    proved_by=[
        caught("mutant:no-confirm", "no confirm came, and send ended with success"),
        caught("mutant:send-without-waiting", "no confirm came, and send ended with success"),
    ],
)
def test_a_message_without_a_confirmation_is_not_reported_as_sent(stage, queue, core):
    wire = stage.proxy()
    producer = core.producer(proxy=wire, confirm_timeout=0.5)

    landed("the broker's answers are lost", wire.lose_answers())
    answer = producer.send("a task", queue=queue)

    assert answer.error == "OutcomeUnknown", f"no confirm came, and send ended with {answer.error or 'success'}"
    claim("the broker has it", lambda: queue.ready() == 1)


@guarantee(
    "core.retry-keeps-the-message-id",
    "If send is allowed to retry, and the outcome was unknown, the message may be there twice: under one message id.",
    source=RELIABILITY.section("publisher-side"),
    counter_example="confirms.lost-confirm-leads-to-a-duplicate",
    proved_by=[
        caught("mutant:retry-under-a-new-id", "two messages that nobody can tell apart"),
        caught("mutant:never-retried", "it was allowed to retry"),
        caught("mutant:no-message-id", "two messages that nobody can tell apart"),
        caught("mutant:same-message-id", "two tasks that nobody can tell apart"),
    ],
)
def test_a_retry_keeps_the_message_id(stage, queue, core):
    wire = stage.proxy()
    producer = core.producer(proxy=wire)

    landed("the broker's answers are lost", wire.lose_answers())
    producer.begin_to_send("a task", queue=queue, retry=9)
    barrier("the broker has it", lambda: queue.ready() == 1)
    landed("the connection is cut before the confirmation could come", wire.cut())
    wire.thaw()

    answer = producer.answer("a task")
    assert answer.error == "", f"it was allowed to retry, and send ended with {answer.error}"
    another = producer.send("another task", queue=queue)
    assert another.error == "", another.why
    messages = [(each.task, each.message_id) for each in queue.drain()]
    assert [task for task, _ in messages] == ["a task", "a task", "another task"]
    [first, second, third] = [message_id for _, message_id in messages]
    assert first and first == second, "two messages that nobody can tell apart from two tasks"
    assert third != first, "two tasks that nobody can tell apart from two messages of one"


@guarantee(
    "core.close-waits-for-confirms",
    "A producer that is closed waits until all that it has sent is confirmed.",
    source=CONFIRMS_GUIDE,
    proved_by=[caught("mutant:close-without-waiting", "were not confirmed")],
)
def test_closing_waits_for_confirms(queue, core):
    producer = core.producer()

    outcomes = producer.burst("task", 500, queue=queue)

    unconfirmed = sum(outcome != "" for outcome in outcomes)
    assert unconfirmed == 0, f"when close returned, {unconfirmed} of {len(outcomes)} were not confirmed"
    assert tasks_of(queue) == [f"task {n}" for n in range(1, 501)]
