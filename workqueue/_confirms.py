"""Publisher confirms as arithmetic: which messages does an answer of the broker settle, and how?

Nothing here talks to a broker, looks at a clock or takes a lock.
"""

import collections
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable

from workqueue.errors import Nacked, NotSent, OutcomeUnknown, PublishError, Refused, Unroutable

MAX_BYTES = 64 << 20
"""Bodies of so many bytes may be on their way at a time, or a single one that is larger."""


OnSettled = Callable[[PublishError | None], None]


@dataclasses.dataclass(slots=True, eq=False)
class Publish:
    """A message on its way, and who hears of its fate. ``deadline`` is on the clock of whoever asks."""

    queue: str
    message_id: str
    properties: bytes
    body: bytes
    settled: OnSettled
    started: float = 0.0
    deadline: float = 0.0
    returned: str | None = None
    given_up: bool = False


Settled = tuple[Publish, PublishError | None]
"""A message whose fate is known, and what went wrong with it, if anything."""


class ConfirmWindow:
    """At most ``limit`` messages that the broker has not answered for, on one channel in confirm mode.

    A message is reserved a place, then taken to be sent (numbered as the channel does), then settled, exactly once.
    Deadlines are given in ascending order.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._bytes = 0
        self._unsent: collections.deque[Publish] = collections.deque()
        self._by_tag: dict[int, Publish] = {}  # in the order of the tags, which is the order of insertion
        self._last_tag = 0

    def __len__(self) -> int:
        return len(self._by_tag) + len(self._unsent)

    def has_room(self, size: int) -> bool:
        """Whether a message with a body of so many bytes can be reserved a place now."""
        held = len(self)
        return held < self.limit and (not held or self._bytes + size <= MAX_BYTES)

    def reserve(self, publish: Publish) -> bool:
        """Give the message a place; there has to be one. Return whether it is the first that waits to be sent."""
        self._bytes += len(publish.body)
        self._unsent.append(publish)
        return len(self._unsent) == 1

    def take(self) -> list[Publish]:
        """The messages to write to the channel now, all of them, in this order."""
        taken = []
        while self._unsent:
            self._last_tag += 1
            self._by_tag[self._last_tag] = self._unsent[0]
            taken.append(self._unsent.popleft())  # last: whoever is interrupted may have one twice, but loses none
        return taken

    def only(self, publish: Publish) -> int | None:
        """The tag of the message, if it is the only one that is on its way."""
        return self._last_tag if len(self) == 1 and self._by_tag.get(self._last_tag) is publish else None

    def returned(self, queue: str | None, message_id: str | None, reason: str) -> None:
        """The broker could not route the message. It says so before it confirms it, and names it by nothing else."""
        for publish in self._by_tag.values():
            if publish.message_id == message_id and publish.queue == queue:
                publish.returned = reason

    def confirmed(self, tag: int, *, multiple: bool, is_ack: bool) -> list[Settled]:
        """The broker has taken responsibility (unless it returned the message), or has declined it."""

        def fate(publish: Publish) -> PublishError | None:
            queue, message_id = repr(publish.queue), publish.message_id
            if not is_ack:
                return Nacked(f"the broker refused a message for queue {queue}", message_id=message_id)
            if publish.returned is not None:
                reason = f"the broker has no queue {queue} for a message ({publish.returned})"
                return Unroutable(reason, message_id=message_id)
            return None

        last = tag or self._last_tag  # AMQP: with 0, all that are outstanding
        tags = list(itertools.takewhile(lambda outstanding: outstanding <= last, self._by_tag)) if multiple else [tag]
        # A tag that is not outstanding settles nothing: whatever the broker means by it, it proves nothing.
        return self._settle([self._by_tag.pop(each) for each in tags if each in self._by_tag], fate)

    def expired(self, now: float, why: str) -> list[Settled]:
        """Give up what the broker has not answered for in time.

        What was sent keeps its place until the broker answers, else a broker that does not would fill the memory.
        """
        settled: list[Settled] = []
        unknown, not_sent = _each(OutcomeUnknown, f"not confirmed {why}"), _each(NotSent, f"not sent {why}")
        for publish in itertools.takewhile(lambda sent: sent.deadline <= now, self._by_tag.values()):
            if not publish.given_up:
                publish.given_up = True
                settled.append((publish, unknown(publish)))
        while self._unsent and self._unsent[0].deadline <= now:
            settled += self._settle([self._unsent.popleft()], not_sent)
        return settled

    def next_deadline(self) -> float | None:
        """When ``expired`` will next have something to do; None if nothing is on its way."""
        held = itertools.chain(self._by_tag.values(), self._unsent)
        return next((publish.deadline for publish in held if not publish.given_up), None)

    def channel_closed(self, code: int, text: str) -> list[Settled]:
        """The broker has closed the channel, because of a message that it will not have.

        It names the size of one that is too large; and if it had only one to look at, it means that. What was sent
        before it may have arrived; what was sent after it was not looked at, and waits to be sent again. Else nobody
        can tell.
        """
        sent = list(self._by_tag.values())
        self._by_tag.clear()
        self._last_tag = 0
        size = re.search(r"message size (\d+) is larger", text)
        sizes = [len(publish.body) for publish in sent]
        meant = int(size[1]) if size else sizes[0] if len(sent) == 1 and code < 500 else None  # from there on: its own
        culprit = sizes.index(meant) if meant in sizes else len(sent)
        unknown = _each(OutcomeUnknown, f"not confirmed: {code} {text}")
        settled = self._settle(sent[:culprit], unknown)
        settled += self._settle(sent[culprit : culprit + 1], lambda it: Refused(code, text, message_id=it.message_id))
        self._settle([each for each in sent[culprit + 1 :] if each.given_up], unknown)
        self._unsent.extendleft(reversed([each for each in sent[culprit + 1 :] if not each.given_up]))
        return settled

    def lost(self, reason: str) -> list[Settled]:
        """The connection is gone. Settles everything: nobody can tell what became of what was sent."""
        sent = list(self._by_tag.values())
        unsent = [publish for publish in self._unsent if publish not in sent[-1:]]  # if taking it was interrupted
        settled = self._settle(sent, _each(OutcomeUnknown, f"not confirmed: {reason}"))
        settled += self._settle(unsent, _each(NotSent, f"not sent: {reason}"))
        self._by_tag.clear()
        self._unsent.clear()
        return settled

    def _settle(self, publishes: Iterable[Publish], fate: Callable[[Publish], PublishError | None]) -> list[Settled]:
        """Free their places. What was given up has had its fate."""
        settled: list[Settled] = []
        for publish in publishes:
            self._bytes -= len(publish.body)
            if not publish.given_up:
                settled.append((publish, fate(publish)))
        return settled


def _each(error: type[PublishError], problem: str) -> Callable[[Publish], PublishError]:
    return lambda publish: error(problem, message_id=publish.message_id)
