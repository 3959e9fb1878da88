"""Runs the specs for ``workqueue verify``: a pytest process for each broker and queue type, side by side.

Each process has a broker of its own (unless the broker is somebody else's), so specs of different queue types cannot
disturb each other, and all of them die with this one, however it ends.
"""

import itertools
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workqueue.guarantee.catalogue import Guarantee, specs_folder
from workqueue.warden import Child, get_warden

Cell = dict[str, Any]
Listener = Callable[["Group", Cell], None]

#: How many processes share the proofs of a broker and queue type. They wait most of the time: a liar is often caught by
#: what does not come.
PROOF_PARTS = 4

_POLL = 0.05
_STDERR_LINES = 30
_STALLED = 300.0
"""Seconds without any event after which a process is given up: every wait in a spec ends long before."""


class NoBroker(Exception):  # noqa: N818 - what happened, as the user says it
    """No group could start its broker; the message is the provider's."""


@dataclass(eq=False)
class Group:
    """What one pytest process runs.

    :param broker: the broker's name for people, without password.
    :param spec: the spec to give to pytest; it may hold a password.
    :param queue_types: one, or both if they have to share a broker.
    :param planned: slug and queue type of every cell; and by whom it is to be caught, if these are proofs.
    :param proves: whether it runs the proofs that the specs can fail, instead of the specs.
    """

    broker: str
    spec: str
    queue_types: tuple[str, ...]
    planned: list[tuple[str, ...]]
    proves: bool = False
    cells: list[Cell] = field(default_factory=list)
    failure: str = ""
    no_broker: str = ""

    @property
    def name(self) -> str:
        """Broker and queue type, for progress."""
        return f"{self.broker} {'+'.join(self.queue_types)}{' proofs' if self.proves else ''}"

    def missing(self) -> list[tuple[str, ...]]:
        """What was planned and did not run."""
        fields = ("slug", "queue_type", "by") if self.proves else ("slug", "queue_type")
        seen = {tuple(cell[name] for name in fields) for cell in self.cells}
        return [each for each in self.planned if each not in seen]


def plan(
    brokers: Mapping[str, str],
    queue_types: Sequence[str],
    entries: Sequence[Guarantee],
    *,
    shared: Sequence[str] = (),
    prove: bool = False,
) -> list[Group]:
    """Split a run into groups.

    :param brokers: name for people → spec.
    :param shared: names of brokers that the queue types have to share, because a restart of it would hit both.
    :param prove: whether to run the proofs, too.
    """
    groups = []
    for name, spec in brokers.items():
        types = [tuple(queue_types)] if name in shared else [(each,) for each in queue_types]
        for proves in (False, True)[: 1 + prove]:
            for some in types:
                planned = [each for entry in entries for kind in some for each in _cells(entry, kind, proves=proves)]
                parts = _parts(planned, 1 if not proves or name in shared else PROOF_PARTS)
                groups += [Group(name, spec, some, part, proves) for part in parts]
    return groups


def _parts(planned: Sequence[tuple[str, ...]], count: int) -> list[list[tuple[str, ...]]]:
    """Split a plan into at most so many parts of about the same size; a slug is in one of them alone."""
    parts: list[list[tuple[str, ...]]] = []
    for _, cells in itertools.groupby(planned, key=lambda cell: cell[0]):
        if not parts or len(parts[-1]) >= len(planned) / count:
            parts.append([])
        parts[-1] += cells
    return parts


def _cells(entry: Guarantee, queue_type: str, *, proves: bool) -> list[tuple[str, ...]]:
    if queue_type not in entry.queue_types:
        return []
    if not proves:
        return [(entry.slug, queue_type)]
    return [(entry.slug, queue_type, caught.by) for caught in entry.proved_by if queue_type in caught.on]


