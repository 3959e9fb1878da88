"""`workqueue worker --processes`: one command, several processes, and none of them left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

WAITING = " [*] Waiting for messages. To exit press CTRL+C"
REAP = Path(__file__).with_name("reap.py")

TASKS = """
import os
import subprocess
import sys
import time
from pathlib import Path


def handle(message):
    word, _, argument = message.body.decode().partition(" ")
    say = lambda what: print(f"{what} {word} in {os.getpid()}", flush=True)
    say("redelivered" if message.redelivered else "started")
    if word == "hold":
        while not Path(argument).exists():
            time.sleep(0.01)
    if word == "stuck" and not message.redelivered:
        time.sleep(600)
    if word == "family":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(f"child {child.pid}", flush=True)
        child.wait()
    say("did")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


@pytest.fixture
def supervised(run, queue, folder):
    """Start two processes, and wait until both are subscribed."""

    def start(*options, lines=True):
        worker = run("worker", "--queue", queue, "--processes", "2", "--handler", "tasks:handle", *options, cwd=folder)
        if lines:
            worker.expect(WAITING, times=2)
        return worker

    return start


@pytest.fixture
def send(run, queue):
    def send(*tasks):
        for task in tasks:
            assert run("new-task", "--queue", queue, task).exit_code() == 0

    return send


def children(program):
    return psutil.Process(program.process.pid).children()


def started(program, word):
    """The pid of the process that has started this task."""
    found = []

    def look():
        found[:] = [line.rpartition(" ")[2] for line in program.lines if line.startswith(f"started {word} in ")]
        return found

    program.wait_until(look, f"started {word}")
    return int(found[0])


def test_each_is_a_process_that_takes_tasks_of_its_own(supervised, send, folder):
    worker = supervised()
    gate = folder / "gate"

    send(f"hold {gate}", f"hold {gate}")

    worker.wait_until(lambda: len([line for line in worker.lines if line.startswith("started hold in ")]) == 2, "both")
    pids = {int(line.rpartition(" ")[2]) for line in worker.lines if line.startswith("started")}
    assert pids == {child.pid for child in children(worker)}
    gate.touch()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_has_all_finish_what_they_have_in_hand(supervised, send, folder, number, channel, queue):
    worker = supervised()
    gate = folder / "gate"
    send(f"hold {gate}")
    pid = started(worker, "hold")

    worker.process.send_signal(number)
    psutil.wait_procs([each for each in children(worker) if each.pid != pid], timeout=20)
    assert worker.process.poll() is None, "it waits for the one that has a task in hand"
    gate.touch()

    assert worker.exit_code() == 0, worker.errors
    assert f"did hold in {pid}" in worker.lines
    assert worker.errors == ""
    assert channel.basic_get(queue) == (None, None, None)


def test_a_signal_to_everyone_at_once_is_one_signal_for_each(supervised, send, folder):
    # As systemd stops a service: SIGTERM to each of its processes.
    worker = supervised()
    gate = folder / "gate"
    send(f"hold {gate}")
    pid = started(worker, "hold")

    for process in [*children(worker), psutil.Process(worker.process.pid)]:
        process.terminate()
    psutil.wait_procs([each for each in children(worker) if each.pid != pid], timeout=20)
    gate.touch()

    assert worker.exit_code() == 0, worker.errors
    assert f"did hold in {pid}" in worker.lines


def test_a_second_signal_ends_all_at_once_with_what_they_started(supervised, send, get_when_ready, queue, wait_for):
    worker = supervised()
    send("family")
    pid = started(worker, "family")
    worker.wait_until(lambda: any(line.startswith("child ") for line in worker.lines), "the child")
    grandchild = int(next(line for line in worker.lines if line.startswith("child ")).split()[1])

    worker.process.send_signal(signal.SIGTERM)
    wait_for(lambda: len(children(worker)) == 1, "the idle one has ended")
    worker.process.send_signal(signal.SIGTERM)

    assert worker.exit_code() == -signal.SIGTERM
    wait_for(lambda: not alive(pid) and not alive(grandchild), "all are gone")
    method, _, body = get_when_ready(queue)
    assert (body, method.redelivered) == (b"family", True)


