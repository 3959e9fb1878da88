"""A queue under test, as specs see it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workqueue.guarantee.actor import task_of
from workqueue.guarantee.verdict import Broken, Unknown
from workqueue.guarantee.waiting import HARNESS_PATIENCE

if TYPE_CHECKING:
    from workqueue.guarantee.stage import Stage

# Seconds, after which RabbitMQ says 0 and 0 for a quorum queue that does not answer (rabbit_quorum_queue.erl, stat).
_NO_ANSWER = 0.25

_FENCE = "the last message; nothing in the queue comes after it"


@dataclass(frozen=True, slots=True)
class Drained:
    """A message that was taken out of the queue.

    :param task: the body.
    :param redelivered: the broker's flag.
    :param headers: its headers.
    :param message_id: its message id.
    """

    task: str
    redelivered: bool
    headers: Mapping[str, Any] = field(default_factory=dict, compare=False)
    message_id: str | None = field(default=None, compare=False)

    @property
    def deaths(self) -> list[Mapping[str, Any]]:
        """Its ``x-death`` header: how it was dead-lettered, the latest first."""
        return list(self.headers.get("x-death", ()))


@dataclass(frozen=True, slots=True)
class Counts:
    """What ``rabbitmqctl list_queues name messages_ready messages_unacknowledged`` says of a queue."""

    ready: int
    unacknowledged: int


@dataclass(frozen=True, eq=False)
class Queue:
    """A queue that a spec declared.

    :param name: its name, random.
    :param durable: as declared.
    :param arguments: as declared, ``x-queue-type`` included.
    """

    stage: "Stage" = field(repr=False)
    name: str
    durable: bool
    arguments: Mapping[str, Any]

    def exists(self) -> bool:
        """Whether the broker knows it."""
        return self.stage.knows(self.name)

    def ready(self) -> int:
        """How many messages are ready: neither delivered nor expired. Passive declare asks the queue itself."""
        return int(self._declared().message_count)

    def consumers(self) -> int:
        """How many consumers it has, as passive declare says."""
        return int(self._declared().consumer_count)

    def _declared(self) -> Any:
        deadline = time.monotonic() + HARNESS_PATIENCE
        with self.stage.channel() as channel:
            while time.monotonic() < deadline:
                asked_at = time.monotonic()
                told = channel.queue_declare(self.name, passive=True).method
                if told.message_count or told.consumer_count or time.monotonic() - asked_at < _NO_ANSWER:
                    return told
        raise Unknown(f"{self.name} does not say how many messages it has")

    def counts(self) -> Counts:
        """What the tutorial's own command says: ``rabbitmqctl list_queues name messages_ready …``."""
        ready, unacknowledged = self._columns("messages_ready", "messages_unacknowledged")
        return Counts(int(ready), int(unacknowledged))

    def column(self, name: str) -> str:
        """One column of ``rabbitmqctl list_queues``."""
        [value] = self._columns(name)
        return value

    def _columns(self, *names: str) -> list[str]:
        listing = self.stage.broker.ctl("list_queues", "name", *names)
        for line in listing.splitlines():
            columns = line.split("\t")
            if columns[0] == self.name:
                return columns[1:]
        raise Unknown(f"rabbitmqctl list_queues does not show {self.name}:\n{listing}")

    def drain(self) -> list[Drained]:
        """Take out and ack everything, in the order in which the broker sends it.

        Counters lag on quorum queues (0 after a restart until a leader is elected), so this does not trust them: it
        publishes a last message and reads until that one comes. There has to be no other consumer, which would get its
        share, and may get that one.

        :raises Unknown: if that one does not come in time.
        :raises Broken: if there is no such queue any more.
        """
        try:
            self.stage.publish(_FENCE, queue=self)
        except Unknown:
            if not self.exists():
                raise Broken("the queue is gone, and its messages with it") from None
            raise
        with self.stage.channel() as channel:
            drained = []
            for method, properties, body in channel.consume(self.name, inactivity_timeout=HARNESS_PATIENCE):
                if method is None or body is None:
                    others = self.consumers() - 1
                    why = f", which has other consumers: {others}" if others > 0 else ""
                    problem = f"the last message did not come out of {self.name} within {HARNESS_PATIENCE:g} s"
                    raise Unknown(problem + why)
                channel.basic_ack(method.delivery_tag or 0)
                task = task_of(body)
                if task == _FENCE:
                    break
                headers = dict(properties.headers or {}) if properties else {}
                message_id = properties.message_id if properties else None
                drained.append(Drained(task, bool(method.redelivered), headers, message_id))
            channel.cancel()
            # Acks are asynchronous, and acks that precede a close can be lost: have an answer before closing.
            channel.queue_declare(self.name, passive=True)
        return drained
