"""Tasks that can never succeed, and tasks that fail: none blocks its queue, and none gets lost."""

import struct
import threading

import pika
import pytest

from workqueue import Queue, Reject
from workqueue.events import Disconnected, Subscribed, TaskEnded
from workqueue.guarantee.waiting import PATIENCE, claim

FAILURES = "x-workqueue-failures"


class Encoded(pika.BasicProperties):
    """Properties as bytes that a broker lets pass and that no client has to understand."""

    def __init__(self, encoded):
        super().__init__()
        self._encoded = encoded

    def encode(self):
        return [self._encoded]


def shortstr(content):
    return bytes([len(content)]) + content


def headers(*entries):
    table = b"".join(shortstr(name) + value for name, value in entries)
    return struct.pack(">HL", 0x2000, len(table)) + table


UNDECODABLE = {
    "an id that is no UTF-8": struct.pack(">HB", 0x1080, 2) + shortstr(b"\xff\xfe"),
    "such an id, and nothing else": struct.pack(">H", 0x0080) + shortstr(b"\xff\xfe"),
    "a time beyond all calendars": headers((b"when", b"T" + struct.pack(">Q", 2**63 - 1))),
}


@pytest.mark.parametrize("properties", UNDECODABLE.values(), ids=UNDECODABLE)
def test_what_nobody_can_decode_is_dead_lettered_at_once(url, queue, aside, producer, work, properties):
    producer.declare(queue)
    aside.publish(queue, b"poison", Encoded(properties))
    aside.publish(queue, b"good")

    worker = work(url, queue)

    assert [event.outcome for event in worker.until(TaskEnded, 2)] == ["rejected", "done"]
    assert worker.bodies == [b"good"]
    claim("it is dead-lettered", lambda: aside.ready(queue.dead_letter) == 1)
    assert worker.stop() is None
    assert not worker.told(Disconnected)
    assert aside.ready(queue) == 0


def test_what_is_rejected_is_dead_lettered_and_what_failed_is_tried_again(url, queue, aside, producer, work, caplog):
    producer.send(queue, b"poison")
    producer.send(queue, b"flaky")

    def handle(message):
        if message.body == b"poison":
            raise Reject("never")
        if not message.failures:
            raise ValueError("once")

    worker = work(url, queue, handle)

    ended = worker.until(TaskEnded, 3)
    assert [(each.message.body, each.outcome) for each in ended] == [
        (b"poison", "rejected"),
        (b"flaky", "failed"),
        (b"flaky", "done"),
    ]
    assert worker.stop() is None
    assert [taken.body for taken in aside.take(queue.dead_letter, 1)] == [b"poison"]
    assert [record.levelname for record in caplog.records if record.name == "workqueue"] == ["WARNING", "ERROR"]


@pytest.mark.parametrize("body", [b"\xff", b"{", b"[" * 100_000], ids=["no text", "no json", "too deep"])
def test_a_body_that_cannot_be_read_is_dead_lettered_at_once(url, queue, aside, producer, work, body):
    producer.send(queue, body)
    producer.send(queue, b'{"a": 1}')
    read = []

    worker = work(url, queue, lambda message: read.append(message.json()))

    assert [event.outcome for event in worker.until(TaskEnded, 2)] == ["rejected", "done"]
    assert read == [{"a": 1}]
    assert worker.stop() is None
    assert [taken.body for taken in aside.take(queue.dead_letter, 1)] == [body]


def always_fails(message):
    raise ValueError(f"{message.body!r} fails")


@pytest.fixture
def full_of_properties():
    """All properties that there are but a user, with an expiration far away."""
    return pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        headers={"mine": "kept", "number": 7, "nested": {"list": [1, "two"]}},
        delivery_mode=2,
        priority=1,
        correlation_id="correlated",
        reply_to="somebody",
        expiration="3600000",
        message_id="mine",
        timestamp=1700000000,
        type="a type",
        app_id="an app",
    )


def test_a_task_that_always_fails_is_dead_lettered_after_the_last_attempt(
    url, queue, aside, producer, work, full_of_properties
):
    producer.declare(queue)
    aside.publish(queue, b"fails", full_of_properties)

    worker = work(url, queue, always_fails, max_attempts=3)

    # I expect three attempts, each of which knows how often it failed before,
    assert [event.outcome for event in worker.until(TaskEnded, 3)] == ["failed", "failed", "given up"]
    assert [message.failures for message in worker.started] == [0, 1, 2]
    assert worker.stop() is None
    assert aside.ready(queue) == 0
    # and a dead letter that is what was published, and says why it is there; it does not expire.
    [letter] = aside.take(queue.dead_letter, 1)
    assert letter.body == b"fails"
    kept = dict(vars(full_of_properties), headers=None, expiration=None)
    assert dict(vars(letter.properties), headers=None) == kept
    told = letter.properties.headers
    assert {name: told[name] for name in full_of_properties.headers} == full_of_properties.headers
    assert (told[FAILURES], told["x-workqueue-queue"]) == (3, queue.name)
    assert "ValueError" in told["x-workqueue-error"]


