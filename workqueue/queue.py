"""A queue as it is declared."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal

QueueType = Literal["quorum", "classic"]
Overflow = Literal["drop-head", "reject-publish"]


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

    Raises ValueError for what no broker would accept.
    """

    name: str
    type: QueueType = "quorum"
    _: dataclasses.KW_ONLY
    delivery_limit: int | None = None
    dead_letter: "Queue | str | None" = None
    message_ttl: float | None = None
    max_length: int | None = None
    overflow: Overflow | None = None
    extra: Mapping[str, object] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.name.encode()) <= 255:
            raise ValueError(f"a queue's name has 1 to 255 bytes, {self.name!r} has {len(self.name.encode())}")
        if self.type not in ("quorum", "classic"):
            raise ValueError(f"a queue's type is 'quorum' or 'classic', not {self.type!r}")
        if self.delivery_limit is not None:
            if self.type != "quorum":
                raise ValueError("only quorum queues have a delivery limit")
            if self.delivery_limit < -1:
                raise ValueError(f"a delivery limit is -1 (none) or more, not {self.delivery_limit}")
        if self.message_ttl is not None and self.message_ttl < 0:
            raise ValueError(f"a message's time to live cannot be negative: {self.message_ttl}")
        if self.max_length is not None and self.max_length < 0:
            raise ValueError(f"a queue's length cannot be negative: {self.max_length}")
        if self.overflow not in (None, "drop-head", "reject-publish"):
            raise ValueError(f"overflow is 'drop-head' or 'reject-publish', not {self.overflow!r}")
        if clash := self.extra.keys() & self._own_arguments().keys():
            raise ValueError(f"given twice: {', '.join(sorted(clash))}")

    def arguments(self) -> dict[str, object]:
        """The arguments of queue.declare.

        The type is always spelt out. To the broker, "classic" equals a declaration without a type, as in the
        tutorial's programs; and it holds where an operator has made quorum the default.
        """
        return self._own_arguments() | dict(self.extra)

    def with_dead_letters(self) -> Iterator["Queue"]:
        """What to declare for this queue, in order: where dead letters go first, so that none is lost."""
        if isinstance(self.dead_letter, Queue):
            yield from self.dead_letter.with_dead_letters()
        yield self

    def _own_arguments(self) -> dict[str, object]:
        arguments: dict[str, object] = {"x-queue-type": self.type}
        if self.delivery_limit is not None:
            arguments["x-delivery-limit"] = self.delivery_limit
        if self.dead_letter is not None:
            arguments["x-dead-letter-exchange"] = ""
            arguments["x-dead-letter-routing-key"] = (
                self.dead_letter.name if isinstance(self.dead_letter, Queue) else self.dead_letter
            )
        if self.message_ttl is not None:
            arguments["x-message-ttl"] = round(self.message_ttl * 1000)
        if self.max_length is not None:
            arguments["x-max-length"] = self.max_length
        if self.overflow is not None:
            arguments["x-overflow"] = self.overflow
        return arguments
