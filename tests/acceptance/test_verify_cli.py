"""`workqueue verify` as a person runs it: verdicts, reports, and clear words for what cannot be."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from workqueue.broker import resolve

ROOT = Path(__file__).parents[2]
QUICK = "acknowledgement.double-ack-is-refused"


def verify(*options, cwd=None, python=sys.executable):
    return subprocess.run(
        [python, "-P", "-m", "workqueue", "verify", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "WORKQUEUE_BROKER"},
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
        (["--broker", "amqp://user:secret@[::1/"], ["amqp://USER:PASSWORD@HOST:PORT/VHOST"]),
        (["--broker", "local:/nowhere"], ["/nowhere", "rabbitmq-server"]),
        (["--only", "dispatch.round-robbin"], ["dispatch.round-robbin", "dispatch.round-robin"]),
        (["--chapter", "dispatching"], ["dispatching", "dispatch, acknowledgement"]),
        (["--json", "/nowhere/report.json"], ["/nowhere/report.json", "No such file or directory"]),
        (["--queue-type", "stream"], ["stream", "classic"]),
        (["--jobs", "0"], ["jobs"]),
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


def test_a_server_that_will_not_start_is_told_with_its_last_words(dead_server):
    run = verify("--broker", dead_server, "--only", QUICK)

    assert run.returncode == 3, run.stdout + run.stderr
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
