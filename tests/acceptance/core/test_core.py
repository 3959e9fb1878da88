"""The core as a library, against a real broker."""

import contextlib
import socket
import threading
import time
import uuid
from urllib.parse import urlsplit, urlunsplit

import pika
import pytest

from workqueue import (
    ChannelClosed,
    Closed,
    ConnectionLost,
    Nacked,
    OutcomeUnknown,
    Producer,
    Queue,
    Reject,
    TopologyMismatch,
    Unroutable,
    Worker,
)
from workqueue.wire.proxy import Proxy

PATIENCE = 20.0


@pytest.fixture
def url(workqueue_broker):
    return workqueue_broker.url


@pytest.fixture(params=["classic", "quorum"])
def queue(request, url):
    """A queue of either type whose dead letters are kept. Gone at the end."""
    name = f"acceptance-{uuid.uuid4().hex}"
    yield Queue(name, request.param, dead_letter=Queue(f"{name}.dead", "classic"))
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        for each in (name, f"{name}.dead"):
            connection.channel().queue_delete(each)


@pytest.fixture
def producer(url):
    with Producer(url) as producer:
        yield producer


class Wire:
    """A way to the broker that can fall silent and be cut."""

    def __init__(self, url):
        self._parts = urlsplit(url)
        self._proxy = Proxy(self._parts.hostname, self._parts.port or 5672)
        self.freeze = self._proxy.freeze
        self._ends = contextlib.ExitStack()
        self._ends.callback(self._proxy.close)

    def url(self, query=""):
        login = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{login}@127.0.0.1:{self._proxy.port}", query=query))

    def cut(self):
        self._ends.close()


@pytest.fixture
def wire(url):
    wire = Wire(url)
    yield wire
    wire.cut()


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def consume(url, queue, count, handler=lambda message: None):
    """Handle so many deliveries, then stop; return them."""
    messages = []

    def handle(message):
        messages.append(message)
        if len(messages) == count:
            worker.stop()
        handler(message)

    worker = Worker(url, queue, handle, prefetch=min(count, 100))
    watchdog = threading.Timer(PATIENCE, worker.stop)
    watchdog.start()
    worker.run()
    watchdog.cancel()
    assert len(messages) == count, "the rest did not come in time"
    return messages


def test_a_thousand_and_one_messages_are_confirmed_in_a_window_of_ten(url, queue):
    with Producer(url, window=10) as producer:
        futures = [producer.send_async(queue, b"%d" % number) for number in range(1001)]
        assert [future.result(PATIENCE) for future in futures] == [None] * 1001

    assert [message.body for message in consume(url, queue, 1001)] == [b"%d" % number for number in range(1001)]


