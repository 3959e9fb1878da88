"""Keeping the numbers straight when commands were swallowed or added: each end counts what it sent and what it got."""

import itertools
from collections.abc import Iterable

from pika.spec import Basic

from workqueue.wire.frames import Command
from workqueue.wire.session import Channel

#: Added to a delivery tag that the client was never given, so that it means nothing to the broker either.
_NOWHERE = 1 << 32


class PublishLedger:
    """Which publish of the client is which publish to the broker, on a channel in confirm mode.

    Both ends number the publishes of a channel from 1; what the broker confirms has to be told to the client in the
    client's numbers.
    """

    def __init__(self) -> None:
        self._from_client = 0
        self._to_broker = 0
        self._waiting: dict[int, int | None] = {}

    @classmethod
    def of(cls, channel: Channel) -> "PublishLedger":
        """The one of a channel."""
        ledger: PublishLedger = channel.memory.setdefault("publishes", cls())
        return ledger

    def client_published(self) -> int:
        """The client published; returns its number."""
        self._from_client += 1
        return self._from_client

    def sent(self, number: int | None) -> None:
        """The broker was sent a publish: this one of the client's, or (None) one that the client knows nothing of."""
        self._to_broker += 1
        self._waiting[self._to_broker] = number

    def confirmed(self, command: Command) -> list[Command]:
        """What the client is to be told of an answer of the broker's."""
        tag, multiple = command.method.delivery_tag, command.method.multiple
        settled = [number for number in self._waiting if number == tag or (multiple and (number <= tag or not tag))]
        told = [self._waiting.pop(number) for number in settled]
        kind = type(command.method)
        return [Command(command.channel, kind(delivery_tag=number)) for number in told if number is not None]


class DeliveryLedger:
    """Which delivery to the client is which delivery of the broker's, on one channel."""

    def __init__(self) -> None:
        self._tags = itertools.count(1)
        self._held: dict[int, int | None] = {}

    @classmethod
    def of(cls, channel: Channel) -> "DeliveryLedger":
        """The one of a channel."""
        ledger: DeliveryLedger = channel.memory.setdefault("deliveries", cls())
        return ledger

    def deliver(self, tag: int | None) -> int:
        """The client is sent this delivery of the broker's, or (None) one that the broker knows nothing of.

        Returns the tag for the client.
        """
        mine = next(self._tags)
        self._held[mine] = tag
        return mine

    def settled(self, command: Command) -> list[Command]:
        """What the broker is to be told of an acknowledgement or a rejection of the client's."""
        method = command.method
        tag, multiple = method.delivery_tag, getattr(method, "multiple", False)
        settled = [each for each in self._held if each == tag or (multiple and (each <= tag or not tag))]
        if not settled:
            method.delivery_tag = tag and tag + _NOWHERE
            return [command.changed()]
        told = [self._held.pop(each) for each in settled]
        return list(_each(command, [each for each in told if each is not None]))


def _each(command: Command, tags: Iterable[int]) -> Iterable[Command]:
    kind = type(command.method)
    for tag in tags:
        method = kind(delivery_tag=tag)
        if kind is not Basic.Ack:
            method.requeue = command.method.requeue
        yield Command(command.channel, method)
