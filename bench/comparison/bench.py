"""What every measure is given: the broker, how much to do, and how to start a contender."""

import contextlib
import dataclasses
import secrets

from .model import Contender, Setting
from .process import Process
from .queues import BenchQueue, bench_queue


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much is done in one measurement."""

    messages: int = 20_000
    """To consume, and to publish divided by the contender's share."""
    remembered: int = 5_000
    """To consume, and to publish, when memory is measured: the same for all."""
    rounds: int = 300
    kills: int = 100
    tasks: int = 1_000_000
    prefetch: int = 100
    timeout: float = 300.0


@dataclasses.dataclass(frozen=True)
class Bench:
    """A broker, and how much is done on it."""

    url: str
    foreign: bool
    """The broker is not ours, so nobody else deletes what we leave on it."""
    extent: Extent = Extent()
    prefix: str = dataclasses.field(default_factory=lambda: f"bench.{secrets.token_hex(4)}")

    def queue(self, contender: Contender, setting: Setting) -> contextlib.AbstractContextManager[BenchQueue]:
        """A queue for this measurement alone."""
        return bench_queue(self.url, self.prefix, contender, setting.queue_type, foreign=self.foreign)

    def publisher(self, contender: Contender, queue: BenchQueue) -> Process:
        """Start a process that publishes."""
        return Process.publisher(contender, queue.endpoint, self.extent.timeout)

    def consumer(self, contender: Contender, queue: BenchQueue, **tell: int) -> Process:
        """Start a process that consumes; `tell` says what of (see ``child.handler``)."""
        extent = self.extent
        return Process(contender, queue.endpoint, timeout=extent.timeout, tell=tell, prefetch=extent.prefetch)
