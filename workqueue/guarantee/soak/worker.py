"""The worker of a soak: a process that acks each task after its work, and knows what the broker must know.

Two things that it tells besides deliveries and acks make a judgement possible. With a prefetch count of P, a channel's
delivery number n is sent only once n − P of its deliveries were settled, and acks are settled in their order. So

* when delivery n comes, the acks up to number n − P have arrived for certain (they are *proven*). An answer to a
  synchronous method would not say that: acks for a quorum queue may wait in the broker after it has answered
  (rabbitmq-server #10327).
* delivery n was sent *since* the ack of number n − P was sent, however long it was on its way here.
"""

import collections
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from pika.channel import Channel
from pika.spec import Basic

from workqueue.guarantee.soak.hand import URL_VARIABLE, Hand, now, tell

_GRACE = 0.1  # seconds between the last ack and the goodbye; see workqueue.worker.ACK_GRACE


@dataclass(frozen=True)
class Options:
    """How a worker works.

    :param queue: the queue to consume from.
    :param prefetch: prefetch count, 1 or more.
    :param work: seconds that a task takes; those that come together are done together.
    :param multiple: ack what was done together with one ``basic.ack``.
    :param auto_ack: a mistake, to see whether a soak notices: automatic acknowledgement.
    """

    queue: str
    prefetch: int = 100
    work: float = 0.005
    multiple: bool = False
    auto_ack: bool = False


@dataclass(frozen=True, slots=True)
class _Delivery:
    tag: int
    task: int
    redelivered: bool
    since: int


class Worker(Hand):
    """One worker, one channel at a time."""

    def __init__(self, url: str, options: Options) -> None:
        super().__init__(url)
        self._options = options
        self._forget()

    def _forget(self) -> None:
        self._consumer = ""
        self._subscribed = now()
        self._fresh: list[_Delivery] = []  # not told yet
        self._in_hand: list[_Delivery] = []  # told, being worked on
        self._unproven: collections.deque[_Delivery] = collections.deque()  # acked
        self._proven: list[int] = []
        self._acked_at: dict[int, int] = {}
        self._awake = False

    def opened(self, channel: Channel) -> None:
        """Subscribe."""
        self._forget()
        channel.add_on_cancel_callback(lambda _: self.reconnect("the broker cancelled the consumer"))
        channel.basic_qos(prefetch_count=self._options.prefetch, callback=lambda _: self._subscribe(channel))

    def lost(self) -> None:
        """Tell what came; its work is not begun."""
        self._tell([])

    def stop(self) -> None:
        """End the subscription, settle what is in hand, and leave. The queue is empty by now."""
        if self.channel is None or not self._consumer:
            self.leave()
            return
        self.stopping = True
        self.channel.basic_cancel(self._consumer, callback=lambda _: self._finish())

    def _subscribe(self, channel: Channel) -> None:
        self._subscribed = now()
        self._consumer = channel.basic_consume(
            self._options.queue,
            self._on_delivery,
            auto_ack=self._options.auto_ack,
            callback=lambda _: tell("ready"),
        )

    def _on_delivery(self, _: Channel, deliver: Basic.Deliver, __: object, body: bytes) -> None:
        tag = int(deliver.delivery_tag or 0)
        settled = tag - self._options.prefetch
        while self._unproven and self._unproven[0].tag <= settled:
            self._proven.append(self._unproven.popleft().task)
        since = self._acked_at.pop(settled, self._subscribed)
        self._fresh.append(_Delivery(tag, task_number(body), bool(deliver.redelivered), since))
        self._wake()

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            self.loop.call_later(self._options.work, self._step)

    def _step(self) -> None:
        self._awake = False
        if self.channel is None:
            return
        done, self._in_hand = self._in_hand, self._fresh
        self._tell(done)
        self._ack(done)
        if self._in_hand:
            self._wake()

    def _tell(self, done: list[_Delivery]) -> None:
        """Tell what came and what is going to be acked."""
        if not (self._fresh or done or self._proven):
            return
        tell(
            "work",
            got=[each.task for each in self._fresh],
            marked=[int(each.redelivered) for each in self._fresh],
            since=[each.since for each in self._fresh],
            acking=[each.task for each in done],
            proven=self._proven,
        )
        self._fresh, self._proven = [], []

    def _ack(self, done: list[_Delivery]) -> None:
        if not done or self.channel is None or self._options.auto_ack:
            return
        moment = now()
        self._acked_at.update((each.tag, moment) for each in done)
        self._unproven.extend(done)
        for tag in (done[-1].tag,) if self._options.multiple else (each.tag for each in done):
            self.channel.basic_ack(tag, multiple=self._options.multiple)

    def _finish(self) -> None:
        if self._fresh or self._in_hand:
            self.loop.call_later(self._options.work, self._finish)
        else:
            self.loop.call_later(_GRACE, self.leave)


def task_number(body: bytes) -> int:
    """The task's number, which its body begins with; -1 for a body that no producer of ours made."""
    number = body.split(b" ", 1)[0]
    return int(number) if number.isdigit() else -1


def main() -> None:
    """Run a worker as told by the command line and the environment."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    Worker(os.environ[URL_VARIABLE], Options(**options)).run()


if __name__ == "__main__":
    main()
