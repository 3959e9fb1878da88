"""Limits on time: how long a message may wait in a queue, and how long a queue may go unused."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import TTL, release_note
from workqueue.guarantee.waiting import barrier, claim, promised, refused

PER_QUEUE = TTL.section("per-queue-message-ttl")
PER_MESSAGE = TTL.section("per-message-ttl-in-publishers")
RETROACTIVE = TTL.section("message-ttl-applied-retroactively")

#: Milliseconds in which a consumer that waits is sure to be served, and that a spec does not wait for in vain.
SHORT = 300
LONG = 60_000

NO_QUEUE_TTL_YET = BrokenOn("quorum", "<3.10", "quorum queues refuse x-message-ttl (406)", release_note("3.10.0"))
NO_MESSAGE_TTL_YET = BrokenOn("quorum", "<3.10", "quorum queues ignore the TTL of a message", release_note("3.10.0"))
QUEUE_TTL_PROMISE = "a queue can have a message TTL"


def wait_until_expired(stage, wait=barrier):
    """Return when SHORT is over for all that was published before: a message that comes after it has expired."""
    # A classic queue has had TTLs from the first, and all queues go by the clock of the node. Each has its own timer,
    # and classic ones give out what has expired until that has fired: hence not in the same moment.
    control = stage.declare(x_queue_type="classic", x_message_ttl=SHORT + 700)
    stage.publish("control", queue=control)
    wait("the control message expires", lambda: control.ready() == 0)


@guarantee(
    "limits.expired-is-not-delivered",
    "A message that has waited longer than the message TTL of its queue is given to nobody, neither to a consumer nor "
    "to basic.get.",
    source=PER_QUEUE,
    broken_on=[NO_QUEUE_TTL_YET],
    proved_by=[caught("ignores-ttl", "`client.get(polled.name) is None")],
)
def test_an_expired_message_is_given_to_nobody(stage):
    with promised(QUEUE_TTL_PROMISE):
        polled, consumed = (stage.declare(x_message_ttl=SHORT) for _ in range(2))
    client = stage.client()
    for queue in (polled, consumed):
        stage.publish("expires", queue=queue)

    wait_until_expired(stage)

    assert client.get(polled.name) is None
    client.consume(consumed.name)
    client.publish("in time", queue=consumed.name)
    client.receives("in time")
    assert client.tasks == ["in time"]


@guarantee(
    "limits.without-ttl-stays",
    "Without a TTL, on its queue or of its own, a message waits on while others expire.",
    source=TTL.section("overview"),
    proved_by=[
        caught("expires-everything", "it is gone, although it has no TTL", on="classic"),
        caught("expires-everything", "it is gone, although it has no TTL", on="quorum", versions=">=3.10"),
        caught("ignores-ttl", "the control message expires"),
    ],
)
def test_a_message_without_a_ttl_stays(stage, queue, publish):
    publish("stays")

    wait_until_expired(stage, claim)  # that others expire is promised here, too

    kept = stage.client().get(queue.name)
    assert kept is not None, "it is gone, although it has no TTL"
    assert kept.task == "stays"


@guarantee(
    "limits.lower-ttl-wins",
    "If both a queue and a message in it have a TTL, the lower of the two counts.",
    source=PER_MESSAGE,
    broken_on=[NO_QUEUE_TTL_YET],
    proved_by=[
        caught("ignores-message-ttl", "`kept.task == 'stays'"),
        caught("shortens-ttl", "it is gone, although neither of its TTLs is over"),
    ],
)
def test_the_lower_of_two_ttls_counts(stage):
    with promised(QUEUE_TTL_PROMISE):
        impatient, patient = stage.declare(x_message_ttl=SHORT), stage.declare(x_message_ttl=LONG)
    stage.publish("expires by its queue", queue=impatient, ttl=LONG)
    stage.publish("expires by itself", queue=patient, ttl=SHORT)
    stage.publish("stays", queue=patient, ttl=LONG)

    wait_until_expired(stage)

    client = stage.client()
    assert client.get(impatient.name) is None
    kept = client.get(patient.name)
    assert kept is not None, "it is gone, although neither of its TTLs is over"
    assert kept.task == "stays"


@guarantee(
    "limits.expiration-must-be-a-number",
    "A message whose expiration is not a number of milliseconds is refused: the channel is closed (406).",
    source=PER_MESSAGE,
    proved_by=[
        caught("ignores-message-ttl", "an expiration is a number: it was accepted"),
        caught("forgives", "an expiration is a number: it was accepted"),
    ],
)
def test_an_expiration_that_is_not_a_number_is_refused(stage, queue):
    producer = stage.client()

    with refused("an expiration is a number", 406, "invalid expiration"):
        producer.publish("a task", queue=queue.name, expiration="soon")
        producer.sync()

    assert stage.client().get(queue.name) is None


@hazard(
    "limits.expired-behind-a-live-one-counts",
    "A message whose own TTL is over is still counted as ready, though never delivered, for as long as one that has "
    "not expired is in front of it.",
    source=RETROACTIVE,
    broken_on=[NO_MESSAGE_TTL_YET],
    proved_by=[
        caught("ignores-message-ttl", "`consumer.tasks == ['live', 'in time']"),
        caught("counts-nothing", "both are counted"),
    ],
)
def test_an_expired_message_behind_a_live_one_is_still_counted(stage, queue, publish):
    publish("live")
    publish("expires", ttl=SHORT)

    wait_until_expired(stage)

    claim("both are counted", lambda: queue.ready() == 2)
    consumer = stage.client()
    consumer.qos(1)
    consumer.consume(queue.name)
    [live] = consumer.receives("live")
    publish("in time")
    consumer.ack(live)
    claim("one more is delivered", lambda: len(consumer.received) == 2)
    assert consumer.tasks == ["live", "in time"]


def _comes_not_back(stage, give_back):
    """A message that is held until it has expired, and then given back, is delivered to nobody."""
    with promised(QUEUE_TTL_PROMISE):
        queue = stage.declare(x_message_ttl=SHORT)
    holder, other = stage.client(), stage.client()
    tag = holder.consume(queue.name)
    stage.publish("expires", queue=queue)
    [held] = holder.wait_until_holding(1)
    holder.cancel(tag)
    other.consume(queue.name)
    wait_until_expired(stage)

    give_back(holder, held)

    other.publish("in time", queue=queue.name)
    other.receives("in time")
    assert other.tasks == ["in time"]


@guarantee(
    "limits.requeued-keeps-its-expiry",
    "A message that is requeued keeps the time at which it expires: if that is over, it is not delivered again.",
    source=PER_QUEUE,
    broken_on=[NO_QUEUE_TTL_YET],
    proved_by=[caught("requeues-at-the-tail", "`other.tasks == ['in time']")],
)
def test_a_requeued_message_keeps_the_time_at_which_it_expires(stage):
    def requeue(holder, held):
        with promised("it can be given back"):
            holder.nack(held)
            holder.sync()

    _comes_not_back(stage, requeue)


@guarantee(
    "limits.returned-by-channel-close-keeps-its-expiry",
    "A message whose consumer closes its channel keeps the time at which it expires: if that is over, nobody else is "
    "given it.",
    source=PER_QUEUE,
    broken_on=[NO_QUEUE_TTL_YET],
    proved_by=[caught("requeues-at-the-tail", "`other.tasks == ['in time']")],
)
def test_a_message_of_a_closed_channel_keeps_the_time_at_which_it_expires(stage):
    _comes_not_back(stage, lambda holder, held: holder.close())


@guarantee(
    "limits.held-does-not-expire",
    "A message that a consumer holds does not expire: it can be acknowledged after its TTL, and is not dead-lettered.",
    source=PER_QUEUE,
    broken_on=[NO_QUEUE_TTL_YET],
    proved_by=[
        caught("expires-what-is-held", "`[each.task for each in expired.drain()] == ['waits']"),
        caught("refuses-settling", "it can be acknowledged after its TTL: the broker refused"),
        caught("ignores-ttl", "what waits expires"),
    ],
)
def test_what_a_consumer_holds_does_not_expire(stage):
    expired = stage.declare()
    with promised(QUEUE_TTL_PROMISE):
        queue = stage.declare(x_message_ttl=SHORT, x_dead_letter_exchange="", x_dead_letter_routing_key=expired.name)
    consumer = stage.client()
    consumer.qos(1)
    consumer.consume(queue.name)
    stage.publish("held", "waits", queue=queue)
    [held] = consumer.wait_until_holding(1)
    claim("what waits expires", lambda: expired.ready() >= 1)  # and what is held came before it

    with promised("it can be acknowledged after its TTL"):
        consumer.ack(held)
        consumer.sync()

    assert [each.task for each in expired.drain()] == ["waits"]


@guarantee(
    "limits.ttl-zero-reaches-an-idle-consumer",
    "With a message TTL of 0, a message is delivered if a consumer can take it at once.",
    source=PER_QUEUE,
    broken_on=[NO_QUEUE_TTL_YET],
    proved_by=[caught("never-delivers", "client 1 receives ['a task']")],
)
def test_with_a_ttl_of_zero_an_idle_consumer_is_served(stage):
    with promised(QUEUE_TTL_PROMISE):
        queue = stage.declare(x_message_ttl=0)
    consumer = stage.client()
    consumer.consume(queue.name)

    stage.publish("a task", queue=queue)

    consumer.receives("a task", within=5)


@guarantee(
    "limits.ttl-zero-does-not-wait",
    "With a message TTL of 0, a message that no consumer can take at once expires, and its publisher is not told: "
    "it is confirmed, and not returned.",
    source=PER_QUEUE,
    broken_on=[NO_QUEUE_TTL_YET],
    proved_by=[
        caught("returns-what-it-takes", "`producer.answers == ['basic.ack']"),
        caught("ignores-ttl", "it expires"),
    ],
)
def test_with_a_ttl_of_zero_a_message_does_not_wait(stage):
    expired = stage.declare()
    with promised(QUEUE_TTL_PROMISE):
        queue = stage.declare(x_message_ttl=0, x_dead_letter_exchange="", x_dead_letter_routing_key=expired.name)
    producer = stage.client()
    producer.confirm()

    producer.publish("a task", queue=queue.name, mandatory=True)

    claim("it is confirmed", lambda: producer.confirms)
    claim("it expires", lambda: expired.ready() == 1)
    assert producer.get(queue.name) is None
    assert producer.answers == ["basic.ack"]
