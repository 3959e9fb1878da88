"""The words that all parts of the comparison share."""

import dataclasses
from collections.abc import Callable
from typing import Literal, Protocol

QueueType = Literal["classic", "quorum"]
Figures = dict[str, float]
"""What one measurement found, by name: ``per_second``, ``median_ms``, …"""
Handler = Callable[[bytes | str], object]
"""Called with the body of a message; the task queues hand it on as the text that it was given as."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where a contender works: a broker, and a durable queue on it."""

    url: str
    queue: str
    queue_type: QueueType

    @property
    def arguments(self) -> dict[str, str]:
        """With which the queue is declared."""
        return {"x-queue-type": self.queue_type}


class Publisher(Protocol):
    """A contender's way to publish persistent messages. It is made with an Endpoint, and declares the queue."""

    def publish(self, body: bytes, count: int) -> None:
        """Publish the body so many times; return once all are confirmed."""

    def close(self) -> None:
        """Disconnect."""


Consume = Callable[[Endpoint, int, Handler], None]
"""A contender's way to consume: ``(endpoint, prefetch, handler)``, until killed. Each ack follows the handler."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to use one library."""

    name: str
    publishes: str
    """How, in a few words for the reader of a table."""
    consumes: str
    distribution: str
    publisher: str
    """``module:attribute`` in ``contenders``."""
    consumer: str | None = None
    measures: frozenset[str] = frozenset()
    share: int = 1
    """It is given this fraction of the messages to publish; more than 1 for those that wait for each confirm."""
    suffixes: tuple[str, ...] = ("",)
    """Of the queues that it declares, after the name that it was given."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is varied: the type of the queue, and the size of a body in bytes."""

    queue_type: QueueType
    size: int

    def __str__(self) -> str:
        size = f"{self.size // 1024} KiB" if self.size % 1024 == 0 else f"{self.size} B"
        return f"{self.queue_type} {size}"


@dataclasses.dataclass(frozen=True)
class Sample:
    """One measurement, or the error that it ended with."""

    measure: str
    setting: Setting
    contender: str
    repeat: int
    figures: Figures
    error: str | None = None
