"""What is doubted: a spec that failed on a broker that is gone, or for want of a permission, says nothing."""

import contextlib
import socket
import threading

import pytest
from pika.exceptions import ChannelClosedByBroker

from workqueue.broker import About, Broker, _probe
from workqueue.guarantee.across import Scene
from workqueue.guarantee.doubt import Doubted, doubted
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.lying import LyingBroker
from workqueue.guarantee.stage import Stage
from workqueue.guarantee.verdict import Broken, NotApplicable, Unknown, Verdict, judge
from workqueue.warden._amqp import AmqpError


class Fake(Broker):
    """A broker that answers, or does not."""

    spec = safe_url = "fake"
    url = "amqp://nobody:secret@127.0.0.1:1/"
    about = About("fake", "fake", "RabbitMQ", "4.0.5", "27")
    capabilities = frozenset()

    def __init__(self, ailment=None):
        self.ailment = ailment

    def does_not_answer(self):
        return self.ailment

    def close(self):
        pass


DEAD, ALIVE = Fake("Connection refused"), Fake()


@pytest.mark.parametrize("error", [Broken("a task was lost"), AssertionError("assert 1 == 2"), Unknown("in vain")])
def test_what_fails_on_a_broker_that_is_gone_is_unknown(error):
    verdict, reason = judge(doubted(error, DEAD, Evidence()), in_call=True)

    assert verdict is Verdict.UNKNOWN
    assert reason.startswith("the broker does not answer any more: Connection refused. So nothing is known")
    assert reason.endswith(str(error))


@pytest.mark.parametrize("error", [Broken("a task was lost"), Unknown("in vain"), KeyError("x")])
def test_what_fails_on_a_broker_that_answers_is_what_it_is(error):
    assert doubted(error, ALIVE, Evidence()) is error


@pytest.mark.parametrize("error", [NotApplicable("no such feature"), KeyboardInterrupt(), Doubted("once is enough")])
def test_what_accuses_nobody_is_not_doubted(error):
    assert doubted(error, DEAD, Evidence()) is error


DENIED = [
    "ACCESS_REFUSED - access to queue 'wq-1' in vhost '/' refused for user 'stage'",  # as 3.8 says it
    "ACCESS_REFUSED - configure access to queue 'wq-1' in vhost '/' refused for user 'stage'",
]


@pytest.mark.parametrize("denied", DENIED)
@pytest.mark.parametrize("told", [str, repr, lambda text: repr([repr(text)])])
def test_a_missing_permission_breaks_nothing_and_is_named(denied, told):
    evidence = Evidence()
    evidence.note("client 1", f"its channel closed: {told(denied)}")

    for error, seen in [
        (Broken(f"a TTL: the broker refused: {told(denied)}"), Evidence()),
        (ChannelClosedByBroker(403, denied), Evidence()),
        (Broken("it comes: not within 20 s"), evidence),
    ]:
        verdict, reason = judge(doubted(error, ALIVE, seen), in_call=True)

        assert verdict is Verdict.UNKNOWN
        assert reason.startswith(f"a permission is missing, which CI.md has with all that are needed: {denied}. ")


def test_a_permission_that_nobody_heard_of_is_asked_for(monkeypatch):
    def deny(*_):
        raise ChannelClosedByBroker(403, DENIED[1])

    theirs = Fake()
    theirs.about = About("fake", "external", "RabbitMQ", "4.0.5", "27")
    monkeypatch.setattr("pika.BlockingConnection", deny)

    assert DENIED[1] in str(doubted(Broken("it comes: not within 20 s"), theirs, Evidence()))
    assert isinstance(doubted(Broken("it comes: not within 20 s"), ALIVE, Evidence()), Broken)  # a user of ours


def test_what_else_becomes_of_that_question_proves_nothing(monkeypatch):
    def fail(*_):
        raise ChannelClosedByBroker(406, "PRECONDITION_FAILED")

    theirs, error = Fake(), Broken("it comes: not within 20 s")
    theirs.about = About("fake", "external", "RabbitMQ", "4.0.5", "27")
    monkeypatch.setattr("pika.BlockingConnection", fail)

    assert doubted(error, theirs, Evidence()) is error


