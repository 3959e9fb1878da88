"""`workqueue model` as a person runs it, on the session's broker."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner

from workqueue.cli import model as cli
from workqueue.guarantee.rules import Rules

SCRIPT = '[{"do": "publish", "count": 2}, {"do": "get", "channel": 0}, {"do": "close", "channel": 0}]'


def model(*options, cwd=None):
    return subprocess.run(
        [sys.executable, "-P", "-m", "workqueue", "model", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "WORKQUEUE_BROKER"},
    )


def test_a_broker_that_does_as_the_model_says_ends_with_0_and_nothing_is_left(workqueue_broker, tmp_path):
    run = model("--broker", workqueue_broker.url, "--scenarios", "10", "--seed", "1", cwd=tmp_path)

    assert run.returncode == 0, run.stdout + run.stderr
    version = re.escape(workqueue_broker.about.version)
    for queue_type in ("classic", "quorum"):
        assert re.search(
            rf"^{queue_type} on RabbitMQ {version} .*: as the model says, 10 scripts", run.stdout, re.MULTILINE
        )
    assert "10 of 10 scripts" in run.stderr
    assert "wq-" not in workqueue_broker.ctl("list_queues", "name")
    assert list(tmp_path.iterdir()) == []


def test_a_script_can_be_replayed_from_a_file_and_from_the_command_line(workqueue_broker, tmp_path):
    file = tmp_path / "script.json"
    file.write_text(SCRIPT)
    for option in (["--replay", str(file)], ["--script", SCRIPT]):
        run = model("--broker", workqueue_broker.url, "--queue-type", "quorum", *option)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "as the model says (8 steps compared)" in run.stdout


def test_a_difference_ends_with_1_and_tells_the_script_and_the_command_to_play_it_again(workqueue_broker, monkeypatch):
    # What a broker would look like that does not mark a task as redelivered, seen from the other side.
    right = Rules.of
    monkeypatch.setattr(cli.Rules, "of", lambda *of: type(right(*of))(marks=False))
    options = ["--broker", workqueue_broker.url, "--queue-type", "classic"]

    run = CliRunner().invoke(cli.command, [*options, "--scenarios", "200", "--seed", "1"], standalone_mode=False)

    assert run.return_value == 1, run.output
    assert "not as the model says" in run.output
    again = shlex.split(run.output.splitlines()[-1])
    assert again[:3] == ["workqueue", "model", "--broker"]
    assert workqueue_broker.url not in run.output, "the password is shown"
    replay = CliRunner().invoke(cli.command, [*options, *again[-2:]], standalone_mode=False)
    assert replay.return_value == 1, replay.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--broker", "debain:forky"], "is no broker spec"),
        (["--broker", "amqp://guest:guest@127.0.0.1:1/"], "127.0.0.1:1"),
        (["--script", '[{"do": "dance"}]'], 'it needs a "do"'),
        (["--script", "[]", "--replay", __file__], "exclude each other"),
        (["--replay", "/no/such/file"], "does not exist"),
        (["--scenarios", "0"], "--scenarios"),
    ],
)
def test_wrong_usage_and_no_broker_end_with_3(options, message):
    run = model(*options)

    assert run.returncode == 3, run.stdout + run.stderr
    assert message in run.stderr
