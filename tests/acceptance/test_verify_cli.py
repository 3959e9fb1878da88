"""`workqueue verify` as a person runs it: verdicts, reports, and clear words for what cannot be."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from workqueue.broker import resolve

ROOT = Path(__file__).parents[2]
QUICK = "acknowledgement.double-ack-is-refused"


def verify(*options, python=sys.executable, **more):
    return subprocess.run(
        [python, "-P", "-m", "workqueue", "verify", *options],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "WORKQUEUE_BROKER"},
        **more,
    )


@pytest.fixture
def url(workqueue_broker):
    return workqueue_broker.url


def test_a_broker_behind_a_url_is_verified_and_nothing_is_left_on_it(url, workqueue_broker, tmp_path):
    report = tmp_path / "report.json"

    run = verify("--broker", url, "--chapter", "acknowledgement", "--json", str(report))

    assert run.returncode == 0, run.stdout + run.stderr
    document = json.loads(report.read_text())
    assert document["footer"]["complete"] is True
    assert document["footer"]["missing"] == 0
    verdicts = {(cell["slug"], cell["queue_type"]): cell["verdict"] for cell in document["cells"]}
    assert verdicts["acknowledgement.returned-on-worker-kill", "classic"] == "holds"
    assert verdicts["acknowledgement.returned-on-worker-kill", "quorum"] == "holds"
    # What a URL alone does not allow is said, not skipped in silence.
    assert verdicts["acknowledgement.no-timeouts", "classic"] == "not-applicable"
    assert workqueue_broker.about.version in run.stdout
    assert "wq-" not in workqueue_broker.ctl("list_queues", "name")


def test_the_password_is_in_no_output_and_no_report(url, tmp_path):
    report = tmp_path / "report.json"
    run = verify("--broker", url, "--only", QUICK, "--json", str(report))

    assert run.returncode == 0, run.stdout + run.stderr
    password = urlsplit(url).password
    assert password
    assert password not in run.stdout + run.stderr + report.read_text()


def test_the_core_can_be_the_worker_under_test():
    # Also across a restart, after which it would come back, and take what the spec is about.
    slugs = ["durability.held-tasks-survive-restart", "acknowledgement.returned-on-worker-kill"]

    run = verify("--worker", "core", *(option for slug in slugs for option in ("--only", slug)))

    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 verdicts: 4 holds" in run.stdout


def test_a_broker_that_is_not_restarted_by_its_command_is_unknown_not_broken(url):
    run = verify("--broker", url, "--broker-restart-command", "true", "--only", "durability.queue-survives-restart")

    assert run.returncode == 2, run.stdout + run.stderr
    assert "a connection from before is still open" in " ".join(run.stdout.split())


@pytest.fixture
def yesterdays(tmp_path):
    """A report of an earlier run, which is whole."""
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"schema": 1, "footer": {"complete": True}}))
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_cut_short_leaves_a_report_that_is_not_whole(url, yesterdays, started, number):
    argv = [sys.executable, "-P", "-m", "workqueue", "verify", "--broker", url, "--chapter", "acknowledgement"]
    run = started([*argv, "--json", str(yesterdays)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in run.stderr:
        if line.startswith("[1/"):  # the first verdict
            run.send_signal(number)
            break
    stdout, stderr = run.communicate(timeout=60)

    document = json.loads(yesterdays.read_text())
    assert "footer" not in document
    reasons = {cell["reason"] for cell in document["cells"]}
    assert "not run: the run was cut short" in reasons
    assert len(document["cells"]) == len(document["planned"])
    assert list(yesterdays.parent.iterdir()) == [yesterdays]
    if number is signal.SIGKILL:
        assert run.returncode == -signal.SIGKILL
        return
    assert run.returncode == 2, stdout + stderr
    assert "Interrupted: what was found out so far follows." in stderr
    assert "The run was cut short" in stdout
    assert "holds" in {cell["verdict"] for cell in document["cells"]}


def test_without_a_broker_no_earlier_report_stays(yesterdays):
    run = verify("--broker", "amqp://127.0.0.1:1/", "--json", str(yesterdays))

    assert run.returncode == 3, run.stdout + run.stderr
    assert not yesterdays.exists()


def test_a_report_that_cannot_be_written_in_the_end_is_told_below_what_was_found(url, tmp_path, started, wait_for):
    path = tmp_path / "folder" / "report.json"
    path.parent.mkdir()
    argv = [sys.executable, "-P", "-m", "workqueue", "verify", "--broker", url, "--only", QUICK, "--json", str(path)]
    run = started(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(path.exists, "the report without footer")
    shutil.rmtree(path.parent)
    stdout, stderr = run.communicate(timeout=60)

    assert run.returncode == 2, stdout + stderr
    assert "2 verdicts: 2 holds" in stdout
    assert f"Error: The report cannot be written to {path}: No such file or directory." in stderr
    assert "Traceback" not in stderr


def test_a_pipe_gets_one_report(url):
    # What can be written over is written twice: before the run, should it be killed, and after it.
    read, written = os.pipe()
    with os.fdopen(read) as reader:
        with os.fdopen(written, "w"):
            run = verify("--broker", url, "--only", QUICK, "--json", f"/dev/fd/{written}", pass_fds=[written])
        document = json.loads(reader.read())

    assert run.returncode == 0, run.stdout + run.stderr
    assert document["footer"]["complete"] is True


def test_a_broker_that_goes_away_is_unknown_and_breaks_nothing(workqueue_broker, started, tmp_path):
    report = tmp_path / "report.json"
    with resolve(workqueue_broker.spec).start() as node:
        options = ["--broker", node.url, "--chapter", "limits", "--chapter", "dispatch", "--json", str(report)]
        run = started(
            [sys.executable, "-P", "-m", "workqueue", "verify", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        verdicts = 0
        while verdicts < 4:
            line = run.stderr.readline()
            assert line, "it ended before its broker was killed"
            verdicts += line.startswith("[")
        node.kill()
        shown, _ = run.communicate(timeout=240)

    assert run.returncode == 2, shown
    cells = json.loads(report.read_text())["cells"]
    assert [cell["slug"] for cell in cells if cell["surprise"]] == []
    lost = [cell for cell in cells if "the broker does not answer any more" in cell["reason"]]
    assert {cell["verdict"] for cell in lost} == {"unknown"}
    assert len(lost) > 10


@pytest.fixture
def permitted(url, workqueue_broker):
    """Makes a user with these permissions; returns its URL."""
    workqueue_broker.ctl("add_user", "stage", "secret")

    def permit(configure, write, read):
        workqueue_broker.ctl("set_permissions", "stage", configure, write, read)
        return f"amqp://stage:secret@{url.rpartition('@')[2]}"

    yield permit
    workqueue_broker.ctl("delete_user", "stage")


def test_a_permission_that_is_missing_breaks_no_guarantee(permitted, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKQUEUE_PATIENCE", "2")  # most of what the specs wait for does not come
    report = tmp_path / "report.json"
    theirs = permitted(".*", "^(?!amq.default).*", ".*")
    # The second is about a program that is told of the refusal, and does not tell the spec.
    chosen = ["--chapter", "confirms", "--only", "core.close-waits-for-confirms", "--queue-type", "classic"]

    run = verify("--broker", theirs, *chosen, "--json", str(report))

    assert run.returncode == 2, run.stdout + run.stderr
    cells = json.loads(report.read_text())["cells"]
    assert [cell["slug"] for cell in cells if cell["surprise"]] == []
    missing = [cell for cell in cells if cell["reason"].startswith("a permission is missing")]
    assert len(missing) > 5
    for cell in missing:
        assert cell["verdict"] == "unknown"
        assert "access to exchange 'amq.default' in vhost '/' refused for user 'stage'" in cell["reason"]


def test_the_permissions_that_the_documentation_names_are_enough(permitted):
    [command] = re.findall(r"^rabbitmqctl set_permissions .*$", (ROOT / "CI.md").read_text(), re.MULTILINE)
    permissions = shlex.split(command)[-3:]
    # What needs more than queues of the project's own: names of the broker's, exchanges, dead letters.
    chapters = ["queues", "dead-lettering", "confirms"]

    options = [option for chapter in chapters for option in ("--chapter", chapter)]
    run = verify("--broker", permitted(*permissions), *options)

    assert run.returncode == 0, run.stdout + run.stderr


def refusing(url):
    parts = urlsplit(url)
    return parts._replace(netloc=f"nobody:wrong-secret@{parts.hostname}:{parts.port}").geturl()


def test_a_chapter_and_a_guarantee_are_both_checked_and_the_help_says_so(url):
    run = verify("--broker", url, "--queue-type", "classic", "--chapter", "queue-size", "--only", QUICK)
    told = " ".join(verify("--help").stdout.split())

    assert run.returncode == 0, run.stdout + run.stderr
    assert QUICK in run.stdout
    assert "queue-size." in run.stdout
    assert "with --only, what either of them names is checked" in told
    assert "with --chapter, what either of them names is checked" in told


@pytest.fixture
def dead_server(tmp_path):
    """A directory with a `rabbitmq-server` that ends at once."""
    for name in ("rabbitmq-server", "rabbitmqctl", "rabbitmq-env"):
        script = tmp_path / name
        script.write_text("#!/bin/sh\necho 'cannot read the cookie' >&2\nexit 7\n")
        script.chmod(0o755)
    return f"local:{tmp_path}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--broker", "debian:potato"], ["potato", "bookworm"]),
        (["--broker", "debian"], ["bookworm"]),
        (["--broker", "podmann"], ["podmann", "auto, container"]),
        (["--broker", "amqp://127.0.0.1:1/"], ["127.0.0.1:1", "cannot be reached"]),
        (["--broker", "amqp://user:secret@[::1/"], ["not a broker URL like amqp://user:password@host:5672/%2F"]),
        (["--broker", "local:/nowhere"], ["/nowhere", "rabbitmq-server"]),
        (["--only", "dispatch.round-robbin"], ["dispatch.round-robbin", "dispatch.round-robin"]),
        (["--chapter", "dispatching"], ["dispatching", "dispatch, acknowledgement"]),
        (["--json", "/nowhere/report.json"], ["/nowhere/report.json", "No such file or directory"]),
        (["--queue-type", "stream"], ["stream", "classic"]),
        (["--jobs", "0"], ["jobs"]),
        (["--broker", "amqp://127.0.0.1:1/", "--broker-restart-command", "sh -c 'x"], ["sh -c 'x", "No closing quot"]),
        (["--broker", "debian:trixie", "--broker-restart-command", "true"], ["restart-command is for a broker", "URL"]),
        (["--broker", "amqp://127.0.0.1:1/", "--broker-restart-command", ""], ["restart-command", "is empty"]),
    ],
)
def test_bad_input_is_told_within_seconds(options, words):
    began = time.monotonic()
    run = verify(*options)

    assert run.returncode == 3, run.stdout + run.stderr
    assert time.monotonic() - began < 30
    told = " ".join(run.stderr.split())
    for word in words:
        assert word in told
    assert "secret" not in told
    assert "Traceback" not in told


def test_wrong_credentials_are_told(url):
    run = verify("--broker", refusing(url))

    assert run.returncode == 3
    assert "it refuses the user 'nobody'" in " ".join(run.stderr.split())
    assert "wrong-secret" not in run.stderr


def test_a_server_that_will_not_start_is_told_with_its_last_words(dead_server, yesterdays):
    run = verify("--broker", dead_server, "--only", QUICK, "--json", str(yesterdays))

    assert run.returncode == 3, run.stdout + run.stderr
    document = json.loads(yesterdays.read_text())
    assert "footer" not in document
    assert "cannot read the cookie" in document["cells"][0]["reason"]
    assert "cannot read the cookie" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_wheel_needs_no_checkout(url, tmp_path):
    """What an operator does: install it, verify a broker."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = str(venv / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[verify]"], check=True, capture_output=True)

    run = verify("--broker", url, "--only", QUICK, cwd=tmp_path, python=python)

    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 verdicts: 2 holds" in run.stdout
    # What was measured on the four releases travels with it.
    told = subprocess.run([python, "-m", "workqueue", "guarantees", QUICK], capture_output=True, text=True, check=True)
    assert "4.3.6 holds" in told.stdout
