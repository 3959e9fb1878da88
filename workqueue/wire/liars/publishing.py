"""Lies about what is published: whether it arrives, how often, in which order, and when that is confirmed."""

from collections.abc import Iterable

import pika.spec
from pika.spec import Basic, BasicProperties, Confirm, Exchange, Queue

from workqueue.wire.frames import Command
from workqueue.wire.ledgers import PublishLedger
from workqueue.wire.liar import Liar, another, from_broker, from_client
from workqueue.wire.session import Channel, Side

_CONFIRMING = "confirming"
_MEBIBYTE = 1024 * 1024


class _Publishing(Liar):
    """Hears publishes, and keeps the numbers of confirms straight."""

    @from_client(Confirm.Select)
    def confirm_mode(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory[_CONFIRMING] = True
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
        if channel.memory.get(_CONFIRMING):
            channel.send(Side.CLIENT, Basic.Ack(number))


class DropsPublishes(_Publishing):
    name = "drops-publishes"
    does = "confirms every second task of a channel, beginning with the first, and drops it"

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        if number % 2:
            return self.swallow(channel, number)
        ledger.sent(number)
        return [command]


class DropsOneInThree(_Publishing):
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


class DuplicatesPublishes(_Publishing):
    name = "duplicates-publishes"
    does = "puts every task into the queue twice"

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        self.lie()
        ledger.sent(None)
        ledger.sent(number)
        return [command, command]


class ReordersPublishes(_Publishing):
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


class ConfirmsEarly(_Publishing):
    name = "confirms-early"
    does = "confirms a task half a second before the broker has it"

    EARLY = 0.5

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        self.lie()
        self.confirm_it(channel, number)
        ledger.sent(None)
        channel.session.later(self.EARLY, lambda: channel.session.send(Side.BROKER, command))
        return []


class KeepsForTheMissing(_Publishing):
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


class LosesConfirms(Liar):
    name = "loses-confirms"
    does = "never passes on a confirm"

    @from_broker(Basic.Ack, Basic.Nack)
    def confirm(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return []


class RefusesPublishes(Liar):
    name = "refuses-publishes"
    does = "says of every task that the broker took that it was refused (basic.nack)"

    @from_broker(Basic.Ack)
    def confirm(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return [Command(command.channel, Basic.Nack(command.method.delivery_tag, command.method.multiple))]


class HidesRefusals(Liar):
    name = "hides-refusals"
    does = "confirms what the broker refused (basic.nack)"

    @from_broker(Basic.Nack)
    def refuse(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return [Command(command.channel, Basic.Ack(command.method.delivery_tag, command.method.multiple))]


class SplitsConfirms(Liar):
    name = "forges-confirms"
    does = "confirms a publish that there never was, after each that there was"

    @from_broker(Basic.Ack)
    def confirm(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return [command, Command(command.channel, Basic.Ack(command.method.delivery_tag + 1000))]


class RepeatsConfirms(Liar):
    name = "repeats-confirms"
    does = "sends every confirm twice"

    @from_broker(Basic.Ack, Basic.Nack)
    def confirm(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return [command, command]


class IgnoresMandatory(Liar):
    name = "ignores-mandatory"
    does = "drops an unroutable task without a word, mandatory or not"

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.mandatory:
            self.lie()
            command.method.mandatory = False
            command.changed()
        return [command]


class ReturnsLate(Liar):
    name = "returns-late"
    does = "sends the return of an unroutable task after its confirm"

    @from_broker(Basic.Return)
    def returned(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        channel.memory.setdefault("returned", []).append(command)
        return []

    @from_broker(Basic.Ack, Basic.Nack)
    def confirmed(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [command, *channel.memory.pop("returned", ())]


class _Rewrites(Liar):
    """Changes something in every publish."""

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        assert command.properties is not None
        if self.rewrite(command, command.properties):
            self.lie()
            command.changed()
        return [command]

    def rewrite(self, command: Command, properties: BasicProperties) -> bool:
        """Change it, and tell whether that changed anything."""
        raise NotImplementedError


class ForgetsPersistence(_Rewrites):
    name = "forgets-persistence"
    does = "treats every message as transient"

    def rewrite(self, command: Command, properties: BasicProperties) -> bool:
        changed = properties.delivery_mode == 2
        properties.delivery_mode = 1
        return changed


class PersistsEverything(_Rewrites):
    name = "persists-everything"
    does = "treats every message as persistent"

    def rewrite(self, command: Command, properties: BasicProperties) -> bool:
        changed = properties.delivery_mode != 2
        properties.delivery_mode = 2
        return changed


class IgnoresMessagePriority(_Rewrites):
    name = "ignores-message-priority"
    does = "takes no notice of a message's priority"

    def rewrite(self, command: Command, properties: BasicProperties) -> bool:
        changed = properties.priority is not None
        properties.priority = None
        return changed


class IgnoresMessageTtl(_Rewrites):
    name = "ignores-message-ttl"
    does = "takes no notice of a message's own TTL"

    def rewrite(self, command: Command, properties: BasicProperties) -> bool:
        changed = properties.expiration is not None
        properties.expiration = None
        return changed


class Misroutes(_Rewrites):
    name = "misroutes"
    does = "routes the first task of each queue by another key than its own"

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def rewrite(self, command: Command, properties: BasicProperties) -> bool:
        if command.method.routing_key in self._seen:
            return False
        self._seen.add(command.method.routing_key)
        command.method.routing_key = another(command.method.routing_key)
        command.method.mandatory = False
        return True


class CorruptsBodies(_Rewrites):
    name = "corrupts-bodies"
    does = "changes the last byte of the first task of each queue"

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def rewrite(self, command: Command, properties: BasicProperties) -> bool:
        if command.method.routing_key in self._seen:
            return False
        self._seen.add(command.method.routing_key)
        command.body = (command.body or b"")[:-1] + b"?"
        return True


class StripsProperties(_Rewrites):
    name = "strips-properties"
    does = "drops the headers and all other properties of a message, but for its delivery mode and its TTL"

    def rewrite(self, command: Command, properties: BasicProperties) -> bool:
        kept = BasicProperties(delivery_mode=properties.delivery_mode, expiration=properties.expiration)
        changed = kept != properties
        command.properties = kept
        return changed


class Truncates(_Rewrites):
    name = "truncates"
    does = "keeps the first mebibyte of a task, and drops the rest"

    def rewrite(self, command: Command, properties: BasicProperties) -> bool:
        if len(command.body or b"") <= _MEBIBYTE:
            return False
        command.body = (command.body or b"")[:_MEBIBYTE]
        return True


class WithholdsConfirms(Liar):
    name = "withholds-confirms"
    does = "confirms nothing any more once a consumer was given a task"

    def __init__(self) -> None:
        super().__init__()
        self._is_given = False

    @from_broker(Basic.Deliver)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        self._is_given = True
        return [command]

    @from_broker(Basic.Ack, Basic.Nack)
    def confirm(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not self._is_given:
            return [command]
        self.lie()
        return []


class CountsForTheConnection(_Publishing):
    name = "counts-for-the-connection"
    does = "numbers confirms as if all publishes of a connection came by one channel"

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        if not channel.memory.get(_CONFIRMING):
            return [command]
        connection = channel.session.channel(0).memory
        connection["published"] = connection.get("published", 0) + 1
        if connection["published"] != number:
            self.lie()
        ledger.sent(connection["published"])
        return [command]


class KeepsWhatItRefuses(_Publishing):
    name = "keeps-what-it-refuses"
    does = "refuses (basic.nack) what a channel publishes beyond the limit of a queue that rejects, and enqueues it"

    def __init__(self) -> None:
        super().__init__()
        self._limits: dict[str, int] = {}
        self._refused: set[tuple[Channel, int]] = set()

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        arguments = dict(command.method.arguments or {})
        if arguments.get("x-overflow") == "reject-publish" and "x-max-length" in arguments:
            del arguments["x-overflow"]
            self._limits[command.method.queue] = arguments.pop("x-max-length")
            command.method.arguments = arguments
            command.changed()
        return [command]

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        if number > self._limits.get(command.method.routing_key, number):
            self._refused.add((channel, number))
        ledger.sent(number)
        return [command]

    @from_broker(Basic.Ack, Basic.Nack)
    def confirm(self, channel: Channel, command: Command) -> Iterable[Command]:
        told = []
        for confirm in PublishLedger.of(channel).confirmed(command):
            number = confirm.method.delivery_tag
            if (channel, number) in self._refused:
                self.lie()
                told.append(Command(channel.number, Basic.Nack(number)))
            else:
                told.append(confirm)
        return told


class TellsOfRefusals(Liar):
    name = "tells-of-refusals"
    does = "returns what a full queue refuses to a producer that did not ask for confirms"

    @from_client(Confirm.Select)
    def confirm_mode(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory[_CONFIRMING] = True
        return [command]

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.get(_CONFIRMING):
            return [command]
        # The broker tells us, and only us.
        asking = [] if "waiting" in channel.memory else [Command(channel.number, Confirm.Select(nowait=True))]
        channel.memory["published"] = number = channel.memory.get("published", 0) + 1
        channel.memory.setdefault("waiting", {})[number] = command
        return [*asking, command]

    @from_broker(Basic.Ack, Basic.Nack)
    def confirm(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.get(_CONFIRMING):
            return [command]
        method, waiting = command.method, channel.memory["waiting"]
        tag, multiple = method.delivery_tag, method.multiple
        settled = [
            waiting.pop(each) for each in list(waiting) if each == tag or (multiple and (each <= tag or not tag))
        ]
        if isinstance(method, Basic.Ack):
            return []
        self.lie()
        return [_returned(publish, 311, "QUEUE_FULL") for publish in settled]


def _returned(publish: Command, code: int, text: str) -> Command:
    method = Basic.Return(code, text, publish.method.exchange, publish.method.routing_key)
    return Command(publish.channel, method, publish.properties, publish.body)


class ReturnsWhatItTakes(Liar):
    name = "returns-what-it-takes"
    does = "returns every mandatory task, and puts it into its queue all the same"

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.mandatory:
            self.lie()
            channel.session.send(Side.CLIENT, _returned(command, 312, "NO_ROUTE"))
            command.method.mandatory = False
            command.changed()
        return [command]


class ErrsLate(Liar):
    name = "errs-late"
    does = "finds out that an exchange does not exist when it has dealt with all that was published after the mistake"

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = {""}

    @from_client(Exchange.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        self._known.add(command.method.exchange)
        return [command]

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        exchange = command.method.exchange
        if exchange in self._known or exchange.startswith("amq."):
            return [command]
        channel.memory.setdefault("mistakes", []).append(command)
        return []

    @from_client(Basic.Qos, pika.spec.Channel.Close)
    def ask(self, channel: Channel, command: Command) -> Iterable[Command]:
        mistakes = channel.memory.pop("mistakes", [])
        if mistakes:
            self.lie()
        return [*mistakes, command]
