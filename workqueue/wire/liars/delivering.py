"""Lies about deliveries: what is sent to whom, how often, in which order, and what it is said to be."""

from collections.abc import Iterable
from typing import Any

from pika.spec import Basic, BasicProperties

from workqueue.wire.frames import Command
from workqueue.wire.ledgers import DeliveryLedger
from workqueue.wire.liar import Liar, another, from_broker, from_client
from workqueue.wire.session import Channel, Side


class _Describes(Liar):
    """Changes what a delivery is said to be."""

    @from_broker(Basic.Deliver, Basic.GetOk)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        assert command.properties is not None
        if self.describe(command, command.properties):
            self.lie()
            command.changed()
        return [command]

    def describe(self, command: Command, properties: BasicProperties) -> bool:
        """Change it, and tell whether that changed anything."""
        raise NotImplementedError


class HidesRedelivered(_Describes):
    name = "hides-redelivered"
    does = "marks no delivery as redelivered"

    def describe(self, command: Command, properties: BasicProperties) -> bool:
        changed = bool(command.method.redelivered)
        command.method.redelivered = False
        return changed


class ForgesRedelivered(_Describes):
    name = "forges-redelivered"
    does = "marks every delivery as redelivered"

    def describe(self, command: Command, properties: BasicProperties) -> bool:
        changed = not command.method.redelivered
        command.method.redelivered = True
        return changed


class ForgesRoutingKeys(_Describes):
    name = "forges-routing-keys"
    does = "delivers a task with another routing key than it was published with"

    def describe(self, command: Command, properties: BasicProperties) -> bool:
        command.method.routing_key = another(command.method.routing_key)
        return True


class HidesHeaders(_Describes):
    name = "hides-headers"
    does = "delivers messages without their headers"

    def describe(self, command: Command, properties: BasicProperties) -> bool:
        changed = bool(properties.headers)
        properties.headers = None
        return changed


class MiscountsDeliveries(_Describes):
    name = "miscounts-deliveries"
    does = "adds ten to every count in a message's headers"

    def describe(self, command: Command, properties: BasicProperties) -> bool:
        return _add_ten(properties.headers)


def _add_ten(value: Any) -> bool:
    if isinstance(value, list):
        return bool(sum(_add_ten(each) for each in value))
    if not isinstance(value, dict):
        return False
    changed = False
    for key, each in value.items():
        if "count" in key and isinstance(each, int):
            value[key] = each + 10
            changed = True
        changed = _add_ten(each) or changed
    return changed


class KeepsExpiration(_Describes):
    name = "keeps-expiration"
    does = "delivers a dead letter with the TTL that it was published with"

    def describe(self, command: Command, properties: BasicProperties) -> bool:
        headers: Any = properties.headers or {}
        for death in headers.get("x-death", ()):
            properties.expiration = death.get("original-expiration")
        return properties.expiration is not None


class ForgesDeaths(_Describes):
    name = "forges-deaths"
    does = "gives another reason, and another queue, for a dead letter"

    def describe(self, command: Command, properties: BasicProperties) -> bool:
        headers: Any = properties.headers or {}
        found = False
        for death in headers.get("x-death", ()):
            death["reason"] = "boredom"
            death["queue"] = "not-this-one"
            found = True
        for name in [name for name in headers if name.startswith(("x-first-death", "x-last-death"))]:
            headers[name] = "boredom"
            found = True
        return found


class CorruptsDeliveries(_Describes):
    name = "corrupts-deliveries"
    does = "changes the last byte of the first delivery to each consumer, or the first that is fetched from a queue"

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def describe(self, command: Command, properties: BasicProperties) -> bool:
        consumer = getattr(command.method, "consumer_tag", "") or command.method.routing_key
        if consumer in self._seen:
            return False
        self._seen.add(consumer)
        command.body = (command.body or b"")[:-1] + b"?"
        return True


class _Delivering(Liar):
    """Changes what is delivered, and keeps the delivery tags straight."""

    @from_broker(Basic.Deliver)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        return self.instead_of(channel, command, DeliveryLedger.of(channel))

    @from_broker(Basic.GetOk)
    def got(self, channel: Channel, command: Command) -> Iterable[Command]:
        command.method.delivery_tag = DeliveryLedger.of(channel).deliver(command.method.delivery_tag)
        return [command.changed()]

    @from_client(Basic.Ack, Basic.Nack, Basic.Reject)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        return DeliveryLedger.of(channel).settled(command)

    def instead_of(self, channel: Channel, command: Command, ledger: DeliveryLedger) -> Iterable[Command]:
        """What the client gets instead of a delivery."""
        raise NotImplementedError


def _delivery(channel: int, original: Command, tag: int, consumer: str) -> Command:
    method = original.method
    again = Basic.Deliver(consumer, tag, method.redelivered, method.exchange, method.routing_key)
    return Command(channel, again, original.properties, original.body)


class RepeatsDeliveries(_Delivering):
    name = "repeats-deliveries"
    does = "delivers every task twice to the same consumer"

    def instead_of(self, channel: Channel, command: Command, ledger: DeliveryLedger) -> Iterable[Command]:
        self.lie()
        consumer = command.method.consumer_tag
        first = _delivery(channel.number, command, ledger.deliver(command.method.delivery_tag), consumer)
        return [first, _delivery(channel.number, command, ledger.deliver(None), consumer)]


