"""`workqueue broker run` and what is asked of its node, once that has died."""

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
