"""Connections: what workers and producers can rely on when the network, the broker or they themselves fall silent."""

import contextlib
import re
import time

import pika
from pika.exceptions import AMQPConnectionError, AMQPError, ConnectionClosedByBroker

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CHANNELS, CONFIRMS, HEARTBEATS, RELIABILITY, Source, release_note
from workqueue.guarantee.verdict import Broken
from workqueue.guarantee.waiting import PATIENCE, barrier, claim, landed, promised

AMQP = Source("AMQP 0-9-1 specification", "https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf")

# Heartbeats


@guarantee(
    "connections.server-suggests-sixty-seconds",
    "A client that asks for no heartbeat timeout of its own gets the one that RabbitMQ suggests: 60 seconds.",
    source=HEARTBEATS.section("heartbeats-timeout"),
    proved_by=[caught("mistunes", "`suggested == [60]")],
)
def test_the_suggested_heartbeat_timeout_is_60_seconds(stage):
    suggested = []
    parameters = pika.URLParameters(stage.url())
    # pika calls this with the connection and the broker's proposal, and takes the answer for the negotiated value.
    parameters.heartbeat = lambda _, proposal: suggested.append(proposal) or 0

    pika.BlockingConnection(parameters).close()

    assert suggested == [60]


@guarantee(
    "connections.clients-heartbeat-applies",
    "A client that asks for a shorter heartbeat timeout than RabbitMQ suggests gets it.",
    source=HEARTBEATS.section("heartbeats-timeout"),
    needs=["ctl"],
    proved_by=[caught("mistunes", "`'7' in timeouts")],
)
def test_the_heartbeat_timeout_that_a_client_asks_for_applies(broker, stage):
    client = stage.client(heartbeat=7)

    timeouts = broker.ctl("list_connections", "timeout").split()

    assert client.connection.is_open
    assert "7" in timeouts


@guarantee(
    "connections.silence-is-noticed-within-three-heartbeats",
    "A client that falls silent is disconnected after two to three heartbeat timeouts, and its tasks go to another "
    "worker.",
    source=HEARTBEATS.section("heartbeats-interval"),
    counter_example="connections.without-heartbeats-loss-goes-unnoticed",
    proved_by=[
        caught("beats-for-the-dead", "the task goes to the other worker in time"),
        caught("doubles-heartbeats", "the task goes to the other worker in time"),
        caught("gives-up-early", "the client was given up too early"),
    ],
)
def test_a_silent_client_is_given_up_after_two_to_three_heartbeats(stage, queue, publish):
    heartbeat = 1
    other = stage.client()
    wire = stage.proxy()
    [task] = publish("a task")
    # The broker looks at its clock first when a connection is new, so the client falls silent at once.
    silent = stage.client(heartbeat=heartbeat, proxy=wire)
    silent.consume(queue.name)
    silent.wait_until_holding(1)

    heard = time.monotonic()
    silent.sync()
    landed("the client's connection falls silent", wire.freeze())
    frozen = time.monotonic()
    other.consume(queue.name)
    # A busy machine can take its time.
    claim("the task goes to the other worker in time", lambda: other.tasks == [task], within=3 * heartbeat + 2)

    gone = time.monotonic()
    took = gone - frozen
    stage.evidence.proof("broker", f"gave the silent client up after {took:.2f} s, with a timeout of {heartbeat} s")
    assert gone - heard >= 2 * heartbeat, f"the client was given up too early: after {took:.2f} s"


@hazard(
    "connections.without-heartbeats-loss-goes-unnoticed",
    "With heartbeats disabled, a client whose connection is lost in silence keeps its tasks: nobody notices.",
    source=HEARTBEATS.section("disabling"),
    proved_by=[caught("gives-up-early", "the other worker has ['kept for ever', 'given back']")],
)
def test_without_heartbeats_a_lost_connection_keeps_its_tasks(stage, queue, publish):
    wire = stage.proxy()
    without, with_heartbeats = (stage.client(heartbeat=seconds, proxy=wire) for seconds in (0, 1))
    for client in (without, with_heartbeats):
        client.qos(1)
        client.consume(queue.name)
    tasks = publish("kept for ever", "given back")
    for client in (without, with_heartbeats):
        client.wait_until_holding(1)
    kept, given_back = without.tasks[0], with_heartbeats.tasks[0]
    other = stage.client()
    other.consume(queue.name)

    landed("both connections fall silent", wire.freeze(), 2)
    # Lost at the same moment, and given up: the broker had as long to notice the other one.
    barrier("the client with heartbeats is given up", lambda: given_back in other.tasks)

    other.sync()
    assert sorted([kept, given_back]) == sorted(tasks)
    assert other.tasks == [given_back], f"the other worker has {other.tasks}"


