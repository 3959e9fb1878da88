"""Dead lettering: where tasks go that were rejected, expired, pushed out, or delivered too often."""

import secrets
import time

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.sources import CONFIRMS, DEAD_LETTERING, QUORUM_QUEUES, release_note
from workqueue.guarantee.waiting import barrier, claim, promised, watch

EFFECTS = DEAD_LETTERING.section("effects")
ROUTING = DEAD_LETTERING.section("routing")
OVERVIEW = DEAD_LETTERING.section("overview")
CYCLE = DEAD_LETTERING.section("dead-letter-cycle")
AT_LEAST_ONCE = QUORUM_QUEUES.section("dead-lettering")

NO_TTL_YET = BrokenOn("quorum", "<3.10", "quorum queues have no message TTL", release_note("3.10.0"))


def queue_to(target, **arguments):
    """A queue that dead-letters to another one."""
    return target.stage.declare(x_dead_letter_exchange="", x_dead_letter_routing_key=target.name, **arguments)


def take(client, queue, task):
    """Take the next task out of a queue, unacknowledged."""
    delivery = barrier(f"{task!r} can be taken", lambda: client.get(queue.name))
    assert delivery.task == task, f"{delivery.task!r} came instead of {task!r}"
    return delivery


def letters_of(dead, count):
    """What is in the queue of dead letters, once so many are."""
    claim(f"{count} dead letters arrive", lambda: dead.ready() == count)
    return dead.drain()


# What is dead-lettered, and why


@guarantee(
    "dead-lettering.rejected",
    "A task that a worker gives up (basic.reject or basic.nack without requeue) goes to the dead-letter exchange, once, "
    "for the reason rejected, and is in its queue no more.",
    source=OVERVIEW,
    counter_example="dead-lettering.without-an-exchange-it-is-gone",
)
def test_a_rejected_task_is_dead_lettered(stage):
    dead = stage.declare()
    queue = queue_to(dead)
    stage.publish("one", "two", queue=queue)
    worker = stage.client()

    worker.reject(take(worker, queue, "one"), requeue=False)
    worker.nack(take(worker, queue, "two"), requeue=False)

    letters = letters_of(dead, 2)
    worker.close()
    assert [each.task for each in letters] == ["one", "two"]
    assert [(death["reason"], death["queue"], death["count"]) for each in letters for death in each.deaths] == [
        ("rejected", queue.name, 1)
    ] * 2
    assert queue.drain() == []


@guarantee(
    "dead-lettering.expired",
    "A task that waited longer than its TTL goes to the dead-letter exchange, for the reason expired.",
    source=OVERVIEW,
    broken_on=[NO_TTL_YET],
)
def test_an_expired_task_is_dead_lettered(stage):
    dead = stage.declare()
    with promised("a queue can have a message TTL"):
        queue = queue_to(dead, x_message_ttl=20)
    stage.publish("a task", queue=queue)

    claim("it is dead-lettered", dead.ready)

    [letter] = dead.drain()
    assert [death["reason"] for death in letter.deaths] == ["expired"]
    assert queue.drain() == []


@guarantee(
    "dead-lettering.pushed-out",
    "A task that is pushed out of a full queue goes to the dead-letter exchange, for the reason maxlen.",
    source=OVERVIEW,
)
def test_a_task_that_is_pushed_out_is_dead_lettered(stage):
    dead = stage.declare()
    queue = queue_to(dead, x_max_length=1)
    stage.publish("oldest", "newest", queue=queue)

    [letter] = letters_of(dead, 1)
    assert letter.task == "oldest"
    assert [death["reason"] for death in letter.deaths] == ["maxlen"]
    worker = stage.client()
    take(worker, queue, "newest")


@guarantee(
    "dead-lettering.acked-is-not",
    "Tasks that were acknowledged, or purged from their queue, are not dead-lettered.",
    source=OVERVIEW,
)
def test_acked_and_purged_tasks_are_not_dead_lettered(stage):
    dead = stage.declare()
    queue = queue_to(dead)
    stage.publish("done", "purged", queue=queue)
    worker = stage.client()
    worker.ack(take(worker, queue, "done"))
    assert worker.purge(queue.name) == 1

    # What the queue does with the next task, it does after what it did with those.
    stage.publish("rejected", queue=queue)
    worker.reject(take(worker, queue, "rejected"), requeue=False)

    claim("the rejected one is dead-lettered", dead.ready)
    assert [each.task for each in dead.drain()] == ["rejected"]


