"""Worker processes as specs see them: what each received, started and finished, and ways to end it."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workqueue.guarantee import actor, core_actor
from workqueue.guarantee.actor import URL_VARIABLE, Options
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.history import History, Kind
from workqueue.guarantee.programs import Line, Program
from workqueue.guarantee.waiting import claim
from workqueue.warden import Warden


@dataclass(frozen=True, slots=True)
class Received:
    """A delivery as a worker saw it.

    :param task: the body.
    :param redelivered: the broker's flag.
    :param at: :func:`time.monotonic` reading when it arrived.
    """

    task: str
    redelivered: bool
    at: float


class Worker(Program):
    """A worker in a process of its own: the tutorial's (see `workqueue.guarantee.actor`), or the core's.

    :param core: have it played by the project's own core, unless it is to do what that never does.
    """

    def __init__(
        self,
        name: str,
        url: str,
        options: Options,
        warden: Warden,
        evidence: Evidence,
        history: History,
        *,
        core: bool = False,
    ) -> None:
        self.options = options
        self._history = history
        self._events: list[dict[str, Any]] = []
        program = core_actor if core and not options.mistaken else actor
        argv = ["-m", program.__name__, json.dumps(dataclasses.asdict(options))]
        super().__init__(name, argv, {URL_VARIABLE: url}, warden, evidence)

    def __repr__(self) -> str:
        last = " | ".join(str(e.get("why") or e["event"]) for e in self._snapshot()[-4:])
        return f"<{self.name} {self._state()}, received {self.tasks}, done {self.done}; {last}; {self.output}>"

    # What it saw and did

    @property
    def received(self) -> list[Received]:
        """What the broker sent it, in order."""
        return [Received(e["task"], e["redelivered"], e["at"]) for e in self._named("received")]

    @property
    def tasks(self) -> list[str]:
        """The bodies of what the broker sent it, in order."""
        return [delivery.task for delivery in self.received]

    @property
    def started(self) -> list[str]:
        """The tasks it began to work on, in order."""
        return [event["task"] for event in self._named("started")]

    @property
    def done(self) -> list[str]:
        """The tasks it finished (and acked, unless its options say otherwise), in order."""
        return [event["task"] for event in self._named("done")]

    @property
    def most_held_at_once(self) -> int:
        """The largest number of deliveries that it had received and not finished at one moment."""
        held = most = 0
        for event in self._snapshot():
            held += {"received": 1, "done": -1}.get(event["event"], 0)
            most = max(most, held)
        return most

    def finished_at(self, task: str) -> float:
        """When it finished a task: a :func:`time.monotonic` reading."""
        return next(float(event["at"]) for event in self._named("done") if event["task"] == task)

    # Barriers: what the harness needs; a miss is *unknown*

    def wait_until_ready(self) -> None:
        """Wait until it has a channel."""
        self._barrier(f"{self.name} has a channel", lambda: self._named("ready"))

    def consume(self, *, wait: bool = True) -> None:
        """Tell it to consume, and wait until the broker has confirmed its subscription."""
        self._write("consume")
        if wait:
            self._barrier(f"{self.name} consumes", lambda: self._named("consuming"))

    def wait_until_started(self, task: str) -> None:
        """Wait until it works on a task, so that a fault lands while it holds it."""
        self._barrier(f"{self.name} starts {task!r}", lambda: task in self.started)

    def wait_until_holding(self, count: int) -> None:
        """Wait until the broker has sent it so many tasks."""
        self._barrier(f"{self.name} holds {count} tasks", lambda: len(self.received) >= count)

    def sync(self) -> int:
        """Wait until everything that the broker has sent it so far has arrived; the queue's ready count then."""
        before = len(self._named("synced"))
        self._write("sync")
        self._barrier(f"{self.name} hears from the broker", lambda: len(self._named("synced")) > before)
        return int(self._named("synced")[before]["ready"])

    def finish(self) -> str:
        """Let it finish the task in hand (it works with ``hold``); returns that task."""
        before = len(self.done)
        self._barrier(f"{self.name} has a task in hand", lambda: len(self.started) > before)
        self._write("finish")
        self._barrier(f"{self.name} finishes the task in hand", lambda: len(self.done) > before)
        return self.done[before]

    # Claims: what the broker promised; a miss is *broken*

    def receives(self, *tasks: str, within: float | None = None) -> list[Received]:
        """Claim that the broker sends it all of these tasks; returns its first delivery of each."""
        claim(f"{self.name} receives {list(tasks)}", lambda: set(tasks) <= set(self.tasks), within=within)
        return [next(each for each in self.received if each.task == task) for task in tasks]

    def finishes(self, *tasks: str, within: float | None = None) -> None:
        """Claim that it gets these tasks, and finishes them."""
        claim(f"{self.name} gets and finishes {list(tasks)}", lambda: set(tasks) <= set(self.done), within=within)

    # Ends, besides those of every program; each returns when it has landed

    def close_channel(self) -> None:
        """Close its channel, as a worker does that goes on with another."""
        self._write("close-channel")
        self._barrier(f"{self.name} closes its channel", lambda: self._named("channel-closed"))
        self._evidence.proof(self.name, "closed its channel")

    def close_connection(self) -> None:
        """Close its connection properly and end."""
        self._write("close-connection")
        self._gone("its connection was closed")

    def _snapshot(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._events)

    def _named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self._snapshot() if event["event"] == name]

    def _keep(self, line: Line) -> None:
        try:
            event = json.loads(line.text)
        except ValueError:
            super()._keep(line)  # a traceback, say: worth showing
            return
        with self._lock:
            self._events.append(event)
        if event["event"] in _HISTORIC:
            kind, flag = _HISTORIC[event["event"]], bool(event.get("redelivered"))
            self._history.add(kind, self.name, event["task"], redelivered=flag, at=event["at"])
        if event["event"] in _TOLD:
            self._evidence.note(self.name, _TOLD[event["event"]].format_map(event), at=event["at"])


_HISTORIC = {"received": Kind.DELIVERED, "done": Kind.DONE}

_TOLD: Mapping[str, str] = {
    "consuming": "consumes",
    "received": "received {task!r}, redelivered={redelivered}",
    "done": "done {task!r}",
    "cancelled-by-broker": "its consumer was cancelled by the broker",
    "channel-closed": "its channel closed: {reason}",
    "leaving": "leaves: {why}",
}
