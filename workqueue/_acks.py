"""Which deliveries of a channel are settled, so that a burst of acks goes out as few. Pure."""

from collections.abc import Iterable


class Settlements:
    """The settlements of one channel, whose delivery tags are 1, 2, 3 …"""

    def __init__(self) -> None:
        self._up_to = 0  # all up to here are settled
        self._beyond: set[int] = set()  # and these

    def settled(self, tag: int) -> None:
        """A delivery was settled otherwise than by an ack. The next ``ack`` takes it into account."""
        self._beyond.add(tag)

    def ack(self, tags: Iterable[int]) -> list[tuple[int, bool]]:
        """The acks to send for these deliveries: each a tag, and whether it is for all up to that, too.

        An ack for several is only sent if all that it covers are done: what another thread still works on is not.
        """
        fresh = sorted(tags)
        self._beyond.update(fresh)
        while self._up_to + 1 in self._beyond:
            self._up_to += 1
            self._beyond.remove(self._up_to)
        covered = [tag for tag in fresh if tag <= self._up_to]
        acks = [(tag, False) for tag in fresh[len(covered) :]]
        if covered:
            acks.insert(0, (covered[-1], len(covered) > 1))
        return acks
