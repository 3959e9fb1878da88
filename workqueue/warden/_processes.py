"""Looking at processes and ending them, with the standard library alone, on Linux and macOS."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One line of the process table."""

    pid: int
    parent: int
    session: int
    zombie: bool
    started: str
    """When it started, in the system's own unit; tells a process from a later one with the same pid."""


def process_table() -> list[Process]:
    """Return every process that can be seen."""
    return list(_from_proc() if (_PROC / "self" / "stat").exists() else _from_ps())


def _from_proc() -> Iterator[Process]:
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        try:
            text = (_PROC / entry.name / "stat").read_text(errors="replace")
        except OSError:  # it went meanwhile
            continue
        # The name is in parentheses and may contain any character, so look behind the last one.
        state, parent, _group, session, *rest = text[text.rindex(")") + 1 :].split()
        yield Process(int(entry.name), int(parent), int(session), state in "ZX", started=rest[15])


def _from_ps() -> Iterator[Process]:
    # `ps` of macOS shows sessions as pointers: ask the kernel for them instead.
    run = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,lstart="],  # lstart has spaces, so it comes last
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    for line in run.stdout.splitlines():
        pid, parent, state, started = line.split(maxsplit=3)
        with contextlib.suppress(OSError):
            yield Process(int(pid), int(parent), os.getsid(int(pid)), state.startswith("Z"), started)


def descendants(table: Collection[Process], root: int) -> set[int]:
    """Return the pids of all children of `root`, their children, and so on."""
    children: dict[int, list[int]] = {}
    for process in table:
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    pending = [root]
    while pending:
        for pid in children.get(pending.pop(), ()):
            if pid not in found:
                found.add(pid)
                pending.append(pid)
    return found


def kill_until_gone(
    select: Callable[[list[Process]], Collection[int]], reap: Callable[[], object], patience: float
) -> bool:
    """SIGKILL what `select` picks from the process table until nothing alive is picked, for `patience` s.

    Repeated, since a process can start another between being seen and being killed. `reap` collects our
    dead children.
    """
    deadline = time.monotonic() + patience
    pause = 0.002
    while True:
        reap()
        table = process_table()
        alive = {process.pid for process in table if not process.zombie} - {os.getpid()}
        targets = alive.intersection(select(table))
        if not targets:
            return True
        if time.monotonic() > deadline:
            return False
        for pid in targets:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def adopt_orphans() -> None:
    """On Linux, become the parent of descendants whose parent died: none of them gets out of sight."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """In a child before exec: on Linux, be killed when the warden dies, should it be killed too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