def alive(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_process_that_is_killed_is_replaced_and_its_task_done(supervised, send):
    worker = supervised()
    send("stuck")
    pid = started(worker, "stuck")

    os.kill(pid, signal.SIGKILL)

    worker.wait_until(lambda: any(line.startswith("did stuck in ") for line in worker.lines), "the task is done")
    worker.expect_error(f"(pid {pid}) was killed by SIGKILL; starting another one in ")
    worker.expect(WAITING, times=3)
    assert any(line.startswith("redelivered stuck in ") for line in worker.lines)
    pids = {child.pid for child in children(worker)}
    assert len(pids) == 2
    assert pid not in pids

    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0


def test_a_process_that_was_told_to_stop_is_replaced(supervised):
    worker = supervised()

    children(worker)[0].terminate()

    worker.expect_error("ended with status 0; starting another one in ")
    worker.expect(WAITING, times=3)


def test_a_process_that_does_not_stop_is_killed(run, queue, folder, send):
    options = ["--processes", "2", "--handler", "tasks:handle", "--shutdown-timeout", "0.2"]
    worker = run("worker", "--queue", queue, *options, cwd=folder)
    worker.expect(WAITING, times=2)
    send("stuck")
    pid = started(worker, "stuck")

    worker.process.send_signal(signal.SIGTERM)

    assert worker.exit_code() == 1
    assert "not finished within 0.2 s" in worker.errors
    assert not alive(pid)


def test_what_another_process_would_fail_of_too_ends_all(run, queue, channel, url):
    channel.queue_declare(queue, durable=True, arguments={"x-message-ttl": 60000})

    mismatch = run("worker", "--queue", queue, "--queue-type", "classic", "--processes", "2")
    user, _, rest = url.removeprefix("amqp://").partition(":")
    refused = run("worker", "--processes", "2", url=f"amqp://{user}:hunter2@{rest.partition('@')[2]}")

    assert mismatch.exit_code() == 1
    assert mismatch.errors.count("Error: the broker refused: 406 ") == 1
    assert "worker process 1 (pid " in mismatch.errors
    assert "ended with status 1; another one would, too, so this ends." in mismatch.errors
    assert refused.exit_code() == 3
    assert refused.errors.count("Error: the broker refused access to ") == 1
    assert "hunter2" not in refused.errors


def test_each_serves_its_own_metrics_and_none_shows_the_password(supervised, url, port):
    worker = supervised("--metrics", str(port))

    for number in (port, port + 1):
        with urllib.request.urlopen(f"http://127.0.0.1:{number}/health", timeout=10) as answer:
            assert answer.status == 200
    password = url.split(":")[2].partition("@")[0]
    for process in children(worker):
        assert password not in " ".join(process.cmdline())


def test_json_logs_tell_of_processes_that_died(supervised):
    worker = supervised("--log", "json", lines=False)
    worker.wait_until(lambda: worker.errors.count('"event": "subscribed"') == 2, "both are subscribed")
    victim = children(worker)[0].pid

    os.kill(victim, signal.SIGKILL)

    worker.wait_until(lambda: worker.errors.count('"event": "subscribed"') == 3, "the third is subscribed")
    [died] = [line for line in map(json.loads, worker.error_lines) if line["event"] == "process_ended"]
    assert died["process"] == victim
    assert died["how"] == "was killed by SIGKILL"
    assert died["level"] == "warning"
    assert died["restart_in"] >= 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a test adopt all that a command started")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGHUP"])
def test_no_process_outlives_its_supervisor(queue, url, port, number, tmp_path):
    command = [sys.executable, "-m", "workqueue", "worker", "--queue", queue, "--processes", "2"]
    # The second process is there once the first is at work.
    needle = f"--metrics={port + 1}"
    done = subprocess.run(
        [sys.executable, str(REAP), number, needle, *command, "--metrics", str(port)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "WORKQUEUE_URL": url, "TMPDIR": str(tmp_path)},
    )

    result = json.loads(done.stdout)
    assert result["landed"]
    assert result["survivors"] == []


def test_a_workers_task_is_finished_also_when_the_supervisor_is_killed(supervised, send, folder, channel, queue):
    worker = supervised()
    gate = folder / "gate"
    send(f"hold {gate}")
    pid = started(worker, "hold")
    orphans = children(worker)

    worker.process.kill()
    worker.process.wait(20)
    _, left = psutil.wait_procs([each for each in orphans if each.pid != pid], timeout=20)
    gate.touch()  # whatever is left, this one is not to hold for ever
    assert left == []

    _, left = psutil.wait_procs(orphans, timeout=20)
    assert left == []
    worker.expect(f"did hold in {pid}")
    assert channel.basic_get(queue) == (None, None, None)
