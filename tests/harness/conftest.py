"""What the tests of the pytest plugin share: a project of its own, whose brokers are only said to be there."""

import json

import pytest

FAKES = """
import workqueue.broker
from workqueue.broker import About, Broker, Capability, Source
from workqueue.broker.errors import StartFailed, Unavailable

class Fake(Broker):
    how = None
    def __init__(self, spec):
        self.spec = self.safe_url = spec.replace("secret", "***")
        self.url = "amqp://nobody@127.0.0.1:1/"
        self.about = About(spec, "fake", "RabbitMQ", "4.0.5", "27")
        self.capabilities = frozenset({Capability.KILL} if "mortal" in spec else ())
    def kill(self):
        self.how = "it was killed by signal 9"
    def start(self):
        if "once" in self.spec:
            raise StartFailed("It did not start.", "a long log")
        self.how = None
    def ended(self):
        return self.how
    def does_not_answer(self):
        return "Connection refused" if "dead" in self.spec or self.how else None
    def close(self):
        pass

class FakeSource(Source):
    def __init__(self, spec):
        self.spec = spec
    def start(self, config):
        broker = Fake(self.spec)
        broker.given = dict(config.settings)
        return broker

def resolve(spec, **_):
    if spec == "debian:none":
        raise Unavailable("There is no Debian release 'none'. Use one of: trixie.")
    return FakeSource(spec)

workqueue.broker.resolve = resolve
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """A pytester whose brokers are fakes: ``mortal`` ones can be killed, those that live ``once`` not started again."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("WORKQUEUE_BROKER", raising=False)
    pytester.makeconftest(FAKES)
    return pytester


@pytest.fixture
def verdicts(project):
    """Runs the project's specs in a process of their own; returns pytest's result and the cells that it told of."""

    def run(*options, broker="fake"):
        events = project.path / "events"
        events.unlink(missing_ok=True)
        result = project.runpytest_subprocess(
            "-p", "no:cacheprovider", f"--guarantee-events={events}", f"--broker={broker}", *options
        )
        written = [json.loads(line) for line in events.read_text().splitlines()]
        return result, [event["cell"] for event in written if event["event"] == "cell"]

    return run