@guarantee(
    "dead-lettering.deleted-with-its-queue-is-not",
    "If an entire queue is deleted, the tasks in it are not dead-lettered.",
    source=OVERVIEW,
)
def test_tasks_in_a_deleted_queue_are_not_dead_lettered(stage):
    dead = stage.declare()
    queue = queue_to(dead)
    stage.publish("deleted 1", "deleted 2", queue=queue)

    stage.client().delete(queue.name)

    barrier("the queue is gone", lambda: not queue.exists())
    # Whatever it sent before it went is in the other queue before the message that drain() publishes.
    assert dead.drain() == []


# Without a place to go


@hazard(
    "dead-lettering.without-an-exchange-it-is-gone",
    "Without a dead-letter exchange, a task that a worker rejects without requeueing it is gone for good.",
    source=CONFIRMS.section("consumer-nacks-requeue"),
)
def test_without_a_dead_letter_exchange_a_rejected_task_is_gone(stage, queue, publish):
    publish("rejected", "kept")
    worker = stage.client()
    rejected, kept = take(worker, queue, "rejected"), take(worker, queue, "kept")

    worker.reject(rejected, requeue=False)
    worker.nack(kept)
    worker.sync()

    barrier("what was handed back is there again", lambda: queue.ready() == 1)
    worker.close()
    assert [each.task for each in queue.drain()] == ["kept"]


@hazard(
    "dead-lettering.missing-exchange-loses",
    "If the dead-letter exchange does not exist, dead-lettered tasks are silently dropped, until it is declared.",
    source=DEAD_LETTERING.section("using-optional-queue-arguments"),
)
def test_a_missing_dead_letter_exchange_loses_tasks(stage):
    dead = stage.declare()
    exchange = f"{dead.name}-exchange"
    queue = stage.declare(x_dead_letter_exchange=exchange, x_dead_letter_routing_key="dead")
    stage.publish("too early", "in time", queue=queue)
    worker = stage.client()
    worker.reject(take(worker, queue, "too early"), requeue=False)
    in_time = take(worker, queue, "in time")

    with stage.channel() as channel:
        channel.exchange_declare(exchange, "direct", auto_delete=True)
        channel.queue_bind(dead.name, exchange, "dead")
    worker.reject(in_time, requeue=False)

    claim("a task is dead-lettered once there is an exchange", dead.ready)
    assert [each.task for each in dead.drain()] == ["in time"]
    assert queue.drain() == []


@hazard(
    "dead-lettering.full-target-loses",
    "By default, a dead letter that its target, a full classic queue, refuses (overflow=reject-publish) is lost.",
    source=DEAD_LETTERING.section("safety"),
)
def test_a_full_target_loses_dead_letters(stage):
    full = stage.declare(x_queue_type="classic", x_max_length=1, x_overflow="reject-publish")
    queue = queue_to(full)
    stage.publish("fills the target", queue=full)
    stage.publish("lost", "kept", queue=queue)
    worker = stage.client()
    lost, kept = take(worker, queue, "lost"), take(worker, queue, "kept")

    # The one comes while the target is full, the other when there is room again.
    worker.reject(lost, requeue=False)
    assert not watch(0.2, lambda: full.ready() != 1), "the target took it though it is full"
    worker.ack(take(worker, full, "fills the target"))
    barrier("the target is empty", lambda: full.ready() == 0)
    worker.reject(kept, requeue=False)

    claim("the other dead letter arrives", full.ready)
    worker.ack(take(worker, full, "kept"))
    worker.close()
    assert full.drain() == []
    assert queue.drain() == []


