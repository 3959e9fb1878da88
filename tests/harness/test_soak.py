"""The parts of a soak that need no broker: its schedule, its nemesis, its verdict, its report."""

import collections
import itertools
from types import SimpleNamespace

import pytest
from rich.console import Console

from workqueue.broker import About, Capability
from workqueue.guarantee.soak.journal import Entry, What
from workqueue.guarantee.soak.judgement import Judgement
from workqueue.guarantee.soak.nemesis import Landed, Nemesis, possible
from workqueue.guarantee.soak.run import Result, Settings
from workqueue.guarantee.soak.schedule import EVERYONE, Fault, Step, plan
from workqueue.guarantee.waiting import claim
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
    nemesis = Nemesis(steps, 60.0, broker, Crew())
    nemesis.start()
    claim("it has done what it can", lambda: nemesis.failure or len(nemesis.landed + nemesis.missed) == len(steps))
    nemesis.stop()
    nemesis.join(10)
    assert not nemesis.is_alive()
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
