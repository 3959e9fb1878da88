"""What a broker is configured like: settings that are given to it, and facts that it tells."""

import pytest
from click.testing import CliRunner

from workqueue.broker import NodeConfig, resolve
from workqueue.broker.configuration import observe, parse_answer, parse_settings
from workqueue.broker.errors import CtlFailed, SpecError
from workqueue.broker.handle import About, Broker, Capability
from workqueue.cli._errors import NoBroker
from workqueue.cli.verify import command

ANSWER = """[{channel_max,2047},
 {consumer_timeout,undefined},
 {default_queue_type,<<"quorum">>},
 {max_message_size,
     16777216},
 {'permit.transient_nonexcl_queues',true}]
"""


class Told(Broker):
    """A broker that was given one setting, and answers rabbitmqctl with what it is told to."""

    spec = "told"
    capabilities = frozenset({Capability.CTL})

    def __init__(self, answer):
        self.answer = answer
        self.about = About("told", "fake", "RabbitMQ", "4.3.6", "27", configuration={"heartbeat": "10"})

    def ctl(self, *args):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self):
        pass


def test_settings_are_read_as_rabbitmq_conf_has_them():
    lines = ["deprecated_features.permit.transient_nonexcl_queues=false", "log.file = /a b=c", "heartbeat=10"]

    assert parse_settings(lines) == {
        "deprecated_features.permit.transient_nonexcl_queues": "false",
        "log.file": "/a b=c",
        "heartbeat": "10",
    }


@pytest.mark.parametrize("line", ["heartbeat", "=10", "heartbeat=", "heart beat=10", "a=b\nc=d", ""])
def test_what_is_no_setting_is_said(line):
    with pytest.raises(SpecError, match="KEY=VALUE"):
        parse_settings([line])


def test_an_answer_is_read_and_what_is_not_set_is_left_out():
    assert parse_answer(ANSWER) == {
        "channel_max": "2047",
        "default_queue_type": "quorum",
        "max_message_size": "16777216",
        "permit.transient_nonexcl_queues": "true",
    }


def test_what_a_broker_tells_is_added_to_what_is_known_of_it():
    broker = Told("[{consumer_timeout,1800000}]\n")

    observe(broker)

    assert broker.about.configuration == {"heartbeat": "10", "consumer_timeout": "1800000"}


def test_a_broker_that_does_not_answer_keeps_what_is_known_of_it():
    broker = Told(CtlFailed(["eval"], 69, "no"))

    observe(broker)

    assert broker.about.configuration == {"heartbeat": "10"}


def test_a_broker_that_runs_already_refuses_settings():
    source = resolve("amqp://user:secret@127.0.0.1:1/")

    source.check(NodeConfig())
    with pytest.raises(SpecError, match=r"runs already, .* \(heartbeat\)") as refusal:
        source.check(NodeConfig(settings={"heartbeat": "10"}))
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--broker", "amqp://127.0.0.1:1/", "--broker-setting", "heartbeat=10"], "runs already"),
        (["--broker", "amqp://127.0.0.1:1/", "--broker-setting", "heartbeat"], "KEY=VALUE"),
    ],
)
def test_verify_says_so_before_it_begins(options, says):
    run = CliRunner().invoke(command, options, standalone_mode=False)

    assert isinstance(run.exception, NoBroker)
    assert run.exception.exit_code == 3
    assert says in run.exception.format_message()
