"""What the processes of a soak tell, and what the parent makes of it; without a broker."""

import json
import os
from types import SimpleNamespace

import pytest
from pika.spec import Basic

from workqueue.guarantee.soak import crew, producer, worker
from workqueue.guarantee.soak.journal import Journal, What

# What the worker concludes


class Channel:
    def __init__(self):
        self.acks = []

    def basic_ack(self, tag, *, multiple):
        self.acks.append((tag, multiple))


@pytest.fixture
def told(monkeypatch):
    """What the worker tells, the clock being advanced by one with each look at it."""
    clock = iter(range(1, 10000))
    lines = []
    monkeypatch.setattr(worker, "now", lambda: next(clock))
    monkeypatch.setattr(worker, "tell", lambda event, **details: lines.append({"event": event, **details}))
    return lines


def at_work(**options):
    result = worker.Worker("amqp://localhost/", worker.Options("queue", prefetch=2, **options))
    result.loop = SimpleNamespace(call_later=lambda *_: None)
    result.channel = Channel()
    return result


def deliver(hand, tag, body=None, redelivered=False):
    method = SimpleNamespace(delivery_tag=tag, redelivered=redelivered)
    hand._on_delivery(hand.channel, method, None, body or b"%d ..." % (tag * 10))


def test_a_worker_tells_before_it_acks(told):
    hand = at_work()
    deliver(hand, 1)
    deliver(hand, 2, redelivered=True)

    hand._step()
    assert told == [{"event": "work", "got": [10, 20], "marked": [0, 1], "since": [1, 1], "acking": [], "proven": []}]
    assert hand.channel.acks == []

    hand._step()
    assert told[1]["acking"] == [10, 20]
    assert hand.channel.acks == [(1, False), (2, False)]


def test_a_worker_can_ack_several_at_once(told):
    hand = at_work(multiple=True)
    deliver(hand, 1)
    deliver(hand, 2)
    hand._step()
    hand._step()
    assert hand.channel.acks == [(2, True)]


def test_a_further_delivery_proves_acks_and_was_sent_after_them(told):
    # Prefetch 2: number 3 can only be sent once number 1 was acked.
    hand = at_work()
    deliver(hand, 1)
    deliver(hand, 2)
    hand._step()
    hand._step()
    deliver(hand, 3)
    hand._step()

    [subscribed, _], [acked] = told[0]["since"], told[2]["since"]
    assert told[2]["proven"] == [10]
    assert acked > subscribed


def test_another_connection_proves_nothing_of_the_one_before(told):
    hand = at_work()
    deliver(hand, 1)
    hand._step()
    hand._step()
    hand._forget()  # as when it has connected again
    for tag in (1, 2, 3):
        deliver(hand, tag)
    hand._step()
    assert told[-1]["proven"] == []


def test_a_body_that_is_not_ours_has_no_number(told):
    hand = at_work()
    deliver(hand, 1, body=b"fence")
    hand._step()
    assert told[0]["got"] == [-1]


# What the parent makes of it


def lines(*events):
    return [json.dumps(event) + "\n" for event in events]


def read(member, *told):
    """Have the member read what its process has told before it ended."""
    member._stdout, process_end = os.pipe()
    os.write(process_end, "".join(told).encode())
    os.close(process_end)
    member._read()
    os.close(member._stdout)


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def consumer(journal):
    member = crew.Worker("worker 1", 2, "amqp://localhost:1/", journal, worker.Options("queue"))
    yield member
    member.dispose()


@pytest.fixture
def publisher(journal):
    options = producer.Options("queue", first=1, stride=2, rate=100)
    member = crew.Producer("producer 2", 1, "amqp://user:secret@localhost:1/", journal, options)
    yield member
    member.dispose()


WORK = {"event": "work", "at": 9, "got": [4, 5], "marked": [0, 1], "since": [7, 8], "acking": [3], "proven": [1, 2]}


def test_what_a_worker_tells_is_in_the_journal(consumer, journal):
    read(consumer, *lines({"event": "ready", "at": 1}, WORK))

    assert [(each.what, each.task) for each in map(journal.__getitem__, range(len(journal)))] == [
        (What.DELIVERED, 4),
        (What.DELIVERED, 5),
        (What.ACKED, 3),
        (What.PROVEN, 1),
        (What.PROVEN, 2),
    ]
    assert (journal[1].at, journal[1].since, journal[1].marked, journal[1].who) == (9, 8, True, 2)


def test_what_was_half_told_was_not_done(consumer, journal):
    [whole] = lines(WORK)
    read(consumer, whole[:-10])
    assert len(journal) == 0

    read(consumer, whole[:-1])
    assert len(journal) == 0


def test_a_process_that_ends_by_itself_is_told_with_its_last_words(consumer):
    read(consumer, "ModuleNotFoundError: no pika\n")
    assert consumer.seen.complaints == ["ModuleNotFoundError: no pika", "its process ended by itself"]
    assert not consumer.seen.ready


def test_a_producer_goes_on_after_the_numbers_that_were_told(publisher, journal):
    assert publisher.options()["first"] == 1

    read(
        publisher,
        *lines(
            {"event": "publishing", "at": 1, "first": 1, "count": 3},
            {"event": "outcomes", "at": 2, "tasks": {"confirmed": [1, 3], "refused": [5]}},
        ),
    )

    assert publisher.options()["first"] == 7
    assert [journal.count(what) for what in (What.PUBLISHED, What.CONFIRMED, What.REFUSED)] == [3, 2, 1]
    assert journal.most == 5


def test_members_connect_through_their_own_relay(publisher):
    assert publisher._url.startswith(f"amqp://user:secret@127.0.0.1:{publisher.proxy.port}/?")


class Published(Channel):
    def __init__(self):
        self.published = []

    def basic_publish(self, exchange, queue, body, properties, *, mandatory):
        assert mandatory
        assert properties.delivery_mode == 2
        self.published.append(int(body.split()[0]))


def confirm(hand, tag, *, multiple=False, ok=True):
    method = Basic.Ack(tag, multiple) if ok else Basic.Nack(tag, multiple)
    hand._on_confirm(SimpleNamespace(method=method))


def test_a_producer_keeps_account_of_what_was_confirmed(monkeypatch):
    told = []
    monkeypatch.setattr(producer, "tell", lambda event, **details: told.append((event, details)))
    hand = producer.Producer("amqp://localhost/", producer.Options("queue", first=0, stride=2, rate=100))
    hand.channel = Published()
    hand._publish(hand.channel, 6)
    assert hand.channel.published == [0, 2, 4, 6, 8, 10]
    assert told.pop() == ("publishing", {"first": 0, "count": 6})

    confirm(hand, 2)
    confirm(hand, 3, multiple=True)
    confirm(hand, 3)  # a second time: says nothing
    confirm(hand, 4, ok=False)
    hand._on_return(hand.channel, None, None, b"8 ...")
    confirm(hand, 5)
    hand.lost()

    assert told == [("outcomes", {"tasks": {"confirmed": [2, 0, 4], "refused": [6], "returned": [8]}})]
    assert not hand._unconfirmed
