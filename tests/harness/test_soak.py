"""The parts of a soak that need no broker: its schedule, what its worker concludes, its nemesis, its verdict."""

import collections
import itertools
import json
import os
from types import SimpleNamespace

import pytest
from pika.spec import Basic
from rich.console import Console

from workqueue.broker import About, Capability
from workqueue.guarantee.soak import crew, producer, worker
from workqueue.guarantee.soak.journal import Entry, Journal, What
from workqueue.guarantee.soak.judgement import Judgement
from workqueue.guarantee.soak.nemesis import Landed, Nemesis, possible
from workqueue.guarantee.soak.run import Result, Settings
from workqueue.guarantee.soak.schedule import EVERYONE, Fault, Step, plan
from workqueue.report import soak as report

# The schedule


def schedule(seed, seconds=1200.0, faults=tuple(Fault)):
    return plan(seed, seconds, faults=faults, producers=2, workers=4)


def test_a_seed_is_a_schedule():
    assert schedule(7) == schedule(7)
    assert schedule(7) == schedule(7, faults=reversed(Fault))
    assert schedule(7) != schedule(8)


@pytest.mark.parametrize("seed", range(20))
def test_twenty_minutes_have_sixty_faults_of_every_kind_and_more(seed):
    steps = schedule(seed)

    assert len(steps) > 120
    assert min(collections.Counter(step.fault for step in steps)[fault] for fault in Fault) > 5
    assert {step.target for step in steps} >= {"broker", EVERYONE, "producer 1", "producer 2", "worker 1", "worker 4"}


@pytest.mark.parametrize("seed", range(20))
def test_faults_follow_one_another_and_all_end_in_time(seed):
    steps = schedule(seed, 90.0)

    for before, after in itertools.pairwise(steps):
        assert before.at + before.seconds < after.at
    assert all(step.at > 0 and step.at + step.seconds < 90 for step in steps)


def test_a_longer_soak_begins_like_a_shorter_one():
    short = schedule(7, 60.0)
    assert schedule(7)[: len(short)] == short


def test_only_what_is_possible_is_planned():
    assert {step.fault for step in schedule(7, faults=[Fault.CUT, Fault.RESET])} == {Fault.CUT, Fault.RESET}
    assert schedule(7, faults=[]) == []
    foreign = SimpleNamespace(capabilities=frozenset())
    ours = SimpleNamespace(capabilities=frozenset(Capability))
    assert possible(ours) == list(Fault)
    assert set(Fault) - set(possible(foreign)) == {
        Fault.KILL_BROKER,
        Fault.RESTART_BROKER,
        Fault.MEMORY_ALARM,
        Fault.DISK_ALARM,
    }


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


# The nemesis


class Crew:
    def __init__(self):
        seen = SimpleNamespace(ready=True, blocks=0)
        proxy = SimpleNamespace(cut=lambda: 1, reset=lambda: 0)
        self.producers = self.members = [SimpleNamespace(name="worker 1", seen=seen, proxy=proxy)]

    def named(self, name):
        return [each for each in self.members if each.name == name]

    def connections(self):
        return 1


def nemesis_after(*steps, broker=None):
    nemesis = Nemesis(steps, 0.2, broker, Crew())
    nemesis.start()
    nemesis.join(10)
    return nemesis


def test_a_fault_that_hits_nobody_has_not_landed():
    nemesis = nemesis_after(Step(0.0, Fault.CUT, "worker 1"), Step(0.1, Fault.RESET, "worker 1"))

    assert [(each.step.fault, each.proof) for each in nemesis.landed] == [(Fault.CUT, "1 connections ended with FIN")]
    assert [(each.step.fault, each.why) for each in nemesis.missed] == [(Fault.RESET, "no connection ended with RST")]
    assert nemesis.failure is None


def test_a_broker_that_cannot_be_killed_is_the_nemesis_failure():
    def kill():
        raise RuntimeError("no such process")

    broker = SimpleNamespace(kill=kill)
    assert "no such process" in str(nemesis_after(Step(0.0, Fault.KILL_BROKER, "broker"), broker=broker).failure)


# The verdict


def result(**fields):
    step = Step(3.0, Fault.CUT, "worker 1")
    return Result(Settings("classic", 60.0, 7), [step], [], landed=[Landed(3.0, step, "1 cut")], **fields)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 0),
        ({"unknown": ["not drained"]}, 2),
        ({"judgement": Judgement({"lost": [1]})}, 1),
        ({"judgement": Judgement({"lost": [1]}), "unknown": ["a client ended by itself"]}, 1),
    ],
)
def test_the_exit_code_is_the_verdict(fields, code):
    assert report.exit_code([result(**fields)]) == code
    assert report.exit_code([result(), result(**fields)]) == code


def test_the_document_tells_the_story_of_a_violation():
    story = [Entry(1_000_000, What.PUBLISHED, 0, 5), Entry(3_000_000, What.DELIVERED, 2, 5, True, 2_000_000)]
    found = Judgement({"silently-repeated": [5]}, stories={5: story})
    counts = {what.name.lower(): 1 for what in What}
    about = About("debian:forky", "debian", "RabbitMQ", "4.3.6", "27")

    told = report.document(result(judgement=found, counts=counts), about)

    assert told["seed"] == 7
    assert told["schedule"] == [{"at": 3.0, "fault": "cut", "target": "worker 1", "seconds": 0.0}]
    violation = told["violations"]["silently-repeated"]
    assert (violation["count"], violation["tasks"]) == (1, [5])
    assert violation["examples"]["5"] == [
        {"at": 1.0, "what": "published", "who": "producer 1"},
        {"at": 3.0, "what": "delivered", "who": "worker 1", "redelivered": True, "sent_since": 2.0},
    ]


def test_the_table_names_what_was_violated(capsys):
    found = Judgement({"lost": [5, 6]}, stories={})
    counts = {what.name.lower(): 1234 for what in What}

    report.show(result(judgement=found, counts=counts), About("s", "p", "RabbitMQ", "4.3.6", "27"), Console(width=200))

    printed = capsys.readouterr().out
    assert "confirmed, and delivered to nobody: 5, 6" in printed
    assert "1,234" in printed
    assert "Verdict: broken (lost). Seed 7." in printed


def test_nothing_was_soaked_so_nothing_is_known():
    assert report.exit_code([]) == 2
