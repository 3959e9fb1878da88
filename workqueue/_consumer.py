"""A subscription: one epoch of delivery tags, which mean nothing on any other channel."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from workqueue import _frames
from workqueue._acks import Settlements

if TYPE_CHECKING:
    from workqueue._io import Answer, Link


class Consumer:
    """A subscription. Its methods may be called from any thread.

    Settlements return whether they were taken; once its link is lost they are not, since on another channel the same
    delivery tag belongs to another task. Those of a burst go out together, with as few acks as can tell it.
    """

    def __init__(self, link: "Link", channel: int, cancel: "Callable[[Answer[None]], None]") -> None:
        self.link = link
        self._channel = channel
        self._cancel = cancel
        self._lock = threading.Lock()
        self._pending: list[tuple[int, bytes | None]] = []  # a delivery tag, and a frame unless it is acknowledged
        self._settlements = Settlements()

    def ack(self, tag: int) -> bool:
        """The task is done."""
        return self._settle(tag, None)

    def reject(self, tag: int, *, requeue: bool) -> bool:
        """The task failed. Counts toward the delivery limit of a quorum queue."""
        return self._settle(tag, _frames.settle(self._channel, _frames.REJECT, tag, requeue))

    def hand_back(self, tag: int) -> bool:
        """The task was not started. Not a reject, which RabbitMQ 4.3 counts as a failure."""
        return self._settle(tag, _frames.settle(self._channel, _frames.NACK, tag, _frames.REQUEUE))

    def cancel(self) -> None:
        """End the subscription, if nobody has. What was on its way here is delivered before this returns."""
        self.link.ask(self._cancel)

    def _settle(self, tag: int, frame: bytes | None) -> bool:
        with self._lock:
            self._pending.append((tag, frame))
            first = len(self._pending) == 1
        if first:  # one wake-up of the I/O thread for a burst of them
            self.link.call_soon(self._flush)
        return self.link.failure is None

    # In the I/O thread:

    def _flush(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
        frames = []
        for tag, frame in pending:
            if frame is not None:
                frames.append(frame)
                self._settlements.settled(tag)
        acks = self._settlements.ack(tag for tag, frame in pending if frame is None)
        frames += [_frames.settle(self._channel, _frames.ACK, tag, multiple) for tag, multiple in acks]
        self.link.write(frames)
