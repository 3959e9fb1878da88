"""The producers and workers of a soak as the parent sees them: processes, and a relay for each to connect through."""

import abc
import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, Self

from workqueue.guarantee.soak import core_producer, core_worker, producer, worker
from workqueue.guarantee.soak.hand import URL_VARIABLE
from workqueue.guarantee.soak.journal import Journal, What
from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import PATIENCE
from workqueue.warden import Child, get_warden
from workqueue.wire.proxy import Proxy

_HEARTBEAT = 2  # seconds; the broker gives up a silent client after two to three of them


@dataclass(slots=True)
class Seen:
    """What a member has told of itself, over all its processes.

    :param ready: its subscription, or its channel in confirm mode, is there now.
    :param held: deliveries that it has neither begun to ack nor lost.
    :param blocks: how often it was told that the broker is blocked.
    :param complaints: what it printed that is no report, and troubles it had with the broker.
    """

    ready: bool = False
    held: int = 0
    blocks: int = 0
    complaints: list[str] = field(default_factory=list)


class Member(abc.ABC):
    """A producer or worker. Its process can be killed and replaced; its name, relay and story stay."""

    def __init__(self, name: str, index: int, url: str, journal: Journal, program: str) -> None:
        self.name = name
        self._program = program  # the module that its process runs
        self.index = index
        self.seen = Seen()
        self.journal = journal
        self._expected = False  # its end is our doing
        parts = urllib.parse.urlsplit(url)
        self.proxy = Proxy(parts.hostname or "localhost", parts.port or 5672)
        self._url = _through(self.proxy, parts)
        self._process: Child | None = None

    @abc.abstractmethod
    def options(self) -> dict[str, Any]:
        """What to tell its next process."""

    @abc.abstractmethod
    def keep(self, event: dict[str, Any]) -> None:
        """Enter what it tells of tasks into the journal."""

    def start(self) -> None:
        """Start its process."""
        self._expected = False
        argv = [sys.executable, "-P", "-m", self._program, json.dumps(self.options())]
        stdin, self._stdin = os.pipe()
        self._stdout, stdout = os.pipe()
        try:
            self._process = get_warden().spawn(
                argv, env={**os.environ, URL_VARIABLE: self._url}, stdin=stdin, stdout=stdout, stderr=stdout
            )
        finally:
            os.close(stdin)
            os.close(stdout)
        self._reader = threading.Thread(target=self._read, name=f"reader of {self.name}", daemon=True)
        self._reader.start()

    def kill(self) -> int:
        """SIGKILL; returns its process id when it is gone and all that it told was read.

        :raises Unknown: if it had ended before.
        """
        process = self._process
        if process is None or self.stopped():
            raise Unknown(f"{self.name} had already ended")
        self._expected = True
        process.send_signal(signal.SIGKILL)
        self._ended(process)
        return process.pid

    def tell_to_stop(self) -> None:
        """Have it finish what it has in hand and end."""
        self._expected = True
        with contextlib.suppress(BrokenPipeError):
            os.write(self._stdin, b"stop\n")

    def stopped(self) -> bool:
        """Whether it has no process (any more)."""
        return self._process is None or self._process.poll() is not None

    def dispose(self) -> None:
        """End it, whatever it is doing, and free what it uses."""
        if self._process is not None:
            self._expected = True
            if not self.stopped():
                self._process.send_signal(signal.SIGKILL)
            self._ended(self._process)
        self.proxy.close()

    def _ended(self, process: Child) -> None:
        process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        os.close(self._stdin)
        os.close(self._stdout)
        self._process = None

    def _read(self) -> None:
        with open(self._stdout, encoding="utf-8", errors="replace", closefd=False) as lines:
            for line in lines:
                if line.endswith("\n"):  # else SIGKILL came while it was told, so it was not done
                    self._understand(line)
        self.seen.ready = False
        self.seen.held = 0
        if not self._expected:
            self.seen.complaints.append("its process ended by itself")

    def _understand(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            self.seen.complaints.append(line.rstrip())
            return
        match event["event"]:
            case "ready":
                self.seen.ready = True
            case "lost":
                self.seen.ready, self.seen.held = False, 0
            case "blocked":
                self.seen.blocks += 1
            case "trouble":
                self.seen.complaints.append(event["why"])
            case _:
                self.keep(event)


class Producer(Member):
    """A producer. What replaces a killed one goes on with the numbers after those that were told."""

    def __init__(
        self, name: str, index: int, url: str, journal: Journal, options: producer.Options, *, core: bool = False
    ) -> None:
        super().__init__(name, index, url, journal, (core_producer if core else producer).__name__)
        self._options = options
        self._next = options.first

    def options(self) -> dict[str, Any]:
        """Where to go on."""
        return dataclasses.asdict(dataclasses.replace(self._options, first=self._next))

    def keep(self, event: dict[str, Any]) -> None:
        """Publishes and their outcomes."""
        if event["event"] == "publishing":
            stride = self._options.stride
            tasks = range(event["first"], event["first"] + event["count"] * stride, stride)
            self._next = tasks.stop
            self.journal.add(What.PUBLISHED, self.index, event["at"], tasks)
        elif event["event"] == "outcomes":
            for outcome, numbers in event["tasks"].items():
                self.journal.add(What[outcome.upper()], self.index, event["at"], numbers)


class Worker(Member):
    """A worker."""

    def __init__(
        self, name: str, index: int, url: str, journal: Journal, options: worker.Options, *, core: bool = False
    ) -> None:
        super().__init__(name, index, url, journal, (core_worker if core else worker).__name__)
        self._options = options

    def options(self) -> dict[str, Any]:
        """The same for each process."""
        return dataclasses.asdict(self._options)

    def keep(self, event: dict[str, Any]) -> None:
        """Deliveries and acks."""
        if event["event"] != "work":
            return
        at, add = event["at"], self.journal.add
        add(What.DELIVERED, self.index, at, event["got"], event["marked"], event["since"])
        add(What.ACKED, self.index, at, event["acking"])
        add(What.PROVEN, self.index, at, event["proven"])
        self.seen.held += len(event["got"]) - len(event["acking"])


class Crew:
    """All members. Ends them on leaving."""

    def __init__(self, producers: list[Producer], workers: list[Worker]) -> None:
        self.producers = producers
        self.workers = workers

    @property
    def members(self) -> list[Member]:
        """Producers and workers."""
        return [*self.producers, *self.workers]

    def named(self, name: str) -> list[Member]:
        """The member of that name, or everyone."""
        return [each for each in self.members if name in (each.name, "everyone")]

    def connections(self) -> int:
        """How many connections go through the relays."""
        return sum(each.proxy.connections for each in self.members)

    def troubles(self) -> list[str]:
        """What members complained of, by whom."""
        return [f"{each.name}: {complaint}" for each in self.members for complaint in each.seen.complaints]

    def dispose(self) -> None:
        """End everyone; harmless if they have ended."""
        for each in self.members:
            each.dispose()

    def __enter__(self) -> Self:
        try:
            for each in self.members:
                each.start()
        except BaseException:
            self.dispose()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.dispose()


def _through(proxy: Proxy, parts: urllib.parse.SplitResult) -> str:
    login, at, _ = parts.netloc.rpartition("@")
    query = {**dict(urllib.parse.parse_qsl(parts.query)), "heartbeat": str(_HEARTBEAT), "stack_timeout": "5"}
    return parts._replace(netloc=f"{login}{at}127.0.0.1:{proxy.port}", query=urllib.parse.urlencode(query)).geturl()