@hazard(
    "connections.busy-worker-is-disconnected",
    "A worker whose callback works for longer than some three heartbeat timeouts, without serving its connection, is "
    "disconnected: its task goes to another worker, and its ack fails.",
    source=HEARTBEATS.section("heartbeats-interval"),
    proved_by=[
        caught("beats-for-the-dead", "another worker is given the task while this one works"),
        caught("shares-what-is-held", "the busy worker was not disconnected"),
    ],
)
def test_a_worker_that_is_busy_for_too_long_is_disconnected(stage, queue, publish):
    [task] = publish("a very, very long task")
    other = stage.client()
    connection = stage.connect(heartbeat=1)
    channel = connection.channel()
    worked, kept = [], []

    def callback(ch, method, properties, body):
        other.consume(queue.name)
        claim("another worker is given the task while this one works", lambda: other.tasks == [task])
        worked.append(body.decode())
        ch.basic_ack(method.delivery_tag)
        connection.call_later(PATIENCE, give_up)

    def give_up():
        kept.append(True)
        channel.stop_consuming()

    channel.basic_consume(queue.name, callback)
    with contextlib.suppress(AMQPError):  # it is disconnected
        channel.start_consuming()

    assert not kept, "the busy worker was not disconnected"
    assert worked == other.tasks == [task]
    assert other.received[0].redelivered
    assert not connection.is_open


@guarantee(
    "connections.worker-with-an-io-thread-can-take-its-time",
    "A worker that serves its connection in another thread than the one it works in keeps its task for as long as it "
    "works.",
    source=HEARTBEATS.section("heartbeats-interval"),
    counter_example="connections.busy-worker-is-disconnected",
    proved_by=[
        caught("hangs-up", "`other.tasks == [others]"),
        caught("refuses-settling", "its ack is accepted: the broker refused"),
    ],
)
def test_a_worker_with_an_io_thread_keeps_its_task(stage, queue, publish):
    neglected = stage.connect(heartbeat=2).channel()
    served = stage.client(heartbeat=1)
    [others] = publish("neglected")
    method, _, _ = neglected.basic_get(queue.name)
    [mine] = publish("served")
    served.qos(1)
    served.consume(queue.name)
    served.wait_until_holding(1)
    other = stage.client()
    other.consume(queue.name)

    # Nobody serves this connection: when it has been given up, so would the other have been.
    assert method is not None
    barrier("the neglected connection is given up", lambda: others in other.tasks)

    other.sync()
    assert other.tasks == [others]
    assert served.is_open, f"the connection that was served was closed: {served.closed_by!r}"
    served.ack(served.received[0])
    with promised("its ack is accepted"):
        served.sync()
    assert served.tasks == [mine]
    assert served.is_open


# The broker goes down


@guarantee(
    "connections.stop-is-announced",
    "A broker that is stopped closes its connections properly: 320, CONNECTION_FORCED, shutdown.",
    source=RELIABILITY.section("connection-failures"),
    across="restart",
    counter_example="connections.kill-is-not-announced",
    proved_by=[caught("renames-errors", "`client.closed_by.reply_code == 320")],
)
def test_a_broker_that_is_stopped_says_so(stage):
    client = stage.client()
    yield
    claim("the client is disconnected", lambda: client.closed_by)
    assert isinstance(client.closed_by, ConnectionClosedByBroker), f"it ended with {client.closed_by!r}"
    assert client.closed_by.reply_code == 320
    assert "CONNECTION_FORCED" in client.closed_by.reply_text


@hazard(
    "connections.kill-is-not-announced",
    "A broker that is killed says nothing: its clients only see that the stream is lost.",
    source=RELIABILITY.section("connection-failures"),
    across="kill",
    proved_by=[caught("says-goodbye", "it ended with ConnectionClosedByBroker: (320) 'CONNECTION_FORCED -")],
)
def test_a_broker_that_is_killed_says_nothing(stage):
    client = stage.client()
    yield
    claim("the client is disconnected", lambda: client.closed_by)
    assert not isinstance(client.closed_by, ConnectionClosedByBroker), f"it ended with {client.closed_by!r}"


