"""Programs that run the project's own core, as specs see them; on request, with a classic mistake in them."""

import contextlib
import dataclasses
import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workqueue.guarantee import core_producer, core_worker
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.mutants import MISTAKES_VARIABLE, MUTANTS
from workqueue.guarantee.programs import Line, Program
from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import claim
from workqueue.warden import get_warden
from workqueue.wire.proxy import Proxy

if TYPE_CHECKING:
    from workqueue.guarantee.queues import Queue
    from workqueue.guarantee.stage import Stage


P = TypeVar("P", bound="CoreProgram")


class CoreProgram(Program):
    """A program that tells what it does as JSON lines; all else that it prints is kept as it is."""

    def __init__(self, name: str, argv: list[str], env: Mapping[str, str], evidence: Evidence) -> None:
        self._events: list[dict[str, Any]] = []
        super().__init__(name, argv, env, get_warden(), evidence)

    def __repr__(self) -> str:
        return f"<{self.name} {self._state()}, told {self._told()[-4:]}; {self.output}>"

    def wait_until_ready(self) -> None:
        """Wait until it is connected and, if it is a worker, subscribed."""
        self._barrier(f"{self.name} is ready", lambda: self._told("ready"))

    def _told(self, name: str | None = None) -> list[dict[str, Any]]:
        with self._lock:
            return [event for event in self._events if name in (None, event["event"])]

    def _keep(self, line: Line) -> None:
        try:
            event = json.loads(line.text)
        except ValueError:
            super()._keep(line)
            return
        with self._lock:
            self._events.append(event)
        told = ", ".join(f"{key} {value!r}" for key, value in event.items() if key not in ("event", "at", "outcomes"))
        self._evidence.note(self.name, f"{event['event']} {told}".strip(), at=event["at"])


