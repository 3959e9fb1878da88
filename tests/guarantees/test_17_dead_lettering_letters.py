"""Dead letters: what becomes of a task when it is dead-lettered, and when it goes round."""

import secrets
import time

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.dead_letters import letters_of, queue_to, take
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import DEAD_LETTERING, QUORUM_QUEUES, release_note
from workqueue.guarantee.waiting import barrier, claim, promised, watch

EFFECTS = DEAD_LETTERING.section("effects")
ROUTING = DEAD_LETTERING.section("routing")
CYCLE = DEAD_LETTERING.section("dead-letter-cycle")

NO_TTL_YET = BrokenOn("quorum", "<3.10", "quorum queues have no message TTL", release_note("3.10.0"))


def fanout_to(*queues):
    """The name of a new exchange that routes all to each of these."""
    exchange = f"{queues[0].name}-exchange"
    with queues[0].stage.channel() as channel:
        channel.exchange_declare(exchange, "fanout", auto_delete=True)
        for queue in queues:
            channel.queue_bind(queue.name, exchange)
    return exchange


@guarantee(
    "dead-lettering.keeps-the-message",
    "A dead letter has the body, the headers and the properties that the task was published with.",
    source=EFFECTS,
    proved_by=[
        caught("strips-properties", "`(letter.headers.get('customer'), letter.headers.get('attempt'))"),
        caught("hides-headers", "`(letter.headers.get('customer'), letter.headers.get('attempt'))"),
        caught("corrupts-deliveries", "'ünïcod?' came instead of 'ünïcode"),
    ],
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
    assert (letter.headers.get("customer"), letter.headers.get("attempt")) == ("Ada", 1)
    assert (kept.message_id, kept.correlation_id, kept.content_type) == ("m-1", "c-1", "text/plain")
    assert (kept.reply_to, kept.priority, kept.delivery_mode) == ("answers", 2, 2)


@guarantee(
    "dead-lettering.original-routing-key",
    "A dead letter keeps the routing key that the task was published with, unless its queue has "
    "x-dead-letter-routing-key.",
    source=ROUTING,
    proved_by=[
        caught("forges-routing-keys", "`letter.routing_key == (plain.name if queue is plain else"),
        caught("ignores-dead-letter-key", "`letter.routing_key == (plain.name if queue is plain else"),
        caught("invents-dead-letter-keys", "`letter.routing_key == (plain.name if queue is plain else"),
    ],
)
def test_the_routing_key_is_kept_unless_the_queue_has_one_for_dead_letters(stage):
    # An exchange that routes whatever comes, so that no letter is lost for its key.
    dead = stage.declare()
    exchange = fanout_to(dead)
    plain = stage.declare(x_dead_letter_exchange=exchange)
    keyed = stage.declare(x_dead_letter_exchange=exchange, x_dead_letter_routing_key=f"{dead.name}-key")
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
    proved_by=[
        caught("forgets-what-it-counted", "the dead letter expired again"),
        caught("keeps-expiration", "`letter.properties.expiration is None"),
    ],
)
def test_a_dead_letter_does_not_expire_again(stage):
    dead = stage.declare()
    queue = queue_to(dead)
    stage.publish("a task", queue=queue, ttl=50)
    claim("it is dead-lettered", dead.ready)

    assert not watch(0.2, lambda: dead.ready() == 0), "the dead letter expired again"
    letter = take(stage.client(), dead, "a task")
    assert letter.properties.expiration is None
    assert letter.headers["x-death"][0]["original-expiration"] == "50"


@guarantee(
    "dead-lettering.history-latest-first",
    "The history of a dead letter (x-death) has its latest dead-lettering first; x-first-death-queue and "
    "x-first-death-reason tell of the first.",
    source=EFFECTS,
    proved_by=[
        caught("forges-deaths", "`[(death['queue'], death['reason']) for death in letter.deaths] ="),
        caught("hides-headers", "`[(death['queue'], death['reason']) for death in letter.deaths] ="),
    ],
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
    proved_by=[
        caught("miscounts-deliveries", "`counts == {(work.name, 'rejected'): 3, (retry.name, 'expired'):"),
        caught("ignores-dead-lettering", "the task comes round"),
    ],
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
    proved_by=[caught("goes-round", "it came round")],
)
def test_a_cycle_without_a_rejection_is_dropped(stage):
    # Given an exchange that routes all to a queue, and what expires in that queue comes to the exchange again,
    witness = stage.declare()
    exchange = f"{witness.name}-exchange"
    with promised("a queue can have a message TTL"):
        queue = stage.declare(x_dead_letter_exchange=exchange, x_message_ttl=100)
    assert fanout_to(witness, queue) == exchange
    publisher = stage.client()

    # when a task has come by that way, and has expired,
    publisher.publish("a task", queue="", exchange=exchange)
    claim("it came, and its dead letter", lambda: witness.ready() == 2)

    # it is not in the queue again, nor does it expire there again.
    assert not watch(0.3, lambda: queue.ready() or witness.ready() > 2), "it came round"


@guarantee(
    "dead-lettering.history-of-a-republished-task",
    "If a worker publishes a dead letter again with its headers, the history goes on counting.",
    source=release_note("3.13.3"),
    broken_on=[
        BrokenOn(queue_type, ">=4.0", "x-death of a client is ignored: the count stays at 1", release_note("4.0.1"))
        for queue_type in ("classic", "quorum")
    ],
    proved_by=[
        caught("strips-properties", "after the second time the history says 1"),
        caught("miscounts-deliveries", "after the second time the history says 22"),
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


@guarantee(
    "dead-lettering.delayed-retry",
    "With x-delayed-retry-type=all a quorum queue lets a task that was handed back wait for x-delayed-retry-min.",
    source=QUORUM_QUEUES.section("delayed-retry"),
    queue_types=["quorum"],
    broken_on=[
        BrokenOn("quorum", "<4.3", "the arguments are ignored, and the task comes back at once", release_note("4.3.0"))
    ],
    proved_by=[caught("ignores-arguments", "it came back after")],
)
def test_a_delayed_retry_waits(stage):
    with promised("a queue can have delayed retries"):
        queue = stage.declare(x_delayed_retry_type="all", x_delayed_retry_min=1_500, x_delayed_retry_max=1_500)
    stage.publish("a task", queue=queue)
    worker = stage.client()
    for hand_back in (worker.nack, worker.reject):
        delivery = take(worker, queue, "a task")
        began = time.monotonic()
        hand_back(delivery)

        claim("it comes back", queue.ready)

        took = time.monotonic() - began
        stage.evidence.proof("broker", f"had it ready again {took * 1000:.0f} ms after basic.{hand_back.__name__}")
        assert took > 1.49, f"it came back after {took * 1000:.0f} ms"