@guarantee(
    "dead-lettering.at-least-once",
    "With dead-letter-strategy=at-least-once a quorum queue keeps a dead letter until its target takes it, also if the "
    "target is full.",
    source=AT_LEAST_ONCE,
    queue_types=["quorum"],
    needs=["ctl", "configure"],
    counter_example="dead-lettering.full-target-loses",
    broken_on=[BrokenOn("quorum", "<3.10", "quorum queues have no such strategy", release_note("3.10.0"))],
)
def test_at_least_once_keeps_a_dead_letter_until_its_target_takes_it(stage):
    # It tries again every three minutes by default.
    with stage.configured("dead_letter_worker_publisher_confirm_timeout", "500"):
        full = stage.declare(x_queue_type="classic", x_max_length=1, x_overflow="reject-publish")
        with promised("a quorum queue can have the strategy, and the overflow that it needs"):
            queue = queue_to(full, x_dead_letter_strategy="at-least-once", x_overflow="reject-publish")
        stage.publish("fills the target", queue=full)
        stage.publish("kept", queue=queue)
        worker = stage.client()
        worker.reject(take(worker, queue, "kept"), requeue=False)

        assert not watch(0.3, lambda: full.ready() != 1), "the target took it though it is full"
        worker.ack(take(worker, full, "fills the target"))

        claim("it arrives when there is room", full.ready, within=10)
        assert [each.task for each in full.drain()] == ["kept"]


# Where it goes, and what becomes of it


@guarantee(
    "dead-lettering.keeps-the-message",
    "A dead letter has the body, the headers and the properties that the task was published with.",
    source=EFFECTS,
)
def test_a_dead_letter_keeps_body_headers_and_properties(stage):
    dead = stage.declare()
    queue = queue_to(dead)
    worker = stage.client()
    worker.publish(
        "ünïcode",
        queue=queue.name,
        headers={"customer": "Ada", "attempt": 1},
        message_id="m-1",
        correlation_id="c-1",
        content_type="text/plain",
        reply_to="answers",
        priority=2,
    )
    worker.reject(take(worker, queue, "ünïcode"), requeue=False)

    letter = take(worker, dead, "ünïcode")

    kept = letter.properties
    assert (letter.headers["customer"], letter.headers["attempt"]) == ("Ada", 1)
    assert (kept.message_id, kept.correlation_id, kept.content_type) == ("m-1", "c-1", "text/plain")
    assert (kept.reply_to, kept.priority, kept.delivery_mode) == ("answers", 2, 2)


@guarantee(
    "dead-lettering.original-routing-key",
    "A dead letter keeps the routing key that the task was published with, unless its queue has "
    "x-dead-letter-routing-key.",
    source=ROUTING,
)
def test_the_routing_key_is_kept_unless_the_queue_has_one_for_dead_letters(stage):
    dead, exchange = stage.declare(), "amq.direct"
    plain = stage.declare(x_dead_letter_exchange=exchange)
    keyed = stage.declare(x_dead_letter_exchange=exchange, x_dead_letter_routing_key=f"{dead.name}-key")
    with stage.channel() as channel:
        for key in (plain.name, keyed.name, f"{dead.name}-key"):
            channel.queue_bind(dead.name, exchange, key)
    worker = stage.client()

    for queue in (plain, keyed):
        stage.publish("a task", queue=queue)
        worker.reject(take(worker, queue, "a task"), requeue=False)

        letter = take(worker, dead, "a task")
        assert letter.routing_key == (plain.name if queue is plain else f"{dead.name}-key")


@guarantee(
    "dead-lettering.expiration-is-removed",
    "A dead letter has no TTL of its own any more, so it does not expire again; the history keeps what it was.",
    source=EFFECTS,
    broken_on=[NO_TTL_YET],
)
def test_a_dead_letter_does_not_expire_again(stage):
    dead = stage.declare()
    queue = queue_to(dead)
    stage.publish("a task", queue=queue, ttl=50)
    claim("it is dead-lettered", dead.ready, within=3)

    assert not watch(0.2, lambda: dead.ready() == 0), "the dead letter expired again"
    letter = take(stage.client(), dead, "a task")
    assert letter.properties.expiration is None
    assert letter.headers["x-death"][0]["original-expiration"] == "50"


@guarantee(
    "dead-lettering.history-latest-first",
    "The history of a dead letter (x-death) has its latest dead-lettering first; x-first-death-queue and "
    "x-first-death-reason tell of the first.",
    source=EFFECTS,
)
def test_the_history_has_the_latest_first(stage):
    third = stage.declare()
    second = queue_to(third, x_max_length=1)
    first = queue_to(second)
    stage.publish("a task", queue=first)
    worker = stage.client()
    worker.reject(take(worker, first, "a task"), requeue=False)
    barrier("it is in the second queue", second.ready)
    stage.publish("pushes it out", queue=second)

    [letter] = letters_of(third, 1)

    assert [(death["queue"], death["reason"]) for death in letter.deaths] == [
        (second.name, "maxlen"),
        (first.name, "rejected"),
    ]
    assert letter.headers["x-first-death-queue"] == first.name
    assert letter.headers["x-first-death-reason"] == "rejected"


