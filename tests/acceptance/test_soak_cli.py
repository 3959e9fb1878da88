"""`workqueue soak` as a person runs it: real faults, and proof that it would find a loss."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pika
import pytest

from workqueue.broker import resolve
from workqueue.guarantee.soak.run import Settings, Soak
from workqueue.guarantee.verdict import Verdict
from workqueue.report.soak import exit_code

PATIENCE = 60.0


def soak(*options, **popen):
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "workqueue", "soak", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "WORKQUEUE_BROKER"},
        **popen,
    )


def finished(process):
    stdout, stderr = process.communicate(timeout=4 * PATIENCE)
    return process.returncode, " ".join(stdout.split()), " ".join(stderr.split())


@pytest.fixture
def options(request):
    """The broker that this run was told to use, or the default one."""
    return [f"--broker={spec}" for spec in (request.config.option.workqueue_broker or [])[:1]]


@pytest.fixture
def thief(workqueue_broker):
    """Takes one task out of the soak's queue and tells nobody; its number, once it has one."""
    loot, over = [], threading.Event()

    def steal():
        parameters = pika.URLParameters(workqueue_broker.url)
        with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
            channel = connection.channel()
            queue = None
            while not over.wait(0.001) and not loot:
                if queue is None:
                    names = workqueue_broker.ctl("list_queues", "name").split()
                    queue = next((name for name in names if name.startswith("wq-soak-")), None)
                    continue
                method, _, body = channel.basic_get(queue)
                # A task that nobody has seen yet: one that is marked may have been in a worker's account before.
                if method is not None and not method.redelivered:
                    channel.basic_ack(method.delivery_tag)
                    loot.append(int(body.split()[0]))
                elif method is not None:
                    channel.basic_nack(method.delivery_tag)
            if queue is not None:
                channel.queue_declare(queue, passive=True)  # an answer, so that the ack has arrived

    thread = threading.Thread(target=steal)
    thread.start()
    yield loot
    over.set()
    thread.join(PATIENCE)


def test_a_soak_with_real_faults_loses_nothing(options, tmp_path):
    file = tmp_path / "soak.json"
    # This seed loses answers, kills a worker and then, within seven seconds, the broker.
    run = soak(*options, "--queue-type=quorum", "--minutes=0.3", "--seed=41", f"--json={file}")

    code, printed, told = finished(run)

    assert code == 0, printed + told
    assert "Verdict: holds" in printed
    assert "Seed 41" in told
    document = json.loads(file.read_text())
    assert document["complete"]
    [found] = document["soaks"]
    assert (found["verdict"], found["violations"], found["unknown"]) == ("holds", {}, [])
    if not found["left_out"]:  # not a broker given as URL
        assert {"lose-answers", "kill-worker", "kill-broker"} <= {each["fault"] for each in found["landed"]}
    assert all(each["proof"] for each in found["landed"])
    counts = found["counts"]
    assert counts["published"] == counts["confirmed"] + counts["indeterminate"]
    assert counts["acked"] >= counts["confirmed"] > 1000
    # The schedule can be replayed from what was printed.
    assert found["seed"] == 41
    assert len(found["schedule"]) >= len(found["landed"]) > 1


def test_a_task_that_disappears_is_found(workqueue_broker, thief, tmp_path):
    file = tmp_path / "soak.json"
    # With one worker, and that frozen, there is something in the queue to be stolen.
    run = soak(
        f"--broker={workqueue_broker.url}",
        "--queue-type=classic",
        "--minutes=0.15",
        "--seed=3",
        "--producers=1",
        "--workers=1",
        "--rate=500",
        f"--json={file}",
    )

    code, printed, told = finished(run)

    assert thief, "the thief stole nothing"
    assert code == 1, printed + told
    assert "Verdict: broken (lost)" in printed
    [found] = json.loads(file.read_text())["soaks"]
    assert found["violations"].keys() == {"lost"}
    assert found["violations"]["lost"]["tasks"] == thief
    # What a URL alone does not allow is said, and nothing is left on somebody's broker.
    assert "Left out" in told and "kill-broker" in told
    assert "wq-soak-" not in workqueue_broker.ctl("list_queues", "name")


def test_workers_that_ack_automatically_are_found(workqueue_broker):
    with resolve(workqueue_broker.url).start() as broker:
        result = Soak(broker, Settings("classic", 9.0, 3, producers=1, workers=1, auto_ack=True)).run()

    assert result.verdict is Verdict.BROKEN
    assert "lost" in result.judgement.violations
    assert exit_code([result]) == 1


def test_ctrl_c_ends_the_faults_and_what_there_is_is_judged(workqueue_broker):
    run = soak(f"--broker={workqueue_broker.url}", "--queue-type=classic", "--minutes=10", "--seed=2")
    for line in run.stderr:
        if re.search(r" [1-9]\d* faults", line):
            break
    run.send_signal(signal.SIGINT)

    code, printed, _ = finished(run)

    assert code == 0, printed
    assert "as far as it was run" in printed
    assert "wq-soak-" not in workqueue_broker.ctl("list_queues", "name")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--minutes=0"], "--minutes"),
        (["--broker=amqps://host/"], "amqp:// URL"),
        (["--broker=amqp://127.0.0.1:1/"], "cannot be reached"),
        (["--broker=debian:potato"], "bookworm"),
        (["--json=/nowhere/soak.json"], "No such file or directory"),
        (["--workers=0"], "--workers"),
    ],
)
def test_bad_input_is_told(options, words):
    code, _, told = finished(soak(*options))

    assert code == 3, told
    assert words in told
    assert "Traceback" not in told
