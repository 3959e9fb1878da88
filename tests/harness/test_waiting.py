"""Waiting: a missed promise is broken, a missed barrier is unknown."""

import pytest
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NackError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    StreamLostError,
    UnroutableError,
)

from workqueue.cli._app import USAGE, run
from workqueue.guarantee.patience import WrongPatience, patience
from workqueue.guarantee.verdict import Broken, Unknown
from workqueue.guarantee.waiting import barrier, claim, disconnected, landed, promised, refused, watch


def test_a_kept_promise_returns_its_value():
    values = iter([0, 0, 7])
    assert claim("it comes", lambda: next(values)) == 7


def test_a_missed_promise_is_broken_and_tells_what_was_seen():
    with pytest.raises(Broken, match=r"it comes: not within 0.05 s \(last seen: \[\]\)"):
        claim("it comes", list, within=0.05)


def test_a_missed_barrier_is_unknown():
    with pytest.raises(Unknown, match=r"in vain: a worker \(last seen: None\)"):
        barrier("a worker", lambda: None, within=0.05)


def test_the_condition_is_asked_once_more_at_the_deadline():
    assert claim("it is there", lambda: True, within=0)


def test_watching_ends_when_it_happens_and_when_time_is_up():
    assert watch(60, lambda: "happened") == "happened"
    assert watch(0.05, lambda: "") == ""


def test_what_was_promised_and_is_refused_is_broken():
    with pytest.raises(Broken, match=r"a TTL: the broker refused.*invalid arg"), promised("a TTL"):
        raise ChannelClosedByBroker(406, "invalid arg 'x-message-ttl'")


@pytest.mark.parametrize(
    "answer",
    [
        ConnectionClosedByBroker(541, "INTERNAL_ERROR - this feature is deprecated"),
        ProbableAccessDeniedError("cut off when it had asked for small frames"),
        NackError([]),
        UnroutableError([]),
    ],
)
def test_every_answer_of_a_broker_that_will_not_is_a_refusal(answer):
    with pytest.raises(Broken, match="a TTL: the broker refused"), promised("a TTL"):
        raise answer


@pytest.mark.parametrize(
    "end",
    [
        AMQPConnectionError("Connection refused"),
        StreamLostError("Connection reset by peer"),
        ProbableAuthenticationError("(403) 'ACCESS_REFUSED - Login was refused'"),
        ConnectionClosedByBroker(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"),
    ],
)
def test_that_there_is_no_connection_is_no_refusal(end):
    with pytest.raises(type(end)), promised("a TTL"):
        raise end
    with pytest.raises(type(end)), disconnected("transient queues", 541, "deprecated"):
        raise end


def test_a_refusal_that_was_promised_is_fine():
    with refused("another type", 406, "x-queue-type"):
        raise ChannelClosedByBroker(406, "inequivalent arg 'x-queue-type'")


@pytest.mark.parametrize(("code", "text"), [(404, "inequivalent arg 'x-queue-type'"), (406, "something else")])
def test_another_refusal_than_the_promised_one_is_broken(code, text):
    with pytest.raises(Broken, match="refused, but with"), refused("another type", 406, "x-queue-type"):
        raise ChannelClosedByBroker(code, text)


def test_acceptance_where_refusal_was_promised_is_broken():
    with pytest.raises(Broken, match="it was accepted"), refused("another type", 406, "x-queue-type"):
        pass


def test_a_lost_connection_is_no_refusal():
    with pytest.raises(ConnectionClosedByBroker), refused("another type", 406, "x-queue-type"):
        raise ConnectionClosedByBroker(320, "shutdown")


def test_a_refusal_that_costs_the_whole_connection_is_another():
    with pytest.raises(Broken, match="the whole connection was closed"), refused("another type", 406, "x-queue-type"):
        raise ConnectionClosedByBroker(406, "inequivalent arg 'x-queue-type'")


def test_a_lost_connection_that_was_promised_is_fine():
    with disconnected("transient queues", 541, "deprecated"):
        raise ConnectionClosedByBroker(541, "INTERNAL_ERROR - this feature is deprecated")


@pytest.mark.parametrize(("code", "text"), [(540, "deprecated"), (541, "something else")])
def test_another_end_of_the_connection_than_the_promised_one_is_broken(code, text):
    with pytest.raises(Broken, match="refused, but with"), disconnected("transient queues", 541, "deprecated"):
        raise ConnectionClosedByBroker(code, text)


def test_a_closed_channel_is_no_lost_connection():
    with pytest.raises(ChannelClosedByBroker), disconnected("transient queues", 541, "deprecated"):
        raise ChannelClosedByBroker(406, "deprecated")


@pytest.mark.parametrize("given", ["abc", "nan", "-1", "0", "inf"])
def test_a_patience_that_is_no_number_of_seconds_is_told_as_such(monkeypatch, given):
    monkeypatch.setenv("WORKQUEUE_PATIENCE", given)

    with pytest.raises(WrongPatience, match=rf"WORKQUEUE_PATIENCE is '{given}', which is no number of seconds"):
        patience()


@pytest.mark.parametrize(("given", "seconds"), [("2.5", 2.5), ("", 20)])
def test_patience_is_in_seconds(monkeypatch, given, seconds):
    monkeypatch.setenv("WORKQUEUE_PATIENCE", given)

    assert patience() == seconds


def test_a_command_that_cannot_be_patient_is_wrong_usage(monkeypatch, capsys):
    monkeypatch.setattr("workqueue.cli._app.app.main", lambda *_, **__: patience())
    monkeypatch.setenv("WORKQUEUE_PATIENCE", "abc")

    assert run(["soak"]) == USAGE
    assert capsys.readouterr().err.startswith("Error: The environment variable WORKQUEUE_PATIENCE is 'abc'")


@pytest.mark.parametrize("count", [0, 2])
def test_a_fault_that_hit_another_number_than_it_was_meant_for_did_not_land(count):
    landed("a connection is cut", 1)

    with pytest.raises(Unknown, match=rf"did not land: a connection is cut \(it hit {count}, and was meant for 1\)"):
        landed("a connection is cut", count)
