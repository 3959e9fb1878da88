"""What a node writes through to disk: its ``fsync(2)`` and ``fdatasync(2)`` calls, observed with strace."""

import re
import shutil
import signal
import time
from pathlib import Path

import psutil

from workqueue.broker import Broker
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.verdict import NotApplicable, Unknown
from workqueue.guarantee.waiting import HARNESS_PATIENCE, barrier
from workqueue.warden import get_warden

# "1234  1732112345.123456 fdatasync(12 <unfinished ...>" or "... fsync(12) = 0": when it began.
_CALL = re.compile(r"\d+\s+(\d+\.\d+) (?:fsync|fdatasync)\(")


class Syncs:
    """Watches a node's process, from :meth:`start` to :meth:`stop`."""

    def __init__(self, broker: Broker, evidence: Evidence) -> None:
        self._evidence = evidence
        self._pid = _process_of(broker)
        self._folder = get_warden().directory("wq-strace-")
        self._complaints = self._folder / "stderr"
        self._calls: list[float] = []

    def start(self) -> None:
        """Attach to the node; returns when every thread of it is watched."""
        strace = shutil.which("strace")
        if strace is None:
            raise NotApplicable("what is synced to disk is observed with strace, and there is none; install it")
        argv = [strace, "-f", "-ttt", "-e", "trace=fsync,fdatasync", "-o", str(self._output), "-p", str(self._pid)]
        with self._complaints.open("wb") as errors:
            self._child = get_warden().spawn(argv, stdout=errors.fileno(), stderr=errors.fileno())
        said = barrier("strace attaches or gives up", self._first_words)
        if "attached" not in said:
            raise NotApplicable(f"strace may not watch the node here: {said.strip()}")

    def stop(self) -> None:
        """Detach, and read what was seen."""
        self._child.send_signal(signal.SIGINT)
        self._child.wait(HARNESS_PATIENCE)
        # strace writes the time of day; everything else here has monotonic readings.
        offset = max(time.time() - time.monotonic() for _ in range(5))  # undisturbed in between, at least once
        seen = _CALL.findall(self._output.read_text(encoding="utf-8", errors="replace"))
        self._calls = [float(moment) - offset for moment in seen]
        self._evidence.proof("strace", f"saw {len(self._calls)} calls of fsync or fdatasync")
        get_warden().remove(self._folder)

    def between(self, begin: float, end: float) -> int:
        """How many calls began between two :func:`time.monotonic` readings."""
        return sum(begin <= moment <= end for moment in self._calls)

    @property
    def _output(self) -> Path:
        return self._folder / "calls"

    def _first_words(self) -> str:
        return self._complaints.read_text(encoding="utf-8", errors="replace")


def _process_of(broker: Broker) -> int:
    """The node's process as seen from here: it may have another number where it runs."""
    node = broker.ctl("eval", "node().").strip().strip("'")
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "beam.smp" and process.environ().get("RABBITMQ_NODENAME") == node:
                return int(process.pid)
        except psutil.Error:
            continue
    raise Unknown(f"no process of the node {node} is to be seen")
