"""Publisher confirms as arithmetic: which messages does an answer of the broker settle, and how?

Nothing here talks to a broker or takes a lock.
"""

import dataclasses
from concurrent.futures import Future

from workqueue.errors import Nacked, OutcomeUnknown, PublishError, Unroutable


@dataclasses.dataclass(slots=True, eq=False)
class Publish:
    """A message on its way, and the future that its sender holds."""

    routing_key: str
    message_id: str
    future: Future[None]
    returned: str | None = None


Settled = tuple[Publish, PublishError | None]
"""A message whose fate is known, and what went wrong with it, if anything."""


class ConfirmWindow:
    """At most ``limit`` messages that the broker has not answered for, on one channel in confirm mode.

    A message is reserved a place, then sent (numbered as the channel does), then settled exactly once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._by_id: dict[str, Publish] = {}
        self._by_tag: dict[int, Publish] = {}  # in the order of the tags, which is the order of insertion
        self._last_tag = 0

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def full(self) -> bool:
        """No message can be reserved a place now."""
        return len(self._by_id) >= self.limit

    def reserve(self, publish: Publish) -> None:
        """Give the message a place. Raises ValueError if there is none, or its id is in use."""
        if self.full:
            raise ValueError(f"the window of {self.limit} is full")
        if publish.message_id in self._by_id:
            # The broker names a returned message by nothing else.
            raise ValueError(f"a message with the id {publish.message_id!r} is on its way already")
        self._by_id[publish.message_id] = publish

    def sent(self, publish: Publish) -> int:
        """The message was written to the channel. Returns the tag by which the broker will answer."""
        self._last_tag += 1
        self._by_tag[self._last_tag] = publish
        return self._last_tag

    def returned(self, message_id: str | None, reason: str) -> None:
        """The broker could not route the message. It says so before it confirms it."""
        publish = None if message_id is None else self._by_id.get(message_id)
        if publish is not None:
            publish.returned = reason

    def confirmed(self, tag: int, *, multiple: bool, is_ack: bool) -> list[Settled]:
        """The broker has taken responsibility (unless it returned the message), or has declined it."""
        settled: list[Settled] = []
        for each in self._tags(tag, multiple=multiple):
            publish = self._by_tag.pop(each)
            del self._by_id[publish.message_id]
            error: PublishError | None = None
            if not is_ack:
                problem = f"the broker refused a message for queue {publish.routing_key!r}"
                error = Nacked(problem, message_id=publish.message_id)
            elif publish.returned is not None:
                problem = f"the broker has no queue {publish.routing_key!r} for a message ({publish.returned})"
                error = Unroutable(problem, message_id=publish.message_id)
            settled.append((publish, error))
        return settled

    def lost(self, reason: str) -> list[Settled]:
        """No answer will come any more. Settles everything."""
        unanswered = list(self._by_id.values())
        self._by_id.clear()
        self._by_tag.clear()
        return [(each, OutcomeUnknown(f"not confirmed: {reason}", message_id=each.message_id)) for each in unanswered]

    def _tags(self, tag: int, *, multiple: bool) -> list[int]:
        # A tag that is not outstanding settles nothing: whatever the broker means by it, it proves nothing.
        if not multiple:
            return [tag] if tag in self._by_tag else []
        if tag == 0:  # AMQP: all that are outstanding
            return list(self._by_tag)
        tags = []
        for outstanding in self._by_tag:
            if outstanding > tag:
                break
            tags.append(outstanding)
        return tags
