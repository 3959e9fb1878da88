"""A soak from its beginning to its judgement."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pika
from pika.exceptions import AMQPError

from workqueue.broker import Broker
from workqueue.broker.errors import BrokerError
from workqueue.guarantee.soak import producer, worker
from workqueue.guarantee.soak.crew import Crew, Producer, Worker
from workqueue.guarantee.soak.drain import Drain, draining, stop_producers, stop_workers
from workqueue.guarantee.soak.journal import Journal, What
from workqueue.guarantee.soak.judgement import Judgement, judge
from workqueue.guarantee.soak.nemesis import Landed, Missed, Nemesis, possible
from workqueue.guarantee.soak.schedule import Fault, Step, plan
from workqueue.guarantee.verdict import Unknown, Verdict
from workqueue.guarantee.waiting import PATIENCE
from workqueue.warden import WardenError, get_warden


@dataclass(frozen=True)
class Settings:
    """What to soak, and how.

    :param queue_type: ``classic`` or ``quorum``.
    :param seconds: how long there are faults; the drain comes on top.
    :param rate: tasks a second, of all producers together.
    :param prefetch: prefetch count of each worker.
    :param core: producers and workers are the project's own core, instead of bare pika.
    :param auto_ack: workers make the mistake of automatic acknowledgement, to see that it is found.
    """

    queue_type: str
    seconds: float
    seed: int
    producers: int = 2
    workers: int = 4
    rate: float = 2000.0
    prefetch: int = 100
    core: bool = False
    auto_ack: bool = False

    def member(self, index: int) -> str:
        """The name under which an index of the journal works."""
        if index < self.producers:
            return f"producer {index + 1}"
        return f"worker {index - self.producers + 1}" if index < self.producers + self.workers else "drain"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a soak is.

    :param phase: ``soaking``, ``draining`` or ``judging``.
    :param seconds: since it began.
    :param doing: the fault that is being done right now.
    """

    phase: str
    seconds: float
    counts: dict[str, int]
    landed: int
    missed: int
    doing: Step | None


Listener = Callable[[Progress], None]


@dataclass
class Result:
    """What became of a soak."""

    settings: Settings
    schedule: list[Step]
    left_out: list[Fault]
    """Kinds of faults that cannot be done to this broker."""
    landed: list[Landed] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    judgement: Judgement = field(default_factory=Judgement)
    unknown: list[str] = field(default_factory=list)
    """Why nothing, or not everything, can be said."""
    troubles: list[str] = field(default_factory=list)
    """What clients met besides the loss of their connections."""
    interrupted: bool = False
    seconds: float = 0.0
    """How long tasks were published."""

    @property
    def verdict(self) -> Verdict:
        """*broken* if anything was found that must not be; *unknown* if it might have been missed; else *holds*."""
        if self.judgement.violations:
            return Verdict.BROKEN
        return Verdict.UNKNOWN if self.unknown else Verdict.HOLDS


