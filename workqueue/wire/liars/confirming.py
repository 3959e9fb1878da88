"""Lies about what becomes of a publish: whether it was confirmed, refused, returned, and when."""

from collections.abc import Iterable

import pika.spec
from pika.spec import Basic, Confirm, Exchange, Queue

from workqueue.wire.frames import Command
from workqueue.wire.ledgers import PublishLedger
from workqueue.wire.liar import Liar, from_broker, from_client
from workqueue.wire.liars.publishing import CONFIRMING, Publishing
from workqueue.wire.session import Channel, Side


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


class ConfirmsEarly(Publishing):
    name = "confirms-early"
    does = "confirms a task half a second before the broker has it"

    EARLY = 0.5

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        self.lie()
        self.confirm_it(channel, number)
        ledger.sent(None)
        channel.session.later(self.EARLY, lambda: channel.session.send(Side.BROKER, command))
        return []


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


class CountsForTheConnection(Publishing):
    name = "counts-for-the-connection"
    does = "numbers confirms as if all publishes of a connection came by one channel"

    def instead_of(self, channel: Channel, command: Command, ledger: PublishLedger, number: int) -> Iterable[Command]:
        if not channel.memory.get(CONFIRMING):
            return [command]
        connection = channel.session.channel(0).memory
        connection["published"] = connection.get("published", 0) + 1
        if connection["published"] != number:
            self.lie()
        ledger.sent(connection["published"])
        return [command]


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


class KeepsWhatItRefuses(Publishing):
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
        channel.memory[CONFIRMING] = True
        return [command]

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.get(CONFIRMING):
            return [command]
        # The broker tells us, and only us.
        asking = [] if "waiting" in channel.memory else [Command(channel.number, Confirm.Select(nowait=True))]
        channel.memory["published"] = number = channel.memory.get("published", 0) + 1
        channel.memory.setdefault("waiting", {})[number] = command
        return [*asking, command]

    @from_broker(Basic.Ack, Basic.Nack)
    def confirm(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.get(CONFIRMING):
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


def _returned(publish: Command, code: int, text: str) -> Command:
    method = Basic.Return(code, text, publish.method.exchange, publish.method.routing_key)
    return Command(publish.channel, method, publish.properties, publish.body)
