"""Run a command, end it at a chosen moment, and tell which of its descendants outlive it.

``python reap.py SIGNAL NEEDLE COMMAND...`` becomes the reaper of all that the command starts, in whatever session (that
is Linux's ``PR_SET_CHILD_SUBREAPER``), waits until the command line of one of them contains NEEDLE, sends SIGNAL to the
command alone, and prints as JSON what still runs after the grace, and which run directories are still there.
"""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import platformdirs
import psutil

PR_SET_CHILD_SUBREAPER = 36
GRACE = 10.0  # seconds; "a few" on an idle machine, more where tests run side by side
_RUN_DIRECTORY = re.compile(r"/(wq-[\w-]+)")


def command_lines():
    """The command lines of all descendants; those that ended are reaped on the way."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = " ".join(process.cmdline())
    return found


def left(names):
    """Those run directories that are still there, in the temporary folder or in a Debian release's own."""
    places = [Path(tempfile.gettempdir()), *platformdirs.user_cache_path("workqueue").glob("debian/*/*/tmp")]
    return [str(place / name) for place in places for name in names if (place / name).exists()]


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def main():
    number, needle, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    names = set()
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def seen():
        lines = command_lines().values()
        names.update(name for line in lines for name in _RUN_DIRECTORY.findall(line))
        return any(needle in line for line in lines)

    landed = bool(wait_for(seen, 120)) and psutil.pid_exists(started.pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(started.pid, signal.Signals[number])
    began = time.monotonic()
    wait_for(lambda: not command_lines() and not left(names), GRACE)
    result = {
        "landed": landed,
        "survivors": list(command_lines().values()),
        "directories": left(names),
        "seconds": round(time.monotonic() - began, 2),
    }
    for pid in command_lines():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    sys.stdout.write(json.dumps(result))


main()
