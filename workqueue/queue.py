"""A queue as it is declared."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal

QueueType = Literal["quorum", "classic"]


def check_name(name: str) -> None:
    """Raise ValueError if no queue can have this name. In the I/O thread, it would end the connection."""
    if not 1 <= len(name.encode()) <= 255:
        raise ValueError(f"a queue's name has 1 to 255 bytes, {name!r} has {len(name.encode())}")


@dataclasses.dataclass(frozen=True)
class Queue:
    """A durable queue. Producer and worker must ask for the same, else one of them gets a TopologyMismatch.

    * ``name``: 1 to 255 bytes of UTF-8. Names that begin with ``amq.`` are the broker's own.
    * ``type``: "quorum" (replicated, counts failures, always on disk) or "classic".
    * ``delivery_limit``: how often a message of a quorum queue may fail before it is dead-lettered; -1 for no
      limit. Without it the broker's default holds: none before RabbitMQ 4.0, 20 since.
    * ``dead_letter``: where rejected, expired and over-limit messages go, by way of the default exchange. A
      Queue is declared together with this one; a name is taken to exist; if it does not, they are dropped.
    * ``message_ttl``: seconds (to the millisecond) after which a waiting message expires.
    * ``max_length``: how many messages may wait.
    * ``overflow``: what happens beyond that: "drop-head" drops (or dead-letters) the oldest, which is the
      broker's default; "reject-publish" refuses the new one, which the producer sees as Nacked.
    * ``extra``: any further arguments, as the broker's documentation names them.

    Raises ValueError for a name, a type or a delivery limit that cannot be, TypeError for an argument that is given
    twice. Other values that the broker will not have, it refuses when the queue is declared: ChannelClosed (406).
    What AMQP cannot express, raises then, too, as pika has it.
    """

    name: str
    type: QueueType = "quorum"
    _: dataclasses.KW_ONLY
    delivery_limit: int | None = None
    dead_letter: "Queue | str | None" = None
    message_ttl: float | None = None
    max_length: int | None = None
    overflow: Literal["drop-head", "reject-publish"] | None = None
    extra: Mapping[str, object] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.type not in ("quorum", "classic"):
            raise ValueError(f"a queue's type is 'quorum' or 'classic', not {self.type!r}")
        if self.delivery_limit is not None and (self.type != "quorum" or self.delivery_limit < -1):
            raise ValueError("only quorum queues have a delivery limit, of -1 or more")
        if isinstance(self.dead_letter, str):
            check_name(self.dead_letter)
        self.arguments()  # what it raises is told where it was given

    def arguments(self) -> dict[str, object]:
        """The arguments of queue.declare.

        The type is always spelt out. To the broker, "classic" equals a declaration without a type, as in the
        tutorial's programs; and it holds where an operator has made quorum the default.
        """
        target = self.dead_letter.name if isinstance(self.dead_letter, Queue) else self.dead_letter
        arguments = {
            "x-queue-type": self.type,
            "x-delivery-limit": self.delivery_limit,
            "x-dead-letter-exchange": None if target is None else "",
            "x-dead-letter-routing-key": target,
            "x-message-ttl": None if self.message_ttl is None else round(self.message_ttl * 1000),
            "x-max-length": self.max_length,
            "x-overflow": self.overflow,
        }
        given = {name: value for name, value in arguments.items() if value is not None}
        return dict(**given, **self.extra)  # raises TypeError, if one is in both

    def with_dead_letters(self) -> Iterator["Queue"]:
        """What to declare for this queue, in order: where dead letters go first, so that none is lost."""
        if isinstance(self.dead_letter, Queue):
            yield from self.dead_letter.with_dead_letters()
        yield self
