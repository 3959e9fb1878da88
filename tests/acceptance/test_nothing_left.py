"""Nothing stays behind, whenever and however a run ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workqueue.guarantee.catalogue import specs_folder

REAP = Path(__file__).with_name("reap.py")
SPEC = "acknowledgement.no-timeouts"  # has workers, calls rabbitmqctl, and takes some seconds

BROKER = "--broker=debian:trixie"  # whose node is a descendant of the command, as that of a container is not
VERIFY = [sys.executable, "-m", "workqueue", "verify", BROKER, "--only", SPEC, "--queue-type", "classic"]
PYTEST = [sys.executable, "-m", "pytest", str(specs_folder()), BROKER, f"--guarantee={SPEC}", "--queue-type=classic"]
SOAK = [sys.executable, "-m", "workqueue", "soak", BROKER, "--minutes", "1", "--queue-type", "classic"]
RUN = [sys.executable, "-m", "workqueue", "broker", "run", BROKER]


def left_after(signal, needle, command, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    run = subprocess.run(
        [sys.executable, str(REAP), signal, needle, *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["landed"], "the command ended before the signal was sent"
    return result["survivors"] + result["directories"] + [str(path) for path in temporary.iterdir()]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a test adopt all that a command started")
@pytest.mark.parametrize(
    ("signal", "needle", "command"),
    [
        pytest.param("SIGKILL", "workqueue/warden", VERIFY, id="verify-killed-at-its-start"),
        pytest.param("SIGKILL", "beam.smp", VERIFY, id="verify-killed-while-the-broker-boots"),
        pytest.param("SIGKILL", "guarantee.actor", VERIFY, id="verify-killed-while-workers-work"),
        pytest.param("SIGINT", "guarantee.actor", VERIFY, id="verify-interrupted"),
        pytest.param("SIGTERM", "guarantee.actor", VERIFY, id="verify-terminated"),
        pytest.param("SIGKILL", "beam.smp", PYTEST, id="pytest-killed-while-the-broker-boots"),
        pytest.param("SIGKILL", "guarantee.actor", PYTEST, id="pytest-killed-while-workers-work"),
        pytest.param("SIGINT", "guarantee.actor", PYTEST, id="pytest-interrupted"),
        pytest.param("SIGKILL", "soak.worker", SOAK, id="soak-killed-while-workers-work"),
        pytest.param("SIGTERM", "soak.worker", SOAK, id="soak-terminated"),
        pytest.param("SIGKILL", "beam.smp", RUN, id="broker-run-killed"),
    ],
)
def test_nothing_is_left_behind(signal, needle, command, tmp_path):
    assert left_after(signal, needle, command, tmp_path) == []