def test_threads_may_share_a_producer(producer, queue, url):
    threads = [
        threading.Thread(target=lambda: [producer.send_async(queue, b"x") for _ in range(100)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    producer.close()

    assert len({message.message_id for message in consume(url, queue, 400)}) == 400


def test_a_message_is_persistent_and_carries_its_id(producer, queue, url):
    producer.send(queue, b"task", message_id="mine")

    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        _, properties, body = connection.channel().basic_get(queue.name)
    assert (body, properties.message_id, properties.delivery_mode) == (b"task", "mine", 2)


def test_a_message_for_no_queue_is_unroutable_and_the_next_one_is_fine(producer, queue):
    with pytest.raises(Unroutable, match="no queue 'nobody-declared-this'") as caught:
        producer.send("nobody-declared-this", b"task", message_id="lost")
    assert caught.value.message_id == "lost"

    producer.send(queue, b"task")


def test_a_full_queue_nacks(producer, url):
    queue = Queue(f"acceptance-{uuid.uuid4().hex}", "classic", max_length=1, overflow="reject-publish")
    producer.send(queue, b"fits")

    with pytest.raises(Nacked):
        producer.send(queue, b"does not")

    assert len(consume(url, queue, 1)) == 1
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        connection.channel().queue_delete(queue.name)


def test_a_mismatch_leaves_the_producer_usable(producer, queue):
    producer.declare(queue)

    with pytest.raises(TopologyMismatch) as caught:
        producer.declare(Queue(queue.name, queue.type, dead_letter=queue.dead_letter, max_length=5))

    assert (caught.value.queue, caught.value.argument) == (queue.name, "x-max-length")
    assert (caught.value.asked, caught.value.actual) == ("5", None)
    producer.send(queue, b"task")


def test_a_refused_declaration_tells_the_brokers_reason(producer):
    with pytest.raises(ChannelClosed, match=r"403 ACCESS_REFUSED.*reserved prefix"):
        producer.declare(Queue("amq.mine"))


def test_arguments_that_amqp_cannot_express_are_refused_before_anything_is_sent(producer, queue):
    with pytest.raises(ValueError, match="no AMQP arguments"):
        producer.declare(Queue("q", extra={"x": object()}))

    producer.send(queue, b"task")


def test_a_lost_connection_leaves_every_outstanding_outcome_unknown(url, wire, queue):
    # Given messages that the broker cannot confirm, because the wire is silent,
    producer = Producer(wire.url())
    producer.send(queue, b"confirmed")
    wire.freeze()
    futures = [producer.send_async(queue, b"task") for _ in range(10)]
    assert "10 of 1000 unconfirmed" in repr(producer)

    # When the connection is lost,
    wire.cut()

    # I expect each of them to say that nobody can tell.
    for future in futures:
        assert isinstance(future.exception(PATIENCE), OutcomeUnknown)
    assert "disconnected" in repr(producer)
    producer.close()


def test_send_gives_up_when_no_confirmation_comes_in_time(url, wire, queue):
    producer = Producer(wire.url(), confirm_timeout=0.2)
    producer.send(queue, b"confirmed")
    wire.freeze()

    with pytest.raises(OutcomeUnknown, match=r"did not confirm within 0\.2 s"):
        producer.send(queue, b"task")

    wire.cut()
    producer.close()


def test_a_callback_may_publish(producer, queue):
    second = []
    first = producer.send_async(queue, b"task")
    first.add_done_callback(lambda _: second.append(producer.send_async(queue.name, b"from a callback")))

    until(lambda: second)

    assert second[0].result(PATIENCE) is None


def test_a_producer_connects_anew_after_the_broker_closed_its_channel(producer, queue):
    # Larger than what a broker takes by default: 128 MiB, or 16 since 4.0.
    producer.send(queue, b"before")
    with pytest.raises(OutcomeUnknown, match=r"PRECONDITION_FAILED - message size .* larger"):
        producer.send(queue, bytes(140 << 20))

    producer.send(queue, b"after")


def test_waiting_in_a_callback_is_refused_rather_than_a_deadlock(producer, queue):
    errors = []

    def callback(_):
        try:
            producer.send(queue, b"never")
        except RuntimeError as error:
            errors.append(error)

    producer.send_async(queue, b"task").add_done_callback(callback)

    until(lambda: errors)
    assert "cannot be called from a future's callback" in str(errors[0])


def test_a_closed_producer_says_so(url, queue):
    producer = Producer(url)
    producer.send(queue, b"task")
    producer.close()
    producer.close()

    assert repr(producer).endswith(" closed>")
    with pytest.raises(Closed):
        producer.send(queue, b"task")


def test_rejected_is_dead_lettered_and_failed_comes_back(producer, queue, url, caplog):
    producer.send(queue, b"poison")
    producer.send(queue, b"flaky")
    seen = []

    def handle(message):
        seen.append((message.body, message.redelivered))
        if message.body == b"poison":
            raise Reject("never")
        if not message.redelivered:
            raise ValueError("once")

    consume(url, queue, 3, handle)

    assert seen == [(b"poison", False), (b"flaky", False), (b"flaky", True)]
    assert [message.body for message in consume(url, queue.name + ".dead", 1)] == [b"poison"]
    assert [record.levelname for record in caplog.records if record.name == "workqueue"] == ["WARNING", "ERROR"]


@pytest.mark.parametrize("queue", ["quorum"], indirect=True)
def test_a_failed_task_counts_and_an_unstarted_one_does_not(producer, url, queue):
    for body in (b"first", b"second"):
        producer.send(queue, body)

    def fail(message):
        worker.stop()
        raise ValueError(message.body)

    worker = Worker(url, queue, fail, prefetch=2)
    worker.run()

    counts = {message.body: message.delivery_count for message in consume(url, queue, 2)}
    assert counts[b"first"] == 1
    # Before RabbitMQ 4.3, being handed back counts, too.
    assert counts[b"second"] in (None, 0, 1)


def test_acks_are_not_lost_when_the_worker_stops_right_after_them(producer, url, queue):
    for _ in range(300):
        producer.send_async(queue, b"task")
    producer.close()
    messages = []

    def handle(message):
        messages.append(message)
        if len(messages) == 250:
            worker.stop()

    worker = Worker(url, queue, handle, prefetch=300)
    worker.run()

    again = consume(url, queue, 50)
    assert not {message.message_id for message in again} & {message.message_id for message in messages}


def test_a_lost_connection_ends_the_worker_with_an_error_after_its_task(url, wire, queue, producer):
    producer.send(queue, b"task")
    finished = []

    def handle(_):
        wire.cut()
        until(lambda: worker._lost is not None)
        finished.append(True)

    worker = Worker(wire.url(), queue, handle)
    with pytest.raises(ConnectionLost):
        worker.run()

    assert finished
    assert [message.redelivered for message in consume(url, queue, 1)] == [True]


@pytest.mark.parametrize("queue", ["classic"], indirect=True)
def test_a_silent_broker_is_noticed_by_heartbeat(wire, queue):
    worker = Worker(wire.url("heartbeat=1"), queue, print, on_ready=wire.freeze)

    started = time.monotonic()
    with pytest.raises(ConnectionLost):
        worker.run()

    assert time.monotonic() - started < PATIENCE


def test_a_missing_queue_ends_the_worker_with_an_error(url):
    with pytest.raises(ChannelClosed, match="404 NOT_FOUND"):
        Worker(url, "nobody-declared-this", print).run()


def test_a_worker_may_be_stopped_while_it_connects():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        worker = Worker(f"amqp://127.0.0.1:{deaf.getsockname()[1]}", "task_queue", print)
        threading.Timer(0.3, worker.stop).start()

        started = time.monotonic()
        worker.run()

    assert time.monotonic() - started < 5
    assert "stopped" in repr(worker)


def test_the_repr_of_a_worker_tells_its_state(producer, url, queue):
    producer.send(queue, b"task")
    states = []

    def handle(_):
        states.append(repr(worker))
        worker.stop()

    worker = Worker(url, queue, handle)
    worker.run()

    assert "consuming, one task in hand" in states[0]
    assert repr(worker).endswith(" stopped, nothing in hand>")