@pytest.mark.parametrize(
    "refusal",
    [
        "ACCESS_REFUSED - queue 'wq-1' in vhost '/' in exclusive use",
        "ACCESS_REFUSED - queue name 'amq.wq-1' contains reserved prefix 'amq.*'",
        "ACCESS_REFUSED - operation not permitted on the default exchange",
        "PRECONDITION_FAILED - invalid arg 'x-expires'",
    ],
)
def test_what_is_refused_to_every_user_is_the_brokers_doing(refusal):
    error = Broken(f"it may: the broker refused: {refusal}")

    assert doubted(error, ALIVE, Evidence()) is error


def test_a_liar_does_not_answer_for_its_broker():
    broker = Fake()
    broker.url = "amqp://nobody@127.0.0.1:1/"  # the proxy itself accepts connections
    with LyingBroker(broker, "honest") as lying:
        assert lying.does_not_answer() is None
        broker.ailment = "Connection refused"
        assert lying.does_not_answer() == "Connection refused"


def scene(broker, function):
    return Scene(function, Stage(broker, "classic", Evidence()), contextlib.ExitStack())


def test_a_spec_that_shares_a_fall_is_doubted_when_it_ends_and_not_at_its_turn():
    broker = Fake()

    def breaks_after_the_fall():
        yield
        broker.ailment = "Connection refused"
        raise Broken("a task was lost")

    def breaks_before_it():
        raise Broken("it was refused")
        yield

    after, before = scene(broker, breaks_after_the_fall), scene(broker, breaks_before_it)
    before.prepare()
    after.prepare()
    after.conclude()
    broker.ailment = None  # another fall brought it up again

    with pytest.raises(Doubted, match="a task was lost"):
        after.finish()
    with pytest.raises(Broken, match="it was refused"):
        before.finish()


def test_a_fall_that_failed_is_the_reason_of_all_its_specs_and_nobody_is_asked_again(monkeypatch):
    def waits():
        yield

    def ask(self):
        raise AssertionError("it may take ten seconds, for each of them")

    monkeypatch.setattr(Fake, "does_not_answer", ask)
    waiting = scene(Fake(), waits)
    waiting.prepare()
    waiting.fail(Unknown("the broker did not come through the kill"))
    waiting.conclude()

    with pytest.raises(Unknown, match="did not come through"):
        waiting.finish()


@pytest.mark.parametrize(
    ("code", "text", "serves"),
    [
        (403, "ACCESS_REFUSED - configure access to queue 'amq.gen-x' refused", True),
        (530, "NOT_ALLOWED - access to vhost '/' refused: connection limit (1) is reached", True),
        (320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", False),
        (541, "INTERNAL_ERROR - vhost '/' is down", False),
        (0, "the server does not speak AMQP 0-9-1", False),
    ],
)
def test_a_broker_that_refuses_us_serves_unless_it_is_stopped_or_fails(monkeypatch, code, text, serves):
    def refuse(*_):
        raise AmqpError(code, text)

    monkeypatch.setattr(_probe, "greet", refuse)
    assert _probe.why_silent("amqp://127.0.0.1") == (None if serves else f"{code} {text}")


def test_a_handshake_tells_that_nobody_is_there():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert _probe.why_silent(f"amqp://127.0.0.1:{unused.getsockname()[1]}") == "Connection refused"


def test_a_handshake_tells_that_somebody_is_silent(monkeypatch):
    monkeypatch.setattr(_probe, "_SIGN_OF_LIFE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert _probe.why_silent(f"amqp://127.0.0.1:{silent.getsockname()[1]}") == "it says nothing for 0.2 s"


def test_a_handshake_tells_that_it_was_cut_off():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut_off():
            server.accept()[0].close()

        thread = threading.Thread(target=cut_off, daemon=True)
        thread.start()
        why = _probe.why_silent(f"amqp://127.0.0.1:{server.getsockname()[1]}")
        thread.join(10)
    assert why in ("the server closed the connection", "Connection reset by peer")
