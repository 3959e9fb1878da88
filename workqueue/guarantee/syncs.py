"""What a node writes through to disk: what it writes to which file, and when it syncs that file, seen with strace."""

import re
import shutil
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from pika import BasicProperties

from workqueue.broker import Broker
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.queues import Queue
from workqueue.guarantee.verdict import NotApplicable, Unknown
from workqueue.guarantee.waiting import HARNESS_PATIENCE, barrier
from workqueue.warden import get_warden

_SYNCS = ("fsync", "fdatasync")
_WRITES = ("write", "writev", "pwrite64", "pwritev")

# strace -f -ttt -T -y prints, for each call of a thread, one line, or two if another thread came in between:
#   1234  1732112345.123456 fdatasync(12</var/lib/rabbitmq/…/00000001.wal>) = 0 <0.000512>
#   1234  1732112345.123456 fdatasync(12</var/lib/rabbitmq/…/00000001.wal> <unfinished ...>
#   1234  1732112345.123999 <... fdatasync resumed>) = 0 <0.000512>
_LINE = re.compile(r"(?P<thread>\d+)\s+(?P<moment>\d+\.\d+) (?P<rest>.*)")
_BEGINS = re.compile(r"(?P<call>[a-z]\w*)\(\d+<(?P<file>/[^>]*)>(?P<arguments>.*)")
_RESUMES = re.compile(r"<\.\.\. (?P<call>\w+) resumed>")
_RETURNS = re.compile(r"= (?P<result>\d+) <(?P<took>\d+\.\d+)>$")
_UNFINISHED = "<unfinished ...>"

_CONTROL = "the control: this is synced"


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that returned without an error.

    :param began: the number of the line at which it began.
    :param returned: the number of the line at which it returned.
    :param at: when it returned, a reading of :func:`time.time`.
    """

    name: str
    file: str
    arguments: str
    began: int
    returned: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Trace:
    """What strace saw of a node: its writes to files, and its syncs, that returned without an error."""

    calls: tuple[_Call, ...]

    @classmethod
    def read(cls, lines: Iterable[str]) -> "Trace":
        """Read what strace printed."""
        pending: dict[str, _Call] = {}
        calls = []
        for number, line in enumerate(lines):
            if (told := _LINE.match(line)) is None:
                continue
            thread, rest = told["thread"], told["rest"]
            if begins := _BEGINS.match(rest):
                call = _Call(begins["call"], begins["file"], begins["arguments"], number)
                if rest.endswith(_UNFINISHED):
                    pending[thread] = call
                    continue
                began_now = True
            elif (resumes := _RESUMES.match(rest)) and thread in pending:
                call, began_now = pending.pop(thread), False
                if call.name != resumes["call"]:
                    continue
            else:
                continue
            if returns := _RETURNS.search(rest):  # with an error it would be -1, and "?" if it never did
                at = float(told["moment"]) + (float(returns["took"]) if began_now else 0.0)
                calls.append(replace(call, returned=number, at=at))
        return cls(tuple(calls))

    @property
    def syncs(self) -> tuple[_Call, ...]:
        """The calls of fsync and fdatasync."""
        return tuple(call for call in self.calls if call.name in _SYNCS)

    def syncs_of(self, text: str) -> list[_Call]:
        """The syncs of a file that began when this text had been written to that file."""
        written: Mapping[str, int] = {
            call.file: call.returned for call in reversed(self.calls) if call.name in _WRITES and text in call.arguments
        }
        return [sync for sync in self.syncs if sync.began > written.get(sync.file, sync.began)]


class Syncs:
    """Watches a node's process, from :meth:`start` to :meth:`stop`."""

    def __init__(self, broker: Broker, evidence: Evidence) -> None:
        self._evidence = evidence
        self._pid = _process_of(broker)
        self._folder = get_warden().directory("wq-strace-")
        self._complaints = self._folder / "stderr"
        self._trace = Trace(())
        self._offset = 0.0

    def start(self) -> None:
        """Attach to the node; returns when every thread of it is watched."""
        strace = shutil.which("strace")
        if strace is None:
            raise NotApplicable("what is synced to disk is observed with strace, and there is none; install it")
        traced = "trace=" + ",".join((*_SYNCS, *_WRITES))
        how = ["-f", "-ttt", "-T", "-y", "-v", "-s", "65536", "-e", traced, "-e", "signal=none"]
        argv = [strace, *how, "-o", str(self._output), "-p", str(self._pid)]
        with self._complaints.open("wb") as errors:
            self._child = get_warden().spawn(argv, stdout=errors.fileno(), stderr=errors.fileno())
        said = barrier("strace attaches or gives up", self._first_words)
        if "attached" not in said:
            raise NotApplicable(f"strace may not watch the node here: {said.strip()}")

    def prove_sight(self, control: Queue) -> None:
        """Have the node sync something, and wait until that is seen: an instrument that is blind sees no syncs, either.

        :param control: a quorum queue: those sync to disk in every version.
        :raises Unknown: if it is not seen.
        """
        with control.stage.channel() as channel:
            channel.basic_publish("", control.name, _CONTROL.encode(), BasicProperties(delivery_mode=2))
            barrier("strace sees that a quorum queue syncs", lambda: self._read().syncs_of(_CONTROL))

    def stop(self) -> None:
        """Detach, and read what was seen."""
        self._child.send_signal(signal.SIGINT)
        self._child.wait(HARNESS_PATIENCE)
        # strace writes the time of day; everything else here has monotonic readings.
        self._offset = max(time.time() - time.monotonic() for _ in range(5))  # undisturbed in between, at least once
        self._trace = self._read()
        self._evidence.proof("strace", f"saw {len(self._trace.syncs)} calls of fsync or fdatasync return")
        get_warden().remove(self._folder)

    def between(self, begin: float, end: float) -> int:
        """How many syncs, of whatever file, returned between two :func:`time.monotonic` readings."""
        return sum(begin <= sync.at - self._offset <= end for sync in self._trace.syncs)

    def of(self, text: str, *, by: float) -> int:
        """How many syncs there were of a file after this text had been written to it.

        :param by: only those that had returned then, a :func:`time.monotonic` reading.
        """
        return sum(sync.at - self._offset <= by for sync in self._trace.syncs_of(text))

    def _read(self) -> Trace:
        return Trace.read(self._output.read_text(encoding="utf-8", errors="replace").splitlines())

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
