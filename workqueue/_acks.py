"""Which deliveries of a channel are settled, so that a burst of acks goes out as few. Pure."""

from collections.abc import Iterable


class Settlements:
    """The settlements of one channel, whose delivery tags are 1, 2, 3 …"""

    def __init__(self) -> None:
        self._last = 0  # the highest that is settled
        self._open: set[int] = set()  # those below it that are not

    def settled(self, tag: int) -> None:
        """A delivery was settled otherwise than by an ack. The next ``ack`` takes it into account."""
        self._open.update(range(self._last + 1, tag))
        self._open.discard(tag)
        self._last = max(self._last, tag)

    def ack(self, tags: Iterable[int]) -> list[tuple[int, bool]]:
        """The acks to send for these deliveries: each a tag, and whether it is for all up to that, too.

        An ack for several is only sent if all that it covers are done: what another thread still works on is not.
        """
        fresh = sorted(tags)
        for tag in fresh:
            self.settled(tag)
        first_open = min(self._open, default=self._last + 1)
        covered = [tag for tag in fresh if tag < first_open]
        acks = [(tag, False) for tag in fresh[len(covered) :]]
        if covered:
            acks.insert(0, (covered[-1], len(covered) > 1))
        return acks
