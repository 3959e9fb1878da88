"""The producer of a soak: a process that publishes each task once, persistent, mandatory and confirmed.

A task whose confirmation does not come before the connection ends is not published again: nobody knows what became of
it, and a second copy would hide it.
"""

import collections
import itertools
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import pika
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from workqueue.guarantee.soak.hand import URL_VARIABLE, Hand, now, tell

_TICK = 0.01  # seconds between two bursts


@dataclass(frozen=True)
class Options:
    """How a producer publishes.

    :param queue: the queue to publish to, by way of the default exchange.
    :param first: number of its first task.
    :param stride: the difference between the numbers of two of its tasks.
    :param rate: tasks a second, while it is connected and not blocked.
    :param window: how many tasks may wait for their confirmation.
    :param size: length of a body, in bytes.
    """

    queue: str
    first: int
    stride: int
    rate: float
    window: int = 1000
    size: int = 100


class Producer(Hand):
    """One producer, one channel in confirm mode at a time."""

    def __init__(self, url: str, options: Options) -> None:
        super().__init__(url)
        self._options = options
        self._next = options.first
        self._is_blocked = False
        self._forget()

    def _forget(self) -> None:
        self._unconfirmed: collections.OrderedDict[int, int] = collections.OrderedDict()  # by tag
        self._last_tag = 0
        self._due = 0.0
        self._ticked = now()
        self._outcomes: dict[str, list[int]] = {}
        self._returned: set[int] = set()
        self._is_blocked = False

    def opened(self, channel: Channel) -> None:
        """Ask for confirms."""
        self._forget()
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._begin(channel))

    def lost(self) -> None:
        """Tell what was confirmed; the rest is in doubt."""
        self._tell_outcomes()
        self._unconfirmed.clear()

    def stop(self) -> None:
        """Publish no more, wait for the confirmations, leave."""
        self.stopping = True
        if self.channel is None:
            self.leave()

    def blocked(self, reason: str | None) -> None:
        """Publish nothing while there is an alarm, as a producer should."""
        self._is_blocked = reason is not None
        tell("blocked" if self._is_blocked else "unblocked", why=reason)

    def _begin(self, channel: Channel) -> None:
        tell("ready")
        self._ticked = now()
        self._tick(channel)

    def _tick(self, channel: Channel) -> None:
        if channel is not self.channel:
            return
        self._tell_outcomes()
        moment = now()
        # What could not be sent in time is not made up for, or each outage would be followed by a flood.
        self._due = min(self._due + (moment - self._ticked) * self._options.rate / 1e6, self._options.rate)
        self._ticked = moment
        if self.stopping:
            if not self._unconfirmed:
                self.leave()
                return
        elif not self._is_blocked:
            self._publish(channel, min(int(self._due), self._options.window - len(self._unconfirmed)))
        self.loop.call_later(_TICK, lambda: self._tick(channel))

    def _publish(self, channel: Channel, count: int) -> None:
        if count <= 0:
            return
        self._due -= count
        tasks = range(self._next, self._next + count * self._options.stride, self._options.stride)
        self._next = tasks.stop
        tell("publishing", first=tasks.start, count=count)
        for task in tasks:
            self._last_tag += 1
            self._unconfirmed[self._last_tag] = task
            body = f"{task} ".encode().ljust(self._options.size, b".")
            channel.basic_publish("", self._options.queue, body, BasicProperties(delivery_mode=2), mandatory=True)

    def _on_confirm(self, frame: Any) -> None:
        tag, outcome = int(frame.method.delivery_tag), "confirmed" if isinstance(frame.method, Basic.Ack) else "refused"
        for each in self._up_to(tag) if frame.method.multiple else [tag]:
            task = self._unconfirmed.pop(each, None)
            if task is not None:
                self._outcomes.setdefault("returned" if task in self._returned else outcome, []).append(task)

    def _up_to(self, tag: int) -> list[int]:
        return list(itertools.takewhile(lambda each: each <= tag, self._unconfirmed))

    def _on_return(self, _: Channel, __: Basic.Return, ___: pika.BasicProperties, body: bytes) -> None:
        # Said before it is confirmed.
        self._returned.add(int(body.split(b" ", 1)[0]))

    def _tell_outcomes(self) -> None:
        if self._outcomes:
            tell("outcomes", tasks=self._outcomes)
            self._outcomes = {}


def main() -> None:
    """Run a producer as told by the command line and the environment."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    Producer(os.environ[URL_VARIABLE], Options(**options)).run()


if __name__ == "__main__":
    main()