def conduct(
    groups: Sequence[Group],
    *,
    jobs: int,
    restart_command: str | None,
    listener: Listener,
    whole: bool = True,
    broker_settings: Sequence[str] = (),
    behind: str | None = None,
    worker: str = "tutorial",
) -> None:
    """Run the groups, at most ``jobs`` at a time, and fill in their cells; calls the listener for each.

    :param whole: whether the groups that are not split run all specs that there are.
    :param broker_settings: lines of rabbitmq.conf for every broker, ``KEY=VALUE``.
    :param behind: the liar to put between the specs and every broker.
    :param worker: what the specs' workers are, ``tutorial`` or ``core``.
    :raises NoBroker: as soon as no group can have its broker.
    """
    folder = get_warden().directory("wq-verify-")
    options = [f"--broker-setting={line}" for line in broker_settings]
    options += [f"--broker-restart-command={restart_command}"] if restart_command else []
    options += [f"--behind={behind}"] if behind else []
    options += [f"--worker={worker}"]
    waiting = [
        _Run(group, folder / f"{number}", options + ([] if whole and not group.proves else _selection(group)))
        for number, group in enumerate(groups)
    ]
    running: list[_Run] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            run = waiting.pop(0)
            run.start()
            running.append(run)
        for run in list(running):
            over = run.is_over() or run.is_stalled()
            for cell in run.new_cells():
                listener(run.group, cell)
            if over or run.group.no_broker:
                run.finish()
                running.remove(run)
        if all(group.no_broker for group in groups):
            raise NoBroker(groups[0].no_broker)
        time.sleep(_POLL)
    get_warden().remove(folder)


def _selection(group: Group) -> list[str]:
    return [f"--guarantee={slug}" for slug in dict.fromkeys(cell[0] for cell in group.planned)]


class _Run:
    """One group's process and the file in which it writes down what happens."""

    def __init__(self, group: Group, path: Path, options: Sequence[str]) -> None:
        self.group = group
        self._events = path.with_suffix(".events")
        self._output = path.with_suffix(".output")
        self._options = options
        self._read = 0
        self._finished = False
        self._latest = math.inf
        self._child: Child

    def start(self) -> None:
        self._latest = time.monotonic()
        specs = specs_folder()
        argv = [sys.executable, "-P", "-m", "pytest", str(specs), "-q", "--tb=short", f"--rootdir={specs}"]
        argv += ["-c", str(Path(__file__).with_name("verify.ini")), f"--confcutdir={specs}"]
        argv += ["-p", "no:cacheprovider", "-p", "workqueue.guarantee.plugin", "--import-mode=importlib"]
        argv += [f"--guarantee-events={self._events}"]
        argv += [f"--queue-type={self.group.queue_types[0]}"] if len(self.group.queue_types) == 1 else []
        argv += self._options
        argv += ["--prove"] if self.group.proves else []
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        env.pop("PYTHONOPTIMIZE", None)  # claims are assertions
        # Other people's plugins have no business here; the broker goes through the environment: it may hold a password.
        env |= {"WORKQUEUE_BROKER": self.group.spec, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        with self._output.open("wb") as output:
            self._child = get_warden().spawn(
                argv, env=env, cwd=Path.cwd(), stdout=output.fileno(), stderr=output.fileno()
            )

    def is_over(self) -> bool:
        return self._child.poll() is not None

    def is_stalled(self) -> bool:
        return time.monotonic() - self._latest > _STALLED

    def new_cells(self) -> Iterator[Cell]:
        if not self._events.exists():
            return
        with self._events.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written
                self._read += len(line)
                self._latest = time.monotonic()
                event = json.loads(line)
                if event["event"] in ("cell", "proof"):
                    self.group.cells.append(event[event["event"]])
                    yield event[event["event"]]
                elif event["event"] == "no-broker":
                    self.group.no_broker = event["message"]
                elif event["event"] == "finished":
                    self._finished = True

    def finish(self) -> None:
        """Note why, if it did not come to its end; one that still runs has no broker or is stuck, and is ended."""
        status = self._child.poll()
        if status is None:
            self._child.send_signal(signal.SIGKILL)
        if self.group.no_broker:
            self.group.failure = self.group.no_broker
        elif not self._finished or self.group.missing():
            tail = self._output.read_text(encoding="utf-8", errors="replace").splitlines()[-_STDERR_LINES:]
            how = f"did nothing for {_STALLED:g} s" if status is None else f"ended with status {status}"
            self.group.failure = f"its pytest {how}:\n" + "\n".join(tail)
