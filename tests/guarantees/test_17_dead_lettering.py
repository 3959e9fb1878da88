"""Dead lettering: where tasks go that were rejected, expired, pushed out, or delivered too often."""

import secrets

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.dead_letters import letters_of, queue_to, take
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONFIRMS, DEAD_LETTERING, QUORUM_QUEUES, release_note
from workqueue.guarantee.waiting import barrier, claim, promised

OVERVIEW = DEAD_LETTERING.section("overview")
AT_LEAST_ONCE = QUORUM_QUEUES.section("dead-lettering")

NO_TTL_YET = BrokenOn("quorum", "<3.10", "quorum queues have no message TTL", release_note("3.10.0"))


def dead_letters_to(*targets):
    """The arguments of a queue that dead-letters to each of these."""
    key = f"dead-{secrets.token_hex(6)}"
    with targets[0].stage.channel() as channel:
        for target in targets:
            channel.queue_bind(target.name, "amq.direct", key)
    return {"x_dead_letter_exchange": "amq.direct", "x_dead_letter_routing_key": key}


# What is dead-lettered, and why


@guarantee(
    "dead-lettering.rejected",
    "A task that a worker gives up (basic.reject or basic.nack without requeue) goes to the dead-letter exchange, "
    "once, for the reason rejected, and is in its queue no more.",
    source=OVERVIEW,
    counter_example="dead-lettering.without-an-exchange-it-is-gone",
    proved_by=[
        caught("ignores-dead-lettering", "2 dead letters arrive"),
        caught("forges-deaths", "`[(death['reason'], death['queue'], death['count']) for each in l"),
    ],
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
    proved_by=[
        caught("ignores-dead-lettering", "it is dead-lettered"),
        caught("forges-deaths", "`[death['reason'] for death in letter.deaths] == ['expired']"),
    ],
)
def test_an_expired_task_is_dead_lettered(stage):
    dead = stage.declare()
    with promised("a queue can have a message TTL"):
        queue = queue_to(dead, x_message_ttl=20)
    stage.publish("a task", queue=queue)

    claim("it is dead-lettered", dead.ready)

    [letter] = dead.drain()
    assert [death["reason"] for death in letter.deaths] == ["expired"]
    # Nothing could be drained from a queue in which everything expires.
    assert queue.ready() == 0


@guarantee(
    "dead-lettering.pushed-out",
    "A task that is pushed out of a full queue goes to the dead-letter exchange, for the reason maxlen.",
    source=OVERVIEW,
    proved_by=[
        caught("ignores-dead-lettering", "1 dead letters arrive"),
        caught("forges-deaths", "`[death['reason'] for death in letter.deaths] == ['maxlen']"),
    ],
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
    proved_by=[
        caught("takes-acks-for-rejections", "were dead-lettered: ['done'"),
        caught("buries-the-purged", "were dead-lettered: ['purged'"),
    ],
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
    letters = [each.task for each in dead.drain()]
    assert letters == ["rejected"], f"one was rejected, and were dead-lettered: {letters}"


@guarantee(
    "dead-lettering.deleted-with-its-queue-is-not",
    "If an entire queue is deleted, the tasks in it are not dead-lettered.",
    source=OVERVIEW,
    proved_by=[caught("buries-the-deleted", "`dead.drain() == []")],
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
    proved_by=[caught("requeues", "`[each.task for each in queue.drain()] == ['kept']")],
)
def test_without_a_dead_letter_exchange_a_rejected_task_is_gone(stage, queue, publish):
    publish("rejected", "kept")
    worker = stage.client()
    rejected, kept = take(worker, queue, "rejected"), take(worker, queue, "kept")

    worker.reject(rejected, requeue=False)
    worker.nack(kept)
    worker.sync()

    barrier("what was handed back is there again", queue.ready)
    worker.close()
    assert [each.task for each in queue.drain()] == ["kept"]


@hazard(
    "dead-lettering.missing-exchange-loses",
    "If the dead-letter exchange does not exist, dead-lettered tasks are silently dropped, until it is declared.",
    source=DEAD_LETTERING.section("using-optional-queue-arguments"),
    proved_by=[caught("takes-rejections-for-acks", "a task is dead-lettered once there is an exchange")],
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
    proved_by=[
        caught("ignores-length-limit", "the target is empty: it did not take the letter"),
        caught("ignores-overflow", "'lost' came instead of 'fills the target"),
    ],
)
def test_a_full_target_loses_dead_letters(stage):
    full = stage.declare(x_queue_type="classic", x_max_length=1, x_overflow="reject-publish")
    witness = stage.declare()
    queue = stage.declare(**dead_letters_to(full, witness))
    stage.publish("fills the target", queue=full)
    stage.publish("lost", "kept", queue=queue)
    worker = stage.client()
    lost, kept = take(worker, queue, "lost"), take(worker, queue, "kept")

    # The one comes while the target is full, the other when there is room again.
    worker.reject(lost, requeue=False)
    claim("the dead letter is routed", lambda: witness.ready() == 1)
    worker.ack(take(worker, full, "fills the target"))
    claim("the target is empty: it did not take the letter", lambda: full.ready() == 0)
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
    proved_by=[caught("ignores-dead-letter-strategy", "it arrives when there is room")],
)
def test_at_least_once_keeps_a_dead_letter_until_its_target_takes_it(stage):
    # It tries again every three minutes by default.
    with stage.operator.configured("dead_letter_worker_publisher_confirm_timeout", "500"):
        full = stage.declare(x_queue_type="classic", x_max_length=1, x_overflow="reject-publish")
        witness = stage.declare()
        with promised("a quorum queue can have the strategy, and the overflow that it needs"):
            queue = stage.declare(
                **dead_letters_to(full, witness), x_dead_letter_strategy="at-least-once", x_overflow="reject-publish"
            )
        stage.publish("fills the target", queue=full)
        stage.publish("kept", queue=queue)
        worker = stage.client()
        worker.reject(take(worker, queue, "kept"), requeue=False)

        claim("the dead letter is routed", witness.ready)
        assert full.ready() == 1, "the target took it though it is full"
        worker.ack(take(worker, full, "fills the target"))

        claim("it arrives when there is room", full.ready, within=10)
        take(worker, full, "kept")