# Cycles


@guarantee(
    "dead-lettering.retry-cycle-survives",
    "A task that goes round from its queue (rejected) to a retry queue (expired) and back survives, and its history "
    "counts the rounds.",
    source=CYCLE,
    counter_example="dead-lettering.cycle-without-rejection-is-dropped",
    broken_on=[NO_TTL_YET],
)
def test_a_cycle_with_a_rejection_survives(stage):
    back_to_work = f"retried-{secrets.token_hex(6)}"
    with promised("a queue can have a message TTL"):
        retry = stage.declare(
            x_dead_letter_exchange="amq.direct", x_dead_letter_routing_key=back_to_work, x_message_ttl=20
        )
    work = queue_to(retry)
    with stage.channel() as channel:
        channel.queue_bind(work.name, "amq.direct", back_to_work)
    stage.publish("a task", queue=work)
    worker = stage.client()

    for _ in range(3):
        delivery = claim("the task comes round", lambda: worker.get(work.name))
        worker.reject(delivery, requeue=False)
    delivery = claim("the task comes round", lambda: worker.get(work.name))

    counts = {(death["queue"], death["reason"]): death["count"] for death in delivery.headers["x-death"]}
    assert counts == {(work.name, "rejected"): 3, (retry.name, "expired"): 3}


@hazard(
    "dead-lettering.cycle-without-rejection-is-dropped",
    "A task that would go round by expiring alone, without a rejection, is dropped.",
    source=CYCLE,
    broken_on=[NO_TTL_YET],
)
def test_a_cycle_without_a_rejection_is_dropped(stage):
    with promised("a queue can have a message TTL"):
        # The default exchange and the task's own routing key lead back to the queue itself.
        queue = stage.declare(x_dead_letter_exchange="", x_message_ttl=100)
    stage.publish("a task", queue=queue)

    claim("it leaves the queue", lambda: queue.ready() == 0)
    assert not watch(0.3, queue.ready), "it came round"


@guarantee(
    "dead-lettering.history-of-a-republished-task",
    "If a worker publishes a dead letter again with its headers, the history goes on counting.",
    source=release_note("3.13.3"),
    broken_on=[
        BrokenOn(queue_type, ">=4.0", "x-death of a client is ignored: the count stays at 1", release_note("4.0.1"))
        for queue_type in ("classic", "quorum")
    ],
)
def test_the_history_counts_on_when_a_worker_publishes_the_task_again(stage):
    dead = stage.declare()
    queue = queue_to(dead)
    stage.publish("a task", queue=queue)
    worker = stage.client()
    for _ in range(2):
        worker.reject(take(worker, queue, "a task"), requeue=False)
        letter = take(worker, dead, "a task")
        worker.ack(letter)
        worker.publish("a task", queue=queue.name, headers=dict(letter.headers))

    [death] = letter.headers["x-death"]
    assert death["count"] == 2, f"after the second time the history says {death['count']}"


# Delayed retry


@guarantee(
    "dead-lettering.delayed-retry",
    "With x-delayed-retry-type=all a quorum queue lets a task that was handed back wait for x-delayed-retry-min.",
    source=QUORUM_QUEUES.section("delayed-retry"),
    queue_types=["quorum"],
    broken_on=[
        BrokenOn("quorum", "<4.3", "the arguments are ignored, and the task comes back at once", release_note("4.3.0"))
    ],
)
def test_a_delayed_retry_waits(stage):
    with promised("a queue can have delayed retries"):
        queue = stage.declare(x_delayed_retry_type="all", x_delayed_retry_min=300, x_delayed_retry_max=300)
    stage.publish("a task", queue=queue)
    worker = stage.client()
    for hand_back in (worker.nack, worker.reject):
        delivery = take(worker, queue, "a task")
        began = time.monotonic()
        hand_back(delivery)

        claim("it comes back", queue.ready)

        took = time.monotonic() - began
        stage.evidence.proof("broker", f"had it ready again {took * 1000:.0f} ms after basic.{hand_back.__name__}")
        assert took > 0.29, f"it came back after {took * 1000:.0f} ms"