class CoreWorker(CoreProgram):
    """A `workqueue.Worker` in a process of its own (see `workqueue.guarantee.core_worker`)."""

    @property
    def started(self) -> list[str]:
        """The tasks that its handler was called with, in order."""
        return [event["task"] for event in self._told("started")]

    @property
    def redelivered(self) -> list[bool]:
        """Whether they were redeliveries, in the same order."""
        return [event["redelivered"] for event in self._told("started")]

    @property
    def done(self) -> list[str]:
        """The tasks that its handler returned from, in order."""
        return [event["task"] for event in self._told("done")]

    @property
    def error(self) -> str | None:
        """The class of the error that ``run`` ended with, "" if it returned, None while it runs."""
        return next((event["error"] for event in self._told("ended")), None)

    @property
    def heartbeat(self) -> int:
        """The heartbeat timeout that it negotiated with the broker for its latest subscription, in seconds."""
        return int(self._told("ready")[-1]["heartbeat"])

    def wait_until_started(self, task: str) -> None:
        """Wait until its handler was called with a task, so that a fault lands in the middle of it."""
        self._barrier(f"{self.name} starts {task!r}", lambda: task in self.started)

    def wait_until_subscribed_again(self) -> None:
        """Wait until it has lost its connection, and is subscribed by another one."""
        self._barrier(
            f"{self.name} is subscribed again", lambda: self._told("disconnected") and len(self._told("ready")) > 1
        )

    def finish(self) -> None:
        """Let the handler return from the task that it holds."""
        if self.status is not None:
            raise Unknown(f"{self!r} cannot finish its task: it has ended")
        self._write("finish")

    def terminate(self) -> None:
        """Send SIGTERM; returns when the worker has heard it, or is gone."""
        if self.status is not None:
            raise Unknown(f"{self!r} had already ended before SIGTERM was sent")
        self._process.send_signal(signal.SIGTERM)
        self._barrier(f"{self.name} gets SIGTERM", lambda: self._told("stopping") or self.status is not None)
        self._evidence.proof(self.name, f"SIGTERM was sent to process {self._process.pid}")

    def ends(self) -> int:
        """Claim that it ends by itself; returns its exit status."""
        return ended(self)


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``send`` did.

    :param error: the class of the error that it raised, "" if it returned.
    :param why: the error's message.
    """

    error: str
    why: str


class CoreProducer(CoreProgram):
    """A `workqueue.Producer` in a process of its own (see `workqueue.guarantee.core_producer`)."""

    def send(self, task: str, *, queue: "Queue | str") -> Answer:
        """Have it ``send`` a task, and wait until it says how that ended."""
        self.begin_to_send(task, queue=queue)
        return self.answer(task)

    def begin_to_send(self, task: str, *, queue: "Queue | str", retry: int = 0) -> None:
        """Have it ``send`` a task, without waiting."""
        self._write(json.dumps({"queue": _name(queue), "task": task, "retry": retry}))

    def answer(self, task: str) -> Answer:
        """Wait until it says how the sending of a task ended."""

        def told() -> list[dict[str, Any]]:
            return [event for event in self._told("answered") if event["task"] == task]

        self._barrier(f"{self.name} has sent {task!r}, or not", told)
        event = told()[-1]
        return Answer(event["error"], event["why"])

    def burst(self, task: str, count: int, *, queue: "Queue | str") -> list[str]:
        """Have it ``send_async`` so many tasks and close; their outcomes at that moment, "" for a confirmed one."""
        self._write(json.dumps({"queue": _name(queue), "task": task, "burst": count}))
        self._barrier(f"{self.name} is closed", lambda: self._told("closed"))
        return list(self._told("closed")[0]["outcomes"])


class Core:
    """Starts the project's own producer and worker on a stage's broker: with the stage's mutant, if it has one."""

    def __init__(self, stage: "Stage", resources: contextlib.ExitStack) -> None:
        self._stage = stage
        self._resources = resources
        self._cast = 0
        self._mistakes: Path | None = None
        self._counted = 0

    def worker(
        self,
        *,
        queue: "Queue | None" = None,
        heartbeat: int | None = None,
        proxy: Proxy | None = None,
        **options: Any,
    ) -> CoreWorker:
        """Start a worker, and wait until it is subscribed; for the options, see `core_worker.Options`."""
        work = core_worker.Options(queue=(queue or self._stage.queue).name, **options)
        return self._begin(CoreWorker, "core worker", "core_worker", work, heartbeat, proxy)

    def producer(self, *, heartbeat: int | None = None, proxy: Proxy | None = None, **options: Any) -> CoreProducer:
        """Start a producer, and wait until it is connected; for the options, see `core_producer.Options`."""
        work = core_producer.Options(**options)
        return self._begin(CoreProducer, "core producer", "core_producer", work, heartbeat, proxy)

    def command(self, *command: str) -> Program:
        """Start a ``workqueue`` command."""
        name = self._name(f"workqueue {command[0]}")
        argv, env = self._line("workqueue", *command)
        env |= {"WORKQUEUE_URL": self._stage.url()}
        program = Program(name, argv, env, get_warden(), self._stage.evidence)
        self._resources.callback(program.dispose)
        return program

    @property
    def mistakes(self) -> int:
        """How often the stage's mutant made its mistake, in all programs that were started with it."""
        if self._mistakes is not None and self._mistakes.exists():
            self._counted = len(self._mistakes.read_bytes().splitlines())
        return self._counted

    def _begin(
        self, kind: type[P], name: str, module: str, options: Any, heartbeat: int | None, proxy: Proxy | None
    ) -> P:
        argv, env = self._line(f"workqueue.guarantee.{module}", json.dumps(dataclasses.asdict(options)))
        env |= {core_worker.URL_VARIABLE: self._stage.url(heartbeat=heartbeat, proxy=proxy)}
        program = kind(self._name(name), argv, env, self._stage.evidence)
        self._resources.callback(program.dispose)
        program.wait_until_ready()
        return program

    def _name(self, what: str) -> str:
        self._cast += 1
        return f"{what} ({self._cast})"

    def _line(self, module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """The interpreter's arguments that run a module, as it is or as the stage's mutant; and the environment."""
        mutant = self._stage.mutant
        if mutant is None:
            return ["-m", module, *arguments], {}
        if mutant not in MUTANTS:
            raise ValueError(f"no mutant {mutant!r}; there are: {', '.join(MUTANTS)}")
        if self._mistakes is None:
            self._mistakes = get_warden().directory("wq-mistakes-") / "mistakes"
            self._resources.callback(self._stop_counting, self._mistakes.parent)
        env = {MISTAKES_VARIABLE: str(self._mistakes)}
        return ["-m", "workqueue.guarantee.mutants", mutant, module, *arguments], env

    def _stop_counting(self, folder: Path) -> None:
        _ = self.mistakes  # the stage may be asked for it after it was closed
        get_warden().remove(folder)


def ended(program: Program) -> int:
    """Claim that a program ends by itself; returns its exit status."""
    claim(f"{program.name} ends", lambda: program.status is not None)
    return program.wait_until_ended()


def _name(queue: "Queue | str") -> str:
    return queue if isinstance(queue, str) else queue.name
