"""What all kinds of the project's tests share."""

import contextlib
import subprocess

import psutil
import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def started():
    """Starts a process as Popen does. It is gone at the end of the test, also when that fails or hangs."""
    with contextlib.ExitStack() as ends:

        def start(*arguments, **options):
            process = ends.enter_context(subprocess.Popen(*arguments, **options))
            ends.callback(process.kill)  # before Popen's own end, which waits for it
            return process

        yield start


@pytest.fixture(scope="session")
def names():
    """Says what those of some processes are called that still run."""

    def of(processes):
        found = []
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.name())
        return found

    return of
