"""The core's producer where no answer comes: what is told then, how soon, and how it goes on."""

import threading
import time

import pytest
from pika.frame import Method
from pika.spec import Basic, Connection

from workqueue import NotSent, OutcomeUnknown, Producer
from workqueue.events import Connected, Disconnected
from workqueue.guarantee.waiting import PATIENCE, claim
from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, from_broker
from workqueue.wire.proxy import Proxy

TIMEOUT = 1.0
"""Seconds that a confirmation may take here, where none comes."""

SLACK = 2.0
"""Seconds for a busy machine."""


def outcomes(futures):
    return [future.exception(PATIENCE) for future in futures]


def told(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_behind_a_silent_wire_every_future_ends_in_time(url, wire, queue, wait_so_long):
    # Given a producer whose window is full of what the broker cannot confirm, because the wire is silent,
    producer = Producer(wire.through(url), window=10)
    producer.send(queue, b"confirmed")
    wait_so_long(producer, TIMEOUT)
    assert wire.freeze() == 1
    began = time.monotonic()
    futures = [producer.send_async(queue, b"task") for _ in range(10)]
    assert "10 of 10 unconfirmed" in repr(producer)

    # When another message is sent,
    with pytest.raises(NotSent, match=r"no room in the window|no answer"):  # of the first of them, just before
        producer.send_async(queue, b"one too many")

    # I expect it to be known as not sent, and of the others that nobody can tell, all of that in time.
    for error in outcomes(futures):
        assert isinstance(error, OutcomeUnknown)
        assert str(error).startswith("not confirmed")
        assert f"within {TIMEOUT:g} s" in str(error)
    assert time.monotonic() - began < 2 * TIMEOUT + SLACK
    wire.cut()
    producer.close()


class NeverAnswersAgain(Liar):
    """Withholds all confirmations from the first connection, once it has confirmed a message."""

    def __init__(self):
        super().__init__()
        self._first = None

    @from_broker(Basic.Ack)
    def ack(self, channel, command):
        if self._first is not channel.session:
            self._first = self._first or channel.session
            return [command]
        self.lie()
        return []


def test_after_a_publish_without_an_answer_the_next_goes_by_another_connection(url, queue, aside, wait_so_long):
    # Given a producer whose channel is not answered any more, though its connection lasts,
    events = []
    with (
        Proxy.to(url, NeverAnswersAgain()) as wire,
        Producer(wire.through(url), observer=events.append) as producer,
    ):
        producer.send(queue, b"confirmed")
        wait_so_long(producer, TIMEOUT)
        first = producer.send_async(queue, b"first")
        with pytest.raises(OutcomeUnknown):
            producer.send(queue, b"second")
        assert isinstance(first.exception(PATIENCE), OutcomeUnknown)

        # I expect what is sent next to be confirmed at once, and the old connection to be given up.
        producer.send(queue, b"third")

        assert f"no answer within {TIMEOUT:g} s" in str(told(events, Disconnected)[0].reason)
        claim("one connection is left", lambda: wire.connections == 1)
    kinds = [type(event) for event in told(events, Connected | Disconnected)]
    assert kinds == [Connected, Disconnected, Connected]
    assert [taken.body for taken in aside.take(queue, 4)] == [b"confirmed", b"first", b"second", b"third"]


def test_what_is_under_way_on_the_old_connection_is_unknown_at_once(url, new_queue):
    # Given a message that has no answer, and another one, sent later by the same connection,
    queue = new_queue("classic")
    with (
        Proxy.to(url, NeverAnswersAgain()) as wire,
        Producer(wire.through(url), confirm_timeout=6 * TIMEOUT) as producer,
    ):
        producer.send(queue, b"confirmed")
        began = time.monotonic()
        early = producer.send_async(queue, b"early")
        claim("half of its time is over", lambda: time.monotonic() - began > 3 * TIMEOUT)
        late = producer.send_async(queue, b"late")

        # When the time of the first is over,
        assert isinstance(early.exception(PATIENCE), OutcomeUnknown)

        # I expect nobody to wait for the second any longer, and no connection to be left behind.
        error = late.exception(2 * TIMEOUT)
        assert isinstance(error, OutcomeUnknown)
        assert "no answer within 6 s" in str(error)
        producer.send(queue, b"next")
        claim("one connection is left", lambda: wire.connections == 1)


class NeverConfirms(Liar):
    """Withholds the confirmation of one message."""

    def __init__(self, tag):
        super().__init__()
        self._tag = tag

    @from_broker(Basic.Ack)
    def ack(self, channel, command):
        if command.method.delivery_tag != self._tag:
            return [Command(channel.number, Basic.Ack(command.method.delivery_tag))]
        self.lie()
        return []


def test_what_has_waited_for_the_end_of_an_alarm_until_there_was_no_time_left_takes_nothing_with_it(
    url, new_queue, wait_so_long
):
    # Given two messages that wait for the end of an alarm, one of which has little time,
    events = []
    queue = new_queue("classic")
    with (
        Proxy.to(url, NeverConfirms(2)) as wire,
        Producer(wire.through(url), observer=events.append) as producer,
    ):
        producer.send(queue, b"confirmed")
        link = producer._session.link
        link.call_soon(lambda: link._on_blocked(None, Method(0, Connection.Blocked("low on memory"))))
        claim("the producer is told", lambda: producer.blocked)
        wait_so_long(producer, 2 * TIMEOUT)
        late = producer.send_async(queue, b"late")
        wait_so_long(producer, PATIENCE)
        other = producer.send_async(queue, b"other")

        # When the alarm ends just before that,
        link.call_soon(lambda: link._on_blocked(None, Method(0, Connection.Unblocked())))

        # I expect that one to be unknown, and everything else to go on.
        assert isinstance(late.exception(PATIENCE), OutcomeUnknown)
        assert other.exception(PATIENCE) is None
        producer.send(queue, b"next")
    assert [type(event) for event in told(events, Connected | Disconnected)] == [Connected]


def test_a_window_full_of_what_was_given_up_during_an_alarm_is_left_behind(url, queue, aside, wait_so_long):
    # Given a producer whose only place is held by a message that nobody will answer for, and that was given up when
    # there seemed to be a reason for that,
    with (
        Proxy.to(url, NeverAnswersAgain()) as wire,
        Producer(wire.through(url), window=1) as producer,
    ):
        producer.send(queue, b"confirmed")
        wait_so_long(producer, TIMEOUT)
        held = producer.send_async(queue, b"held")
        link = producer._session.link
        link.call_soon(lambda: link._on_blocked(None, Method(0, Connection.Blocked("low on memory"))))
        assert isinstance(held.exception(PATIENCE), OutcomeUnknown)
        assert producer.blocked == "low on memory"
        link.call_soon(lambda: link._on_blocked(None, Method(0, Connection.Unblocked())))

        # I expect the first that finds no room to be told so, and the next to go by another connection.
        with pytest.raises(NotSent, match="no room in the window"):
            producer.send(queue, b"no room")
        producer.send(queue, b"next")

        claim("one connection is left", lambda: wire.connections == 1)
    assert [taken.body for taken in aside.take(queue, 3)] == [b"confirmed", b"held", b"next"]


def test_the_window_counts_bytes_too(url, wire, new_queue, wait_so_long):
    queue = new_queue("classic")
    producer = Producer(wire.through(url))
    producer.send(queue, b"confirmed")
    assert wire.freeze() == 1
    for _ in range(16):
        producer.send_async(queue, bytes(4 << 20))
    wait_so_long(producer, TIMEOUT)

    with pytest.raises(NotSent, match="16 of 1000 unconfirmed"):
        producer.send_async(queue, b"one byte too much")

    wire.cut()
    producer.close()


def test_a_lost_connection_leaves_every_outstanding_outcome_unknown(url, wire, queue):
    # Given messages that the broker cannot confirm, because the wire is silent,
    producer = Producer(wire.through(url))
    producer.send(queue, b"confirmed")
    assert wire.freeze() == 1
    futures = [producer.send_async(queue, b"task") for _ in range(10)]

    # When the connection is lost,
    assert wire.cut() == 1

    # I expect each of them to say that nobody can tell.
    assert {type(error) for error in outcomes(futures)} == {OutcomeUnknown}
    assert "disconnected" in repr(producer)
    producer.close()


def test_what_is_sent_again_keeps_its_id_by_which_a_duplicate_can_be_noticed(url, wire, queue, aside):
    # Given a message that the broker has, and whose confirmation is lost on the way,
    events = []
    producer = Producer(wire.through(url), observer=events.append)
    producer.send(queue, b"first")
    assert wire.lose_answers() == 1
    sending = threading.Thread(target=producer.send, args=[queue, b"task"], kwargs={"message_id": "a", "retry": 50})
    sending.start()
    claim("the broker has the message", lambda: aside.ready(queue) == 2)

    # When the connection is lost, and comes back later,
    assert wire.cut() == 1
    claim("the loss is noticed", lambda: told(events, Disconnected))
    assert sending.is_alive()
    wire.thaw()
    sending.join(PATIENCE)

    # I expect it to be sent again as what it was.
    taken = aside.take(queue, 3)
    assert [(each.body, each.properties.message_id) for each in taken[1:]] == [(b"task", "a")] * 2
    assert len(told(events, Connected)) == 2
    producer.close()