def test_a_classic_queue_has_copies_counted_in_a_header(url, new_queue, aside, producer, work):
    queue = new_queue("classic")
    producer.send(queue, b"fails", message_id="mine")
    producer.send(queue, b"next")

    def fail_twice(message):
        if message.body == b"fails" and message.failures < 2:
            raise ValueError

    worker = work(url, queue, fail_twice)

    # The copy goes to the tail, so that it is in nobody's way.
    worker.until(TaskEnded, 4)
    assert worker.bodies == [b"fails", b"next", b"fails", b"fails"]
    tries = [message for message in worker.started if message.body == b"fails"]
    assert [(each.message_id, each.headers.get(FAILURES), each.redelivered) for each in tries] == [
        ("mine", None, False),
        ("mine", 1, False),
        ("mine", 2, False),
    ]
    assert worker.stop() is None
    assert aside.ready(queue) == 0


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_task_whose_copy_would_not_fit_is_dead_lettered_at_once(url, new_queue, aside, producer, work, attempts):
    queue = new_queue("classic")
    producer.declare(queue)
    aside.publish(queue, b"task", pika.BasicProperties(headers={"large": "x" * 130_990}))  # of 131,052 that may be

    def fail(_):
        raise ValueError("no")

    worker = work(url, queue, fail, max_attempts=attempts)

    assert [event.outcome for event in worker.until(TaskEnded)] == ["rejected"]
    claim("it is dead-lettered", lambda: aside.ready(queue.dead_letter) == 1)
    assert worker.stop() is None
    assert not worker.told(Disconnected)
    assert aside.ready(queue) == 0


def test_a_dead_letter_that_is_not_confirmed_leaves_the_task_where_it_is(url, queue, aside, producer, work):
    # Given a queue for dead letters that is full, and takes nothing,
    full = Queue(f"{queue.name}.dead", "classic", max_length=1, overflow="reject-publish")
    queue = Queue(queue.name, queue.type, dead_letter=full)
    producer.send(full, b"full")
    producer.send(queue, b"fails", message_id="mine")

    # when a task fails for the last time, I expect it to go back,
    worker = work(url, queue, always_fails, max_attempts=1)
    first = worker.until(TaskEnded)[0]
    assert (first.outcome, first.settled) == ("failed", True)
    claim("it is tried again", lambda: len(worker.started) > 1)

    # and to be dead-lettered once there is room.
    with aside.channel() as channel:
        assert channel.basic_get(full.name, auto_ack=True)[2] == b"full"
    claim("it is given up", lambda: given_up(worker))
    assert worker.stop() is None
    assert [(letter.body, letter.properties.message_id) for letter in aside.take(full, 1)] == [(b"fails", "mine")]
    assert aside.ready(queue) == 0


def test_a_copy_whose_confirmation_is_lost_does_not_cost_the_task(url, wire, new_queue, aside, producer, work):
    # Given a classic queue, and a task whose copy the broker has but cannot confirm,
    queue = new_queue("classic")
    producer.send(queue, b"fails", message_id="mine")
    lost = []

    def fail(message):
        if message.failures == 1 and not lost:
            lost.append(wire.lose_answers())
        raise ValueError

    worker = work(wire.through(url), queue, fail, max_attempts=3)
    claim("the copy is there", lambda: lost and aside.ready(queue) == 1)
    assert lost == [2]

    # when the connections are lost, and come back,
    assert wire.cut() == 2
    worker.until(Disconnected)
    wire.thaw()

    # I expect it to be given up in the end, whatever copies of it there are.
    claim("it is given up", lambda: given_up(worker))
    assert worker.stop() is None
    letters = aside.take(queue.dead_letter, aside.ready(queue.dead_letter))
    assert {(letter.body, letter.properties.message_id) for letter in letters} == {(b"fails", "mine")}


def given_up(worker):
    return len([event for event in worker.told(TaskEnded) if event.outcome == "given up"])


def test_twins_that_fail_at_once_are_both_tried_again(url, new_queue, aside, work):
    # Given two tasks with the same id, as one that was sent again after an unknown outcome has,
    queue = new_queue("classic")
    together = threading.Barrier(2)

    def handle(message):
        if message.failures == 0:
            together.wait(PATIENCE)  # both fail at the same moment
            raise ValueError("not yet")

    worker = work(url, queue, handle, concurrency=2)
    worker.until(Subscribed)
    for _ in range(2):
        aside.publish(queue, b"twin", pika.BasicProperties(message_id="twin", delivery_mode=2))

    # I expect both to go back as failed, and both to be done in the end.
    claim("all four are ended", lambda: len(worker.told(TaskEnded)) == 4)
    assert sorted(event.outcome for event in worker.told(TaskEnded)) == ["done", "done", "failed", "failed"]
    assert worker.stop() is None
    assert aside.ready(queue.dead_letter) == 0


def test_a_copy_goes_to_its_queue_alone(url, new_queue, aside, producer, work):
    queue, other = new_queue("classic"), new_queue("classic")
    producer.declare(other)
    worker = work(url, queue, lambda message: 1 / message.failures)
    worker.until(Subscribed)

    aside.publish(queue, b"task", pika.BasicProperties(headers={"CC": [other.name]}, delivery_mode=2))

    claim("it is done", lambda: [event.outcome for event in worker.told(TaskEnded)] == ["failed", "done"])
    assert worker.stop() is None
    assert [taken.body for taken in aside.take(other, 1)] == [b"task"]


class Promise:
    def __await__(self):
        yield


def test_a_handler_that_returns_what_nobody_awaits_has_failed(url, queue, producer, work, caplog):
    producer.send(queue, b"task")
    answers = [Promise(), None]

    worker = work(url, queue, lambda _: answers.pop(0))

    ended = worker.until(TaskEnded, 2)
    assert [each.outcome for each in ended] == ["failed", "done"]
    assert "which nobody awaits" in str(ended[0].error)
    assert worker.stop() is None
