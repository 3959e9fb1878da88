"""The core's producer: what a send that returns is worth, and what every other end of it says."""

import sys
import threading

import pytest
from pika.exceptions import UnsupportedAMQPFieldException
from pika.spec import Basic

from workqueue import Closed, Nacked, Producer, Queue, TopologyMismatch, Unroutable
from workqueue.events import Connected, PublishEnded
from workqueue.guarantee.waiting import PATIENCE, claim
from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, from_broker
from workqueue.wire.proxy import Proxy


def outcomes(futures):
    return [future.exception(PATIENCE) for future in futures]


def told(events, kind):
    return [event for event in events if isinstance(event, kind)]


# What is confirmed


def test_a_thousand_and_one_messages_are_confirmed_in_a_window_of_ten(url, queue, aside):
    with Producer(url, window=10) as producer:
        futures = [producer.send_async(queue, b"%d" % number) for number in range(1001)]
        assert outcomes(futures) == [None] * 1001

    assert [taken.body for taken in aside.take(queue, 1001)] == [b"%d" % number for number in range(1001)]


def test_threads_may_share_a_producer_and_be_the_first_to_use_a_queue(producer, queue, aside):
    futures = []
    threads = [
        threading.Thread(target=lambda: futures.extend(producer.send_async(queue, b"x") for _ in range(100)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert outcomes(futures) == [None] * 400
    assert len({taken.properties.message_id for taken in aside.take(queue, 400)}) == 400


def test_threads_that_send_at_the_same_time_each_get_their_own_answer(producer, queue, aside):
    failed = []

    def send(letter):
        try:
            for number in range(100):
                producer.send(queue, b"%c%d" % (letter, number))
        except Exception as error:  # noqa: BLE001 - it is for the test to look at
            failed.append(error)

    threads = [threading.Thread(target=send, args=[letter]) for letter in b"abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert not failed
    assert {taken.body for taken in aside.take(queue, 800)} == {
        b"%c%d" % (letter, number) for letter in b"abcdefgh" for number in range(100)
    }


def test_a_message_is_persistent_and_carries_its_id(producer, queue, aside):
    producer.send(queue, b"task", message_id="mine")

    [taken] = aside.take(queue, 1)
    assert (taken.body, taken.properties.message_id, taken.properties.delivery_mode) == (b"task", "mine", 2)


class ConfirmsAtOnce(Liar):
    """Withholds confirmations until there are so many, and then gives one for all."""

    def __init__(self, count):
        super().__init__()
        self._count = count
        self._confirmed = set()

    @from_broker(Basic.Ack)
    def ack(self, channel, command):
        tag = command.method.delivery_tag
        self._confirmed |= set(range(1, tag + 1)) if command.method.multiple else {tag}
        if len(self._confirmed) < self._count:
            return []
        self.lie()
        return [Command(channel.number, Basic.Ack(self._count, multiple=True))]


def test_one_confirmation_may_be_for_many_messages(url, new_queue):
    at_once = ConfirmsAtOnce(100)
    with Proxy.to(url, at_once) as wire, Producer(wire.through(url)) as producer:
        queue = new_queue("classic")
        futures = [producer.send_async(queue, b"task") for _ in range(100)]

        assert outcomes(futures) == [None] * 100
    assert at_once.lies == 1


# What is not


def test_a_message_for_no_queue_is_unroutable_and_the_next_one_is_fine(producer, queue):
    with pytest.raises(Unroutable, match="no queue 'nobody-declared-this'") as caught:
        producer.send("nobody-declared-this", b"task", message_id="lost")
    assert caught.value.message_id == "lost"

    producer.send(queue, b"task")


def test_a_queue_that_was_deleted_is_declared_again(producer, queue, aside):
    producer.send(queue, b"first")
    aside.delete(queue)
    with pytest.raises(Unroutable):
        producer.send(queue, b"second")
    producer.send(queue, b"third")
    assert [taken.body for taken in aside.take(queue, 1)] == [b"third"]

    aside.delete(queue)
    producer.send(queue, b"fourth", retry=1)
    assert [taken.body for taken in aside.take(queue, 1)] == [b"fourth"]


def test_a_full_queue_nacks(producer, new_queue, aside):
    queue = new_queue("classic", max_length=1, overflow="reject-publish")
    producer.send(queue, b"fits")

    with pytest.raises(Nacked):
        producer.send(queue, b"does not")

    aside.take(queue, 1)


def test_a_message_that_was_nacked_is_tried_again_until_there_is_room(url, new_queue, aside):
    # Given a full queue, and a message for it that was refused and is to be tried again,
    events = []
    queue = new_queue("classic", max_length=1, overflow="reject-publish")
    with Producer(url, observer=events.append) as producer:
        producer.send(queue, b"fits")
        sending = threading.Thread(
            target=producer.send, args=[queue, b"again"], kwargs={"message_id": "a", "retry": 50}
        )
        sending.start()
        claim("the message is refused", lambda: any(event.error for event in told(events, PublishEnded)))

        # When there is room, I expect it to be sent.
        assert [taken.body for taken in aside.take(queue, 2)] == [b"fits", b"again"]
        sending.join(PATIENCE)
    assert {event.message_id for event in told(events, PublishEnded) if event.error} == {"a"}


# Its life


def test_a_mismatch_leaves_the_producer_usable(producer, queue):
    producer.declare(queue)

    with pytest.raises(TopologyMismatch) as caught:
        producer.declare(Queue(queue.name, queue.type, dead_letter=queue.dead_letter, max_length=5))

    assert caught.value.code == 406
    assert f"inequivalent arg 'x-max-length' for queue '{queue.name}'" in str(caught.value)
    producer.send(queue, b"task")


def test_arguments_that_amqp_cannot_express_end_neither_the_connection_nor_what_is_sent_by_it(url, queue, work):
    # Given a producer that is connected,
    events, odd = [], Queue("q", extra={"x": object()})
    with Producer(url, observer=events.append) as producer:
        future = producer.send_async(queue, b"task")

        # When it has to declare a queue with such an argument, I expect that to fail at once, and nothing else.
        with pytest.raises(UnsupportedAMQPFieldException):
            producer.send(odd, b"task", retry=1)
        assert future.result(PATIENCE) is None
        producer.send(queue, b"task")
    assert len(told(events, Connected)) == 1

    # A worker does not try again for ever, either.
    assert isinstance(work(url, odd).wait(), UnsupportedAMQPFieldException)


def test_a_callback_may_publish(producer, queue):
    second = []
    first = producer.send_async(queue, b"task")
    first.add_done_callback(lambda _: second.append(producer.send_async(queue.name, b"from a callback")))

    claim("the callback has published", lambda: second)

    assert second[0].result(PATIENCE) is None


def test_a_callback_that_exits_ends_nothing_else(producer, queue):
    held = threading.Event()
    producer.declare(queue)
    producer._session.link.call_soon(lambda: held.wait(PATIENCE))  # so that none is confirmed too early
    futures = [producer.send_async(queue, b"%d" % number) for number in range(10)]
    for future in futures:
        future.add_done_callback(lambda _: sys.exit())
    held.set()

    assert outcomes(futures) == [None] * 10
    producer.send(queue, b"later")


def test_waiting_in_a_callback_is_refused_rather_than_a_deadlock(producer, queue):
    errors = []

    def callback(_):
        try:
            producer.send(queue, b"never")
        except RuntimeError as error:
            errors.append(error)

    producer.send_async(queue, b"task").add_done_callback(callback)

    claim("the callback was refused", lambda: errors)
    assert "cannot be called from a future's callback" in str(errors[0])


def test_a_closed_producer_says_so(url, queue):
    producer = Producer(url)
    producer.send(queue, b"task")
    producer.close()
    producer.close()

    assert repr(producer).endswith(" closed>")
    with pytest.raises(Closed):
        producer.send(queue, b"task")
