"""A process that a handler forks is no worker: it ends as any other process does."""

import signal

import pytest

FORKS = """
import multiprocessing, time

def sleep(ready):
    ready.set()
    time.sleep(60)

def handle(message):
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    child = fork.Process(target=sleep, args=[ready])
    child.start()
    ready.wait()
    getattr(child, message.text())()
    child.join(20)
    print(child.exitcode, flush=True)
"""


@pytest.mark.parametrize(("end", "status"), [("terminate", -signal.SIGTERM), ("kill", -signal.SIGKILL)])
def test_a_child_of_a_handler_ends_at_the_first_signal(run, queue, tmp_path, end, status):
    (tmp_path / "forks.py").write_text(FORKS)
    assert run("new-task", "--queue", queue, end).exit_code() == 0

    worker = run("worker", "--queue", queue, "--handler", "forks:handle", cwd=tmp_path)
    worker.wait_until(lambda: len(worker.lines) == 2, "the child to end")

    assert worker.lines[1] == str(int(status))
    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0
