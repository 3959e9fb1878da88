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
    try:
        stdout, stderr = process.communicate(timeout=4 * PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, " ".join(stdout.split()), " ".join(stderr.split())


@pytest.fixture
def options(request):
    """The broker that this run was told to use, or the default one."""
    return [f"--broker={spec}" for spec in (request.config.option.workqueue_broker or [])[:1]]


class Meddler:
    """Takes one task out of the soak's queue behind everybody's back, acks it, and publishes it again now and then."""

    def __init__(self, broker, copies):
        self.task = None
        self._broker = broker
        self._copies = copies
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._meddle)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(PATIENCE)

    def _meddle(self):
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(self._broker.url))) as connection:
            channel = connection.channel()
            queue = None
            while queue is None and not self._over.is_set():
                names = self._broker.ctl("list_queues", "name").split()
                queue = next((name for name in names if name.startswith("wq-soak-")), None)
            while not self._over.wait(0.001):
                method, _, body = channel.basic_get(queue)
                # One that nobody has seen yet: what is marked may be in a worker's account.
                if method is not None and not method.redelivered:
                    break
                if method is not None:
                    channel.basic_nack(method.delivery_tag)
            self.task = int(body.split()[0])
            channel.basic_ack(method.delivery_tag)
            channel.queue_declare(queue, passive=True)  # an answer: the ack has arrived
            for _ in range(self._copies):
                channel.basic_publish("", queue, body)
                if self._over.wait(0.7):
                    return


# With one worker, and that frozen by this seed, there is something in the queue to be taken.
MEDDLED = ["--queue-type=classic", "--minutes=0.15", "--seed=3", "--producers=1", "--workers=1", "--rate=500"]


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


def test_a_task_that_disappears_is_found(workqueue_broker, tmp_path):
    file = tmp_path / "soak.json"
    with Meddler(workqueue_broker, copies=0) as meddler:
        code, printed, told = finished(soak(f"--broker={workqueue_broker.url}", *MEDDLED, f"--json={file}"))

    assert meddler.task is not None
    assert code == 1, printed + told
    assert "Verdict: broken (lost)" in printed
    [found] = json.loads(file.read_text())["soaks"]
    assert found["violations"].keys() == {"lost"}
    assert found["violations"]["lost"]["tasks"] == [meddler.task]
    # What a URL alone does not allow is said, and nothing is left on somebody's broker.
    assert "Left out" in told
    assert "kill-broker" in told
    assert "wq-soak-" not in workqueue_broker.ctl("list_queues", "name")


def test_a_task_that_comes_back_after_its_ack_is_found(workqueue_broker, tmp_path):
    file = tmp_path / "soak.json"
    with Meddler(workqueue_broker, copies=4) as meddler:
        code, printed, told = finished(soak(f"--broker={workqueue_broker.url}", *MEDDLED, f"--json={file}"))

    assert code == 1, printed + told
    [found] = json.loads(file.read_text())["soaks"]
    # The copies are not marked, either.
    assert found["violations"].keys() == {"silently-repeated", "redelivered-after-ack"}
    assert found["violations"]["redelivered-after-ack"]["tasks"] == [meddler.task]
    assert found["violations"]["silently-repeated"]["tasks"] == [meddler.task]


def test_workers_that_ack_automatically_are_found(workqueue_broker):
    with resolve(workqueue_broker.url).start() as broker:
        result = Soak(broker, Settings("classic", 9.0, 3, producers=1, workers=1, auto_ack=True)).run()

    assert result.verdict is Verdict.BROKEN
    assert "lost" in result.judgement.violations
    assert exit_code([result]) == 1


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_faults_and_what_there_is_is_judged(workqueue_broker, signum):
    run = soak(f"--broker={workqueue_broker.url}", "--queue-type=classic", "--minutes=10", "--seed=2")
    ends = threading.Timer(2 * PATIENCE, run.kill)  # should it tell of no fault
    ends.start()
    for line in run.stderr:
        if re.search(r" [1-9]\d* faults", line):
            break
    ends.cancel()
    run.send_signal(signum)

    code, printed, _ = finished(run)

    assert code == 0, printed
    assert "as far as it was run" in printed
    assert "wq-soak-" not in workqueue_broker.ctl("list_queues", "name")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--minutes=0"], "--minutes"),
        (["--minutes=nan"], "--minutes"),
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


def test_without_a_broker_no_earlier_report_stays(tmp_path):
    file = tmp_path / "soak.json"
    file.write_text('{"complete": true}')

    code, _, told = finished(soak("--broker=amqp://127.0.0.1:1/", f"--json={file}"))

    assert code == 3, told
    assert not file.exists()
