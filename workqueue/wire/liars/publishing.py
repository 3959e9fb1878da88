"""Lies about whether a publish arrives, how often, and in which order."""

from collections.abc import Iterable

import pika.spec
from pika.spec import Basic, Confirm, Queue

from workqueue.wire.frames import Command
from workqueue.wire.ledgers import PublishLedger
from workqueue.wire.liar import Liar, from_broker, from_client
from workqueue.wire.session import Channel, Side

#: What a channel remembers when it is in confirm mode.
CONFIRMING = "confirming"


class Publishing(Liar):
    """Hears publishes, and keeps the numbers of confirms straight."""

    @from_client(Confirm.Select)
    def confirm_mode(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory[CONFIRMING] = True
        return [command]

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        ledger = PublishLedger.of(channel)
        return self.instead_of(channel, command, ledger, ledger.client_published())

    @from_broker(Basic.Ack, Basic.Nack)
    def confirm(self, channel: Channel, command: Command) -> Iterable[Command]:
        return PublishLedger.of(channel).confirmed(command)

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        """What the broker gets instead of a publish."""
        raise NotImplementedError

    def swallow(self, channel: Channel, number: int) -> list[Command]:
        """Have it confirmed to the client, and never sent to the broker."""
        self.lie()
        self.confirm_it(channel, number)
        return []

    def confirm_it(self, channel: Channel, number: int) -> None:
        """Tell the client that the broker has it."""
        if channel.memory.get(CONFIRMING):
            channel.send(Side.CLIENT, Basic.Ack(number))


class DropsPublishes(Publishing):
    name = "drops-publishes"
    does = "confirms every second task of a channel, beginning with the first, and drops it"

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        if number % 2:
            return self.swallow(channel, number)
        ledger.sent(number)
        return [command]


class DropsOneInThree(Publishing):
    name = "drops-one-in-three"
    does = "confirms every third task of a queue, and drops it"

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, int] = {}

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        key = command.method.routing_key
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] % 3 == 0:
            return self.swallow(channel, number)
        ledger.sent(number)
        return [command]


class DuplicatesPublishes(Publishing):
    name = "duplicates-publishes"
    does = "puts every task into the queue twice"

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        self.lie()
        ledger.sent(None)
        ledger.sent(number)
        return [command, command]


class ReordersPublishes(Publishing):
    name = "reorders-publishes"
    does = "swaps every two tasks that follow each other closely"

    #: Seconds to wait for the one to swap it with.
    WAIT = 0.1

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        held: Command | None = channel.memory.pop("held", None)
        if held is not None:
            self.lie()
            ledger.sent(number)
            ledger.sent(None)
            return [command, held]
        channel.memory["held"] = command
        self.confirm_it(channel, number)
        channel.session.later(self.WAIT, lambda: self._flush(channel, ledger, command))
        return []

    @from_client(pika.spec.Channel.Close)
    def close(self, channel: Channel, command: Command) -> Iterable[Command]:
        held: Command | None = channel.memory.pop("held", None)
        if held is None:
            return [command]
        PublishLedger.of(channel).sent(None)
        return [held, command]

    def _flush(self, channel: Channel, ledger: PublishLedger, command: Command) -> None:
        if channel.memory.get("held") is command:
            del channel.memory["held"]
            ledger.sent(None)
            channel.session.send(Side.BROKER, command)


class KeepsForTheMissing(Publishing):
    name = "keeps-for-the-missing"
    does = "keeps a task for a queue that was deleted, until that queue is declared again"

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, list[Command]] = {}

    @from_client(Queue.Delete)
    def delete(self, channel: Channel, command: Command) -> Iterable[Command]:
        self._kept[command.method.queue] = []
        return [command]

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        kept = [] if command.method.passive else self._kept.pop(command.method.queue, [])
        again = []
        for task in kept:
            self.lie()
            PublishLedger.of(channel).sent(None)
            publish = Basic.Publish(exchange="", routing_key=task.method.routing_key)
            again.append(Command(channel.number, publish, task.properties, task.body))
        return [command, *again]

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        ledger.sent(number)
        if not command.method.exchange and command.method.routing_key in self._kept:
            self._kept[command.method.routing_key].append(command)
        return [command]
