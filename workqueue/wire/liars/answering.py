"""Lies about errors: what is refused, with which code, and at what cost."""

from collections.abc import Callable, Iterable
from typing import Any

import pika.spec
from pika.spec import Basic, Confirm, Exchange, Queue

from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, from_broker, from_client
from workqueue.wire.session import Channel, Side

_ASKED = "asked"

#: What the broker would have answered, had it not refused.
_YES: dict[type, Callable[[Any], Any]] = {
    Queue.Declare: lambda method: Queue.DeclareOk(method.queue, 0, 0),
    Queue.Delete: lambda method: Queue.DeleteOk(0),
    Queue.Purge: lambda method: Queue.PurgeOk(0),
    Queue.Bind: lambda method: Queue.BindOk(),
    Queue.Unbind: lambda method: Queue.UnbindOk(),
    Exchange.Declare: lambda method: Exchange.DeclareOk(),
    Exchange.Delete: lambda method: Exchange.DeleteOk(),
    Basic.Consume: lambda method: Basic.ConsumeOk(method.consumer_tag),
    Basic.Get: lambda method: Basic.GetEmpty(),
    Basic.Qos: lambda method: Basic.QosOk(),
    Basic.Recover: lambda method: Basic.RecoverOk(),
    Confirm.Select: lambda method: Confirm.SelectOk(),
}


class Forgives(Liar):
    name = "forgives"
    does = "accepts what the broker refuses, and keeps channels open that the broker closes"

    @from_client(*_YES)
    def asked(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory[_ASKED] = command.method
        return [command]

    @from_broker(
        Queue.DeclareOk,
        Queue.DeleteOk,
        Queue.PurgeOk,
        Queue.BindOk,
        Queue.UnbindOk,
        Exchange.DeclareOk,
        Exchange.DeleteOk,
        Basic.ConsumeOk,
        Basic.GetOk,
        Basic.GetEmpty,
        Basic.QosOk,
        Basic.RecoverOk,
        Confirm.SelectOk,
    )
    def answered(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory.pop(_ASKED, None)
        return [command]

    @from_client(Basic.Publish)
    def published(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [command]  # whole: what is sent when a channel is closed must not come between its frames

    @from_broker(pika.spec.Channel.Close)
    def closed(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        channel.send(Side.BROKER, pika.spec.Channel.CloseOk())
        channel.send(Side.BROKER, pika.spec.Channel.Open())
        channel.memory["reopened"] = True
        asked = channel.memory.pop(_ASKED, None)
        return [] if asked is None else [Command(channel.number, _YES[type(asked)](asked))]

    @from_broker(pika.spec.Channel.OpenOk)
    def opened(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [] if channel.memory.pop("reopened", False) else [command]


class SparesChannels(Forgives):
    name = "spares-channels"
    does = "cancels the first consumer of a channel instead of closing the channel"

    def asked(self, channel: Channel, command: Command) -> Iterable[Command]:
        if isinstance(command.method, Basic.Consume):
            channel.memory.setdefault("first", command.method.consumer_tag)
        return super().asked(channel, command)

    def closed(self, channel: Channel, command: Command) -> Iterable[Command]:
        answer = list(super().closed(channel, command))
        if first := channel.memory.pop("first", ""):
            answer.append(Command(channel.number, Basic.Cancel(first, nowait=True)))
        return answer


class RenamesErrors(Liar):
    name = "renames-errors"
    does = "gives another code and another text for every error"

    @from_broker(pika.spec.Channel.Close, pika.spec.Connection.Close)
    def closed(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        command.method.reply_code, command.method.reply_text = 506, "RESOURCE_ERROR"
        return [command.changed()]


class Escalates(Liar):
    name = "escalates"
    does = "closes the connection where the broker closes a channel"

    @from_broker(pika.spec.Channel.Close)
    def closed(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        said = command.method
        return [Command(0, pika.spec.Connection.Close(said.reply_code, said.reply_text, 0, 0))]


class _Refuses(Liar):
    """Closes channels that the broker would not close."""

    def refuse(self, channel: Channel, code: int, text: str) -> Iterable[Command]:
        """Close a channel, in place of what the client asked for."""
        self.lie()
        channel.memory["refused"] = True
        channel.send(Side.CLIENT, pika.spec.Channel.Close(code, text, 0, 0))
        return []

    @from_client(pika.spec.Channel.CloseOk)
    def close(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not channel.memory.get("refused"):
            return [command]
        return [Command(channel.number, pika.spec.Channel.Close(200, "", 0, 0))]

    @from_broker(pika.spec.Channel.CloseOk)
    def closed(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [] if channel.memory.pop("refused", False) else [command]


class RefusesToRedeclare(_Refuses):
    name = "refuses-to-redeclare"
    does = "refuses to declare a queue again as it is"

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.passive or not command.method.queue:
            return [command]
        if command.method.queue in self._known:
            return self.refuse(channel, 406, "PRECONDITION_FAILED - it exists")
        self._known.add(command.method.queue)
        return [command]


class RefusesTransient(_Refuses):
    name = "refuses-transient"
    does = "refuses to declare queues of a given name that are not durable"

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.passive or command.method.durable or not command.method.queue:
            return [command]
        return self.refuse(channel, 406, "PRECONDITION_FAILED - not durable")


class RefusesLongNames(_Refuses):
    name = "refuses-long-names"
    does = "refuses names of queues that are longer than 127 bytes"

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        if len(command.method.queue.encode()) <= 127:
            return [command]
        return self.refuse(channel, 406, "PRECONDITION_FAILED - too long")


class RefusesSecondConsumer(_Refuses):
    name = "refuses-second-consumer"
    does = "refuses a consumer where there is one, or has been one"

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.queue in self._known:
            return self.refuse(channel, 403, "ACCESS_REFUSED - there is one")
        self._known.add(command.method.queue)
        return [command]


class RefusesOptions(_Refuses):
    name = "refuses-options"
    does = "refuses queues and consumers with arguments other than the queue's type"

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        if set(command.method.arguments or {}) - {"x-queue-type"}:
            return self.refuse(channel, 406, "PRECONDITION_FAILED - no arguments here")
        return [command]

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.arguments:
            return self.refuse(channel, 406, "PRECONDITION_FAILED - no arguments here")
        return [command]


class RefusesSettling(_Refuses):
    name = "refuses-settling"
    does = "knows no delivery tag"

    @from_client(Basic.Ack, Basic.Nack, Basic.Reject)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.get("refused"):
            return []
        return self.refuse(channel, 406, f"PRECONDITION_FAILED - unknown delivery tag {command.method.delivery_tag}")


class ClosesTheOthers(_Refuses):
    name = "closes-the-others"
    does = "closes all channels of a connection when one of them is closed"

    @from_client(pika.spec.Channel.Close)
    def leaving(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory["left"] = True
        for other in channel.session.channels.values():
            if other.number and not other.memory.get("left") and not other.memory.get("refused"):
                self.refuse(other, 504, "CHANNEL_ERROR - another channel was closed")
        return [command]


class RefusesLargeMessages(_Refuses):
    name = "refuses-large-messages"
    does = "refuses messages larger than a kibibyte"

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.get("refused"):
            return []
        if len(command.body or b"") > 1024:
            return self.refuse(channel, 406, "PRECONDITION_FAILED - message size")
        return [command]