class Soak:
    """One soak of one queue."""

    def __init__(self, broker: Broker, settings: Settings, listener: Listener = lambda _: None) -> None:
        kinds = possible(broker)
        self._broker = broker
        self._settings = settings
        self._listener = listener
        self._journal = Journal()
        self._began = time.monotonic()
        self._nemesis: Nemesis | None = None
        steps = plan(
            settings.seed,
            settings.seconds,
            faults=kinds,
            producers=settings.producers,
            workers=settings.workers,
        )
        self._result = Result(settings, steps, [fault for fault in Fault if fault not in kinds])

    @property
    def left_out(self) -> list[Fault]:
        """Kinds of faults that cannot be done to this broker."""
        return self._result.left_out

    def run(self) -> Result:
        """Soak, drain, judge. Ctrl+C ends the soaking early; after that, it is raised."""
        result = self._result
        try:
            with _queue(self._broker, self._settings.queue_type) as queue, self._crew(queue) as crew:
                self._run(queue, crew)
        except (Unknown, BrokerError, WardenError, AMQPError) as reason:
            result.unknown.append(str(reason) or repr(reason))
        result.counts = self._counts()
        if not result.landed:
            result.unknown.append("no fault landed")
        if any(each.endswith("ended by itself") for each in result.troubles):
            result.unknown.append("a client's process ended by itself")
        if not self._journal.count(What.CONFIRMED):
            result.unknown.append("nothing was confirmed")
        return result

    def _run(self, queue: str, crew: Crew) -> None:
        drained = False
        try:
            self._soak(crew)
            stop_producers(crew, lambda: self._tell("draining"))
            with draining(self._broker.url, queue, self._journal, len(crew.members)) as drain:
                stop_workers(crew, self._journal, drain, lambda: self._tell("draining"))
                drain.empty()
                drained = True
                self._judge(drain)
        except (Unknown, BrokerError):
            if not drained:  # then still something can be said of what was delivered
                crew.dispose()
                self._judge(None)
            raise
        finally:
            self._result.troubles = crew.troubles()

    def _soak(self, crew: Crew) -> None:
        result = self._result
        nemesis = self._nemesis = Nemesis(result.schedule, self._settings.seconds, self._broker, crew)
        self._began = time.monotonic()
        nemesis.start()
        try:
            while not nemesis.wait(0.5):
                self._tell("soaking")
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            nemesis.stop()
            while not nemesis.wait(0.5):  # it heals what it has broken
                self._tell("soaking")
            result.landed, result.missed = nemesis.landed, nemesis.missed
            result.seconds = round(time.monotonic() - self._began, 1)
        if nemesis.failure is not None:
            raise Unknown(f"the nemesis failed: {nemesis.failure!r}")

    def _judge(self, drain: Drain | None) -> None:
        """Judge; what seems to be missing gets time to turn up."""
        assert self._nemesis is not None
        kills = self._nemesis.kills if self._settings.queue_type == "classic" else ()
        deadline = time.monotonic() + PATIENCE
        while True:
            self._tell("judging")
            found = self._result.judgement = judge(self._journal, kills=kills, drained=drain is not None)
            missing = {"lost", "lost-in-hand"} & found.violations.keys()
            if drain is None or not missing or time.monotonic() > deadline:
                return
            drain.empty()

    def _crew(self, queue: str) -> Crew:
        settings, url, journal = self._settings, self._broker.url, self._journal
        rate = settings.rate / settings.producers
        producers = [
            Producer(
                settings.member(index),
                index,
                url,
                journal,
                producer.Options(queue, first=index, stride=settings.producers, rate=rate),
                core=settings.core,
            )
            for index in range(settings.producers)
        ]
        workers = [
            Worker(
                settings.member(index),
                index,
                url,
                journal,
                # Both ways to ack are in use, each by every second worker.
                worker.Options(queue, settings.prefetch, multiple=index % 2 == 0, auto_ack=settings.auto_ack),
                core=settings.core,
            )
            for index in range(settings.producers, settings.producers + settings.workers)
        ]
        return Crew(producers, workers)

    def _counts(self) -> dict[str, int]:
        return {what.name.lower(): self._journal.count(what) for what in What}

    def _tell(self, phase: str) -> None:
        nemesis = self._nemesis
        landed, missed, doing = (
            (len(nemesis.landed), len(nemesis.missed), nemesis.doing) if nemesis is not None else (0, 0, None)
        )
        self._listener(Progress(phase, time.monotonic() - self._began, self._counts(), landed, missed, doing))


@contextlib.contextmanager
def _queue(broker: Broker, queue_type: str) -> Iterator[str]:
    """A durable queue of our own, gone afterwards."""
    name = f"wq-soak-{secrets.token_hex(6)}"
    foreign = broker.about.provider == "external"
    if foreign:
        get_warden().own_queue(broker.url, name)
    parameters = pika.URLParameters(broker.url)
    with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
        connection.channel().queue_declare(name, durable=True, arguments={"x-queue-type": queue_type})
    try:
        yield name
    finally:
        if foreign:  # else it goes with its broker
            with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
                connection.channel().queue_delete(name)
            get_warden().disown_queue(broker.url, name)