class HandsToTwo(_Delivering):
    name = "hands-to-two"
    does = "gives a task to another consumer of its queue, too"

    def __init__(self) -> None:
        super().__init__()
        self._consumers: dict[str, list[tuple[Channel, str]]] = {}

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        self._consumers.setdefault(command.method.queue, []).append((channel, command.method.consumer_tag))
        return [command]

    @from_client(Basic.Cancel)
    def cancel(self, channel: Channel, command: Command) -> Iterable[Command]:
        for consumers in self._consumers.values():
            if (who := (channel, command.method.consumer_tag)) in consumers:
                consumers.remove(who)
        return [command]

    def instead_of(self, channel: Channel, command: Command, ledger: DeliveryLedger) -> Iterable[Command]:
        consumer = command.method.consumer_tag
        for other, tag in self._others(channel, consumer):
            self.lie()
            mine = DeliveryLedger.of(other).deliver(None)
            other.session.send(Side.CLIENT, _delivery(other.number, command, mine, tag))
        command.method.delivery_tag = ledger.deliver(command.method.delivery_tag)
        return [command.changed()]

    def _others(self, channel: Channel, consumer: str) -> list[tuple[Channel, str]]:
        for consumers in self._consumers.values():
            if (channel, consumer) in consumers:
                return [who for who in consumers if who != (channel, consumer)]
        return []


class SharesWhatIsHeld(_Delivering):
    name = "shares-what-is-held"
    does = "gives a consumer that comes what others of its queue hold, too, as if it came back, and parts with nobody"

    def __init__(self) -> None:
        super().__init__()
        self._queues: dict[tuple[Channel, str], str] = {}
        self._held: dict[str, dict[tuple[Channel, int], Command]] = {}

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        self._queues[channel, command.method.consumer_tag] = command.method.queue
        return [command]

    @from_broker(Basic.ConsumeOk)
    def consuming(self, channel: Channel, command: Command) -> Iterable[Command]:
        tag = command.method.consumer_tag
        held = list(self._held.get(self._queues[channel, tag], {}).values())
        ledger, copies = DeliveryLedger.of(channel), list[Command]()
        for each in held:
            self.lie()
            copies.append(_delivery(channel.number, each, ledger.deliver(None), tag))
            copies[-1].method.redelivered = True
        return [command, *copies]

    @from_client(Basic.Ack, Basic.Nack, Basic.Reject)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        for held in self._held.values():
            held.pop((channel, command.method.delivery_tag), None)
        return DeliveryLedger.of(channel).settled(command)

    def instead_of(self, channel: Channel, command: Command, ledger: DeliveryLedger) -> Iterable[Command]:
        method = command.method
        method.delivery_tag = ledger.deliver(method.delivery_tag)
        self._held.setdefault(self._queues[channel, method.consumer_tag], {})[channel, method.delivery_tag] = command
        return [command.changed()]


class NeverDelivers(Liar):
    name = "never-delivers"
    does = "sends consumers nothing"

    @from_broker(Basic.Deliver)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return []


class NeverRedelivers(Liar):
    name = "never-redelivers"
    does = "sends nobody what comes back to the queue"

    @from_broker(Basic.Deliver)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not command.method.redelivered:
            return [command]
        self.lie()
        return []


class DelaysRedelivery(Liar):
    name = "delays-redelivery"
    does = "waits six seconds before it redelivers a task"

    DELAY = 6.0

    @from_broker(Basic.Deliver)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not command.method.redelivered:
            return [command]
        self.lie()
        channel.session.later(self.DELAY, lambda: channel.session.send(Side.CLIENT, command))
        return []


class LetsRest(Liar):
    name = "lets-rest"
    does = "waits for a twentieth of a second before it answers a basic.get with a task that came back, 200 times"

    DELAY = 0.05

    @from_broker(Basic.GetOk)
    def got(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not command.method.redelivered or self.lies >= 200:
            return [command]
        self.lie()
        channel.session.later(self.DELAY, lambda: channel.session.send(Side.CLIENT, command))
        return []


class SwapsDeliveries(Liar):
    name = "swaps-deliveries"
    does = "swaps every two deliveries that follow each other closely"

    WAIT = 0.1

    @from_broker(Basic.Deliver)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        held: Command | None = channel.memory.pop("held", None)
        if held is not None:
            self.lie()
            return [command, held]
        channel.memory["held"] = command
        channel.session.later(self.WAIT, lambda: self._flush(channel, command))
        return []

    def _flush(self, channel: Channel, command: Command) -> None:
        if channel.memory.get("held") is command:
            del channel.memory["held"]
            channel.session.send(Side.CLIENT, command)


class FindsNothing(Liar):
    name = "finds-nothing"
    does = "answers every basic.get as if the queue were empty, and does not look"

    @from_client(Basic.Get)
    def get(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        channel.send(Side.CLIENT, Basic.GetEmpty())
        return []


class CountsTooEarly(_Describes):
    name = "counts-too-early"
    does = "puts a delivery count of 0 into a message that was never delivered"

    def describe(self, command: Command, properties: BasicProperties) -> bool:
        headers: dict[str, Any] = dict(properties.headers or {})
        if "x-delivery-count" in headers:
            return False
        properties.headers = {**headers, "x-delivery-count": 0}
        return True
