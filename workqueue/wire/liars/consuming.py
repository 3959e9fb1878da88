"""Lies about consumers: who gets how much, and what a subscription means."""

from collections.abc import Iterable
from typing import Any

import pika.spec
from pika.spec import Basic

from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, from_broker, from_client
from workqueue.wire.session import Channel, Side


class IgnoresPrefetch(Liar):
    name = "ignores-prefetch"
    does = "takes no notice of basic.qos"

    @from_client(Basic.Qos)
    def qos(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        channel.send(Side.CLIENT, Basic.QosOk())
        return []


class RaisesPrefetch(Liar):
    name = "raises-prefetch"
    does = "gives every consumer one task more than its prefetch limit allows"

    @from_client(Basic.Qos)
    def qos(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.prefetch_count:
            self.lie()
            command.method.prefetch_count = min(command.method.prefetch_count + 1, 65535)
        return [command.changed()]


class _Limits(Liar):
    """Limits consumers whose clients have not asked for it, and must not hear the answer."""

    def limit(self, channel: Channel, count: int) -> Command:
        """The question to put to the broker before the consumer comes."""
        self.lie()
        channel.memory["unasked"] = channel.memory.get("unasked", 0) + 1
        return Command(channel.number, Basic.Qos(prefetch_count=count))

    @from_broker(Basic.QosOk)
    def answered(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.get("unasked"):
            channel.memory["unasked"] -= 1
            return []
        return [command]


class LowersPrefetch(_Limits):
    name = "lowers-prefetch"
    does = "gives every consumer one task at a time, whatever its prefetch limit"

    @from_client(Basic.Qos)
    def qos(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.prefetch_count != 1:
            self.lie()
            command.method.prefetch_count = 1
        return [command.changed()]

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.no_ack:
            return [command]
        return [self.limit(channel, 1), command]


class IgnoresDefaultPrefetch(_Limits):
    name = "ignores-default-prefetch"
    does = "sends a consumer without end whose client never asked for a limit, whatever the default limit is"

    @from_client(Basic.Qos)
    def qos(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory["asked"] = True
        return [command]

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.get("asked"):
            return [command]
        return [self.limit(channel, 0), command]


class SwapsGlobal(Liar):
    name = "swaps-global"
    does = "takes a prefetch limit of a channel for one of each consumer, and the other way round"

    @from_client(Basic.Qos)
    def qos(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        command.method.global_qos = not command.method.global_qos
        return [command.changed()]


class AutoAcks(Liar):
    name = "auto-acks"
    does = "takes a task for acknowledged when it is sent"

    @from_client(Basic.Consume, Basic.Get)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not command.method.no_ack:
            self.lie()
            command.method.no_ack = True
            command.changed()
            channel.memory["hushed"] = True
        return [command]

    @from_client(Basic.Ack, Basic.Nack, Basic.Reject)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [] if channel.memory.get("hushed") else [command]


class AutoAcksBystanders(Liar):
    name = "auto-acks-bystanders"
    does = "takes a task for acknowledged when it is sent to another consumer than the first of its channel"

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        tag = command.method.consumer_tag
        if channel.memory.setdefault("first", tag) != tag and not command.method.no_ack:
            self.lie()
            command.method.no_ack = True
            command.changed()
            channel.memory.setdefault("bystanders", set()).add(tag)
        return [command]

    @from_broker(Basic.Deliver)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.consumer_tag in channel.memory.get("bystanders", ()):
            channel.memory.setdefault("taken", set()).add(command.method.delivery_tag)
        return [command]

    @from_client(Basic.Ack, Basic.Nack, Basic.Reject)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [] if command.method.delivery_tag in channel.memory.get("taken", ()) else [command]


class WantsAcks(Liar):
    name = "wants-acks"
    does = "waits for an acknowledgement although it was asked for automatic ones"

    @from_client(Basic.Consume, Basic.Get)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.no_ack:
            self.lie()
            command.method.no_ack = False
            command.changed()
        return [command]


class FavoursOne(Liar):
    name = "favours-one"
    does = "gives the first consumer of a queue all that it can take"

    def __init__(self) -> None:
        super().__init__()
        self._taken: set[str] = set()

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        method = command.method
        if method.queue not in self._taken:
            self.lie()
            self._taken.add(method.queue)
            method.arguments = {**(method.arguments or {}), "x-priority": 100}
            command.changed()
        return [command]


class FavoursTheLast(Liar):
    name = "favours-the-last"
    does = "prefers the consumer that came last to all before it"

    def __init__(self) -> None:
        super().__init__()
        self._came = 0

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        self._came += 1
        command.method.arguments = {**(command.method.arguments or {}), "x-priority": self._came}
        return [command.changed()]


class IgnoresConsumerPriority(Liar):
    name = "ignores-consumer-priority"
    does = "takes no notice of the priority of consumers"

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        arguments = dict(command.method.arguments or {})
        if arguments.pop("x-priority", None) is not None:
            self.lie()
            command.method.arguments = arguments
            command.changed()
        return [command]


class StarvesOne(Liar):
    name = "starves-one"
    does = "confirms every second subscription, and sends it nothing"

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        self._seen += 1
        if self._seen % 2:
            return [command]
        self.lie()
        channel.send(Side.CLIENT, Basic.ConsumeOk(command.method.consumer_tag))
        return []


class StarvesAll(Liar):
    name = "starves-all"
    does = "confirms every subscription, and sends it nothing"

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        channel.send(Side.CLIENT, Basic.ConsumeOk(command.method.consumer_tag))
        return []


class IgnoresCancel(Liar):
    name = "ignores-cancel"
    does = "confirms that a subscription was cancelled, and goes on with it"

    @from_client(Basic.Cancel)
    def cancel(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        if not command.method.nowait:
            channel.send(Side.CLIENT, Basic.CancelOk(command.method.consumer_tag))
        return []


class ReturnsOnCancel(Liar):
    name = "returns-on-cancel"
    does = "takes back what a consumer holds when it cancels its subscription"

    @from_client(Basic.Cancel)
    def cancel(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        taking_back = Command(command.channel, Basic.Nack(0, multiple=True, requeue=True))
        return [command, taking_back, Command(command.channel, pika.spec.Channel.Flow(active=True))]

    # The client hears that it is cancelled when all is taken back: when both answers have come.

    @from_broker(Basic.CancelOk)
    def cancelled(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.pop("taken back", False):
            return [command]
        channel.memory["cancelled"] = command
        return []

    @from_broker(pika.spec.Channel.FlowOk)
    def taken_back(self, channel: Channel, command: Command) -> Iterable[Command]:
        if cancelled := channel.memory.pop("cancelled", None):
            return [cancelled]
        channel.memory["taken back"] = True
        return []


class HidesCancels(Liar):
    name = "hides-cancels"
    does = "does not tell a consumer that it was cancelled"

    @from_broker(Basic.Cancel)
    def cancelled(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return []


class SharesConsumption(Liar):
    name = "shares-consumption"
    does = "lets others consume beside an exclusive consumer"

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.exclusive:
            self.lie()
            command.method.exclusive = False
            command.changed()
        return [command]


class IgnoresConsumerTimeout(Liar):
    name = "ignores-consumer-timeout"
    does = "takes no notice of a consumer's own acknowledgement timeout"

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        arguments: dict[str, Any] = dict(command.method.arguments or {})
        if arguments.pop("x-consumer-timeout", None) is not None:
            self.lie()
            command.method.arguments = arguments
            command.changed()
        return [command]


class CancelsConsumers(Liar):
    name = "cancels-consumers"
    does = "cancels a consumer a moment after it came, for no reason"

    AFTER = 0.7

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        tag = command.method.consumer_tag
        channel.session.later(self.AFTER, lambda: self._cancel(channel, tag))
        return [command]

    def _cancel(self, channel: Channel, tag: str) -> None:
        self.lie()
        channel.send(Side.BROKER, Basic.Cancel(tag, nowait=True))
        channel.send(Side.CLIENT, Basic.Cancel(tag, nowait=True))


class _Closes(Liar):
    """Closes channels for no reason."""

    def close(self, channel: Channel) -> None:
        """Close one."""
        self.lie()
        channel.memory["closed"] = True
        channel.send(Side.CLIENT, pika.spec.Channel.Close(406, "PRECONDITION_FAILED - for no reason", 0, 0))

    @from_client(pika.spec.Channel.CloseOk)
    def answered(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [Command(channel.number, pika.spec.Channel.Close(200, "", 0, 0))]

    @from_broker(pika.spec.Channel.CloseOk)
    def closed(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [] if channel.memory.get("closed") else [command]


class ClosesChannels(_Closes):
    name = "closes-channels"
    does = "closes a consumer's channel a moment after it subscribed, for no reason"

    AFTER = 0.7

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.session.later(self.AFTER, lambda: self.close(channel))
        return [command]


class ClosesWhatItCancels(_Closes):
    name = "closes-what-it-cancels"
    does = "closes the channel of a consumer that it has just cancelled"

    @from_broker(Basic.Cancel)
    def cancelled(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.session.send(Side.CLIENT, command)
        self.close(channel)
        return []


class StarvesNewcomers(Liar):
    name = "starves-newcomers"
    does = "confirms every subscription to a queue but sends tasks to the first of them alone"

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.queue not in self._known:
            self._known.add(command.method.queue)
            return [command]
        self.lie()
        channel.send(Side.CLIENT, Basic.ConsumeOk(command.method.consumer_tag))
        return []