# Frames and messages


@guarantee(
    "connections.smallest-frame-max-of-amqp",
    "A client can negotiate the smallest maximum frame size that AMQP 0-9-1 allows: 4096 bytes.",
    source=AMQP,
    broken_on=[
        BrokenOn(
            kind,
            ">=4.1",
            "the broker's minimum is 8192 bytes; it cuts off a client that asks for less",
            release_note("4.1.0"),
        )
        for kind in ("classic", "quorum")
    ],
    proved_by=[caught("refuses-small-frames", "frame_max=4096 is accepted: the broker refused")],
)
def test_a_client_can_have_frames_of_4096_bytes(stage):
    with promised("frame_max=4096 is accepted"):
        connection = stage.connect(frame_max=4096)
    assert connection.is_open


@guarantee(
    "connections.frames-do-not-bound-messages",
    "A message that is larger than a frame arrives whole, with every byte of it.",
    source=AMQP,
    proved_by=[caught("corrupts-bodies", "`got == body")],
)
def test_a_message_is_put_together_from_many_small_frames(stage, queue):
    channel = stage.connect(frame_max=8192).channel()
    channel.confirm_delivery()
    body = bytes(range(256)) * 1024

    channel.basic_publish("", queue.name, body)

    method, _, got = channel.basic_get(queue.name, auto_ack=True)
    assert method is not None
    assert got == body


# Getting in


@guarantee(
    "connections.wrong-password-is-refused",
    "A client with a wrong password is refused with 403, ACCESS_REFUSED, before it can do anything.",
    source=Source("Authentication failures", "https://www.rabbitmq.com/docs/auth-notification"),
    proved_by=[
        caught("renames-errors", "it was refused, but with"),
        caught("lets-everybody-in", "a client with a wrong password was let in"),
    ],
)
def test_a_wrong_password_is_refused(stage):
    stage.connect()  # with the right one
    parameters = pika.URLParameters(stage.url())
    parameters.credentials = pika.PlainCredentials(parameters.credentials.username, "not the password")

    try:
        pika.BlockingConnection(parameters).close()
    except AMQPConnectionError as error:
        said = str(error)
    else:
        raise Broken("a client with a wrong password was let in")
    assert re.search(r"403.*ACCESS_REFUSED", said), f"it was refused, but with {said!r}"


# Half-open


@hazard(
    "connections.publishing-into-silence-succeeds",
    "Publishing without confirms into a connection that was lost in silence raises nothing, and the tasks are lost.",
    source=CONFIRMS.section("publisher-confirms"),
    proved_by=[caught("duplicates-publishes", "`[each.task for each in queue.drain()] == ['before']")],
)
def test_publishing_into_a_connection_lost_in_silence_raises_nothing(stage, queue):
    wire = stage.proxy()
    channel = stage.connect(proxy=wire).channel()
    channel.basic_publish("", queue.name, b"before")
    channel.queue_declare(queue.name, passive=True)  # whatever the broker makes of it, it has made
    claim("the first task arrives", queue.ready)

    landed("the producer's connection falls silent", wire.freeze())
    for _ in range(10):
        channel.basic_publish("", queue.name, b"after")  # raises nothing
    wire.close()

    assert [each.task for each in queue.drain()] == ["before"]


@guarantee(
    "connections.channels-are-independent",
    "Channels of one connection are independent: closing one gives back what it holds, and leaves the others alone.",
    source=CHANNELS.section("lifecycle"),
    proved_by=[
        caught("acks-for-the-dead", "what the closed channel held is ready again"),
        caught("closes-the-others", "the other channel was closed, too"),
        caught("returns-from-all", "the closed channel held ['first'], and there came back"),
    ],
)
def test_closing_one_channel_leaves_the_others_alone(stage, queue, publish):
    tasks = publish("first", "second")
    one = stage.client()
    two = stage.client(beside=one)
    for client in (one, two):
        assert client.get(queue.name) is not None

    one.close()

    claim("what the closed channel held is ready again", queue.ready)
    assert two.is_open, f"the other channel was closed, too: {two.closed_by!r}"
    back = [delivery.task for delivery in iter(lambda: two.get(queue.name), None)]
    assert back == tasks[:1], f"the closed channel held {tasks[:1]}, and there came back {back}"
