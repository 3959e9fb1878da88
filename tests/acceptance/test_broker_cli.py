"""`workqueue broker run` and what is asked of its node: once that has died, or where nobody can read what it says."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from workqueue.broker import resolve
from workqueue.cli._kept import keep

SPEC = "debian:trixie"


def test_a_node_that_dies_ends_the_command_that_runs_it(run, tmp_path, wait_for):
    # Given a broker in the foreground,
    program = run("broker", "run", "--broker", SPEC, url="", TMPDIR=str(tmp_path))
    program.expect("CTRL+C ends it and removes its data.")
    family = psutil.Process(program.process.pid).children(recursive=True)
    [beam] = [process for process in family if process.name().startswith("beam")]

    # when its node is killed, as the kernel does that has no memory left,
    beam.kill()

    # I expect the command to say so, to end, and to leave nothing.
    assert program.exit_code() == 1
    assert f"Error: The node of {SPEC} has ended: it " in program.errors
    assert "The end of its log:" in program.errors
    assert "started TCP listener" in program.errors or "startup complete" in program.errors
    assert "Traceback" not in program.errors
    wait_for(lambda: not any(process.is_running() for process in family), "all are gone")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["queues"], ["broker", "ctl", "list_queues"]], ids=" ".join)
def test_commands_that_ask_a_node_that_died_are_told_that(run, command):
    with resolve(SPEC).start() as node, keep(node):
        node.kill()

        program = run(*command, url=node.url)

        assert program.exit_code() == 3
    assert f"The node of {SPEC} has ended: it " in program.errors
    assert len(program.error_lines) < 6, program.errors
    assert program.lines == []


def _to_a_full_disk(started, *arguments, **environment):
    with Path("/dev/full").open("w") as output:
        command = [sys.executable, "-m", "workqueue", *arguments]
        env = {**os.environ, **environment}
        program = started(command, env=env, stdout=output, stderr=subprocess.PIPE, text=True)
    _, errors = program.communicate(timeout=120)
    return program.returncode, errors


def test_a_broker_that_nobody_could_be_told_of_is_not_kept(started, tmp_path):
    code, errors = _to_a_full_disk(started, "broker", "run", "--broker", SPEC, TMPDIR=str(tmp_path))

    assert code == 2, errors
    assert "Error: Standard output cannot be written to: No space left on device." in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["queues"], ["broker", "ctl", "list_queues"]], ids=" ".join)
def test_what_a_full_disk_does_not_take_is_told(started, command, workqueue_broker, channel, queue):
    channel.queue_declare(queue)
    with keep(workqueue_broker):
        code, errors = _to_a_full_disk(started, *command, WORKQUEUE_URL=workqueue_broker.url)

    assert code == 2, errors
    assert errors == "Error: Standard output cannot be written to: No space left on device. Not all of it was shown.\n"
