"""`workqueue verify --prove` and `workqueue liar`, with a real broker: a lie is found by who was not told of it."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

WORKQUEUE = [sys.executable, "-P", "-m", "workqueue"]

# A few specs that are quick, and together find each of the liars below.
BLIND = [
    "acknowledgement.acked-is-gone",
    "acknowledgement.manual-by-default",
    "confirms.confirmed-is-there-at-once",
    "fair-dispatch.never-holds-two",
    "ordering.fifo",
    "redelivery.nack-returns",
]


@pytest.fixture
def url(workqueue_broker):
    return workqueue_broker.url


def workqueue(*arguments, **environment):
    return subprocess.run(
        [*WORKQUEUE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("liar", "broken"),
    [
        ("honest", None),
        ("auto-acks", "acknowledgement.manual-by-default"),
        ("drops-publishes", "confirms.confirmed-is-there-at-once"),
        ("ignores-prefetch", "fair-dispatch.never-holds-two"),
        ("reorders-publishes", "ordering.fifo"),
        ("hides-redelivered", "redelivery.nack-returns"),
        ("resurrects-acked", "acknowledgement.acked-is-gone"),
    ],
)
def test_a_lie_is_found_by_who_was_not_told(liar, broken, url, tmp_path):
    report = tmp_path / "report.json"
    only = [each for slug in BLIND for each in ("--only", slug)]

    ended = workqueue(
        *("liar", "--secret", "--broker", url, liar, "--", *WORKQUEUE, "verify", *only, "--json", str(report)),
        **({"WORKQUEUE_PATIENCE": "4"} if broken else {}),
    )

    found = {cell["slug"] for cell in json.loads(report.read_text())["cells"] if cell["surprise"]}
    if broken is None:
        assert (ended.returncode, found) == (0, set()), ended.stdout
    else:
        assert ended.returncode == 1
        assert broken in found
    assert liar not in ended.stderr


def test_verify_proves_beside_the_specs_and_says_so(url, tmp_path):
    report = tmp_path / "report.json"

    ended = workqueue(
        "verify",
        "--prove",
        "--broker",
        url,
        "--queue-type",
        "quorum",
        "--only",
        "acknowledgement.manual-by-default",
        "--only",
        "durability.unconfirmed-has-a-window",
        "--json",
        str(report),
    )

    assert ended.returncode == 0, ended.stdout
    content = json.loads(report.read_text())
    assert {cell["slug"]: cell["verdict"] for cell in content["cells"]} == {
        "acknowledgement.manual-by-default": "holds",
        "durability.unconfirmed-has-a-window": "not-applicable",  # a URL is not to be killed
    }
    assert {run["outcome"] for run in content["proofs"]["runs"]} == {"proven"}
    assert set(content["proofs"]["matrix"]) == {"acknowledgement.manual-by-default"}
    assert set(content["proofs"]["unproven"]) == {"durability.unconfirmed-has-a-window"}
    assert "1 unproven" in ended.stdout


def test_the_liars_are_listed_and_a_misspelt_one_is_not_guessed():
    listed, misspelt, alone = (
        workqueue("liar"),
        workqueue("liar", "swallow-acks", "--", "true"),
        workqueue("liar", "honest"),
    )

    assert "swallows-acks  " in listed.stdout
    assert (misspelt.returncode, alone.returncode) == (3, 3)
    assert "did you mean swallows-acks" in misspelt.stderr
    assert "Which command?" in alone.stderr


def test_the_commands_own_exit_code_and_output_are_passed_on(url):
    ended = workqueue("liar", "--broker", url, "honest", "--", "sh", "-c", 'echo "$WORKQUEUE_URL" | cut -c1-7; exit 5')

    assert (ended.returncode, ended.stdout) == (5, "amqp://\n")
    assert "honest lied 0 times: it breaks nothing." in ended.stderr


def test_nothing_is_left_of_a_liar_that_is_killed(url, started):
    process = started(
        [*WORKQUEUE, "liar", "--broker", url, "honest", "--", "sh", "-c", "echo $$; exec sleep 600"],
        stdout=subprocess.PIPE,
        text=True,
    )
    command = psutil.Process(int(process.stdout.readline()))
    process.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 10
    while command.is_running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not command.is_running()
