"""Lies about acknowledgements: what becomes of a task that was settled, or that comes back."""

from collections.abc import Iterable
from typing import Any

import pika.spec
from pika.spec import Basic, Queue

from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, from_broker, from_client
from workqueue.wire.session import Channel, Session, Side


class SwallowsAcks(Liar):
    name = "swallows-acks"
    does = "takes no notice of acknowledgements"

    @from_client(Basic.Ack)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return []


class SwallowsRejections(Liar):
    name = "swallows-rejections"
    does = "takes no notice of nacks and rejections"

    @from_client(Basic.Nack, Basic.Reject)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return []


class _Rejects(Liar):
    """Changes what a nack or rejection means."""

    @from_client(Basic.Nack, Basic.Reject)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        return self.instead_of(command, command.method)

    def instead_of(self, command: Command, method: Any) -> Iterable[Command]:
        """What the broker is told instead."""
        raise NotImplementedError


class Discards(_Rejects):
    name = "discards"
    does = "discards what should go back to the queue"

    def instead_of(self, command: Command, method: Any) -> Iterable[Command]:
        if method.requeue:
            self.lie()
            method.requeue = False
            command.changed()
        return [command]


class Requeues(_Rejects):
    name = "requeues"
    does = "puts back into the queue what should be discarded"

    def instead_of(self, command: Command, method: Any) -> Iterable[Command]:
        if not method.requeue:
            self.lie()
            method.requeue = True
            command.changed()
        return [command]


class TakesRejectionsForAcks(_Rejects):
    name = "takes-rejections-for-acks"
    does = "takes every nack and rejection for an acknowledgement"

    def instead_of(self, command: Command, method: Any) -> Iterable[Command]:
        self.lie()
        return [Command(command.channel, Basic.Ack(method.delivery_tag, getattr(method, "multiple", False)))]


class TakesAcksForRejections(Liar):
    name = "takes-acks-for-rejections"
    does = "takes every acknowledgement for a rejection without requeueing"

    @from_client(Basic.Ack)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return [Command(command.channel, Basic.Nack(command.method.delivery_tag, command.method.multiple, False))]


class TakesNacksForRejections(_Rejects):
    name = "takes-nacks-for-rejections"
    does = "takes a nack for a rejection, which says that the task failed"

    def instead_of(self, command: Command, method: Any) -> Iterable[Command]:
        if not isinstance(method, Basic.Nack) or method.multiple:
            return [command]
        self.lie()
        return [Command(command.channel, Basic.Reject(method.delivery_tag, method.requeue))]


class TakesRejectionsForNacks(_Rejects):
    name = "takes-rejections-for-nacks"
    does = "takes a rejection for a nack, which says nothing of failure"

    def instead_of(self, command: Command, method: Any) -> Iterable[Command]:
        if not isinstance(method, Basic.Reject):
            return [command]
        self.lie()
        return [Command(command.channel, Basic.Nack(method.delivery_tag or 0, requeue=bool(method.requeue)))]


class NarrowsMultiple(Liar):
    name = "narrows-multiple"
    does = "applies what is said of several tasks to the last of them"

    @from_client(Basic.Ack, Basic.Nack)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not command.method.multiple:
            return [command]
        self.lie()
        if not command.method.delivery_tag:
            return []
        command.method.multiple = False
        return [command.changed()]


class WidensSingle(Liar):
    name = "widens-single"
    does = "applies what is said of one task to all before it, too"

    @from_client(Basic.Ack, Basic.Nack)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not command.method.multiple:
            self.lie()
            command.method.multiple = True
            command.changed()
        return [command]


class WidensBatches(Liar):
    name = "widens-batches"
    does = "returns what a channel was sent later, too, a moment after a batch was handed back"

    AFTER = 0.3

    @from_broker(Basic.Deliver, Basic.GetOk)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory["latest"] = command.method.delivery_tag
        return [command]

    @from_client(Basic.Nack)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        latest = channel.memory.get("latest", 0)
        if command.method.multiple and command.method.requeue and 0 < command.method.delivery_tag < latest:
            channel.session.later(self.AFTER, lambda: self._return_the_later(channel, latest))
        return [command]

    def _return_the_later(self, channel: Channel, latest: int) -> None:
        self.lie()
        channel.send(Side.BROKER, Basic.Nack(latest, multiple=True, requeue=True))


class LosesTheLastAcks(Liar):
    name = "loses-the-last-acks"
    does = "loses the acknowledgements that come immediately before the end of their channel"

    #: Seconds for which it keeps an acknowledgement, unless something else comes after it.
    KEPT = 0.1

    @from_client(Basic.Ack)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory.setdefault("kept", []).append(command)
        channel.session.later(self.KEPT, lambda: self._pass_on(channel, command))
        return []

    # Not basic.cancel, with which a client prepares the end.
    @from_client(Basic.Qos, Basic.Consume, Basic.Get, Basic.Nack, Basic.Reject, Queue.Declare)
    def go_on(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [*channel.memory.pop("kept", ()), command]

    @from_client(pika.spec.Channel.Close, pika.spec.Connection.Close)
    def close(self, channel: Channel, command: Command) -> Iterable[Command]:
        for each in [channel] if channel.number else channel.session.channels.values():
            for _ in each.memory.pop("kept", ()):
                self.lie()
        return [command]

    def _pass_on(self, channel: Channel, command: Command) -> None:
        kept = channel.memory.get("kept")
        if kept and kept[0] is command:
            channel.session.send(Side.BROKER, kept.pop(0))


class IgnoresRecover(Liar):
    name = "ignores-recover"
    does = "answers basic.recover, and returns nothing"

    @from_client(Basic.Recover)
    def recover(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        channel.send(Side.CLIENT, Basic.RecoverOk())
        return []


class AlwaysRecovers(Liar):
    name = "always-recovers"
    does = "requeues on basic.recover, although it was told not to"

    @from_client(Basic.Recover)
    def recover(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not command.method.requeue:
            self.lie()
            command.method.requeue = True
            command.changed()
        return [command]


class ReturnsFromAll(Liar):
    name = "returns-from-all"
    does = "takes back what all channels of a connection hold when one of them is closed"

    @from_client(pika.spec.Channel.Close)
    def close(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory["closed"] = True
        for other in channel.session.channels.values():
            if other.number and not other.memory.get("closed"):
                self.lie()
                other.send(Side.BROKER, Basic.Nack(0, multiple=True, requeue=True))
        return [command]


class _Ending(Liar):
    """Does something about what a channel holds before the broker hears that it ended, however it ended."""

    #: Seconds between what it does and the end: a quorum queue can lose acks that precede the end of their channel.
    LINGER = 1.0

    @from_client(pika.spec.Channel.Close, pika.spec.Connection.Close)
    def close(self, channel: Channel, command: Command) -> Iterable[Command]:
        session = channel.session
        ending = [channel] if channel.number else session.channels.values()
        if not sum(self.ending(each) for each in ending):
            return [command]
        session.later(self.LINGER, lambda: session.send(Side.BROKER, command))
        return []

    def client_gone(self, session: Session) -> float:
        return self.LINGER if sum(self.ending(each) for each in session.channels.values()) else 0.0

    def ending(self, channel: Channel) -> bool:
        """The channel ends; tell whether it had anything to do about that."""
        raise NotImplementedError


class AcksForTheDead(_Ending):
    name = "acks-for-the-dead"
    does = "takes what a worker holds for acknowledged when the worker goes"

    @from_broker(Basic.Deliver, Basic.GetOk)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory["was given"] = True
        return [command]

    @from_client(Basic.Consume, Basic.Get)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not command.method.no_ack:
            channel.memory["acks"] = True
        return [command]

    def ending(self, channel: Channel) -> bool:
        if not channel.memory.pop("was given", False) or not channel.memory.get("acks"):
            return False
        self.lie()
        channel.send(Side.BROKER, Basic.Ack(0, multiple=True))
        return True


class RequeuesAtTheTail(_Ending):
    name = "requeues-at-the-tail"
    does = "puts what comes back at the end of the queue"

    def __init__(self) -> None:
        super().__init__()
        self._returned: set[bytes] = set()

    @from_client(Basic.Consume, Basic.Get)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not command.method.no_ack:
            channel.memory.setdefault("queues", {})[getattr(command.method, "consumer_tag", "")] = command.method.queue
        return [command]

    @from_broker(Basic.Deliver, Basic.GetOk)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        queues = channel.memory.get("queues", {})
        if queue := queues.get(getattr(command.method, "consumer_tag", "")):
            if command.body in self._returned:
                command.method.redelivered = True
                command.changed()
            channel.memory.setdefault("held", {})[command.method.delivery_tag] = (queue, command)
        return [command]

    @from_client(Basic.Ack, Basic.Nack, Basic.Reject)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        held = channel.memory.get("held", {})
        tag, multiple = command.method.delivery_tag, getattr(command.method, "multiple", False)
        settled = [held.pop(each) for each in sorted(held) if each == tag or (multiple and (each <= tag or not tag))]
        if isinstance(command.method, Basic.Ack) or not command.method.requeue:
            return [command]
        return [*self._again(channel, settled), Command(channel.number, Basic.Ack(tag, multiple))]

    def ending(self, channel: Channel) -> bool:
        held = channel.memory.pop("held", {})
        if held:
            again = self._again(channel, list(held.values()))
            channel.session.send(Side.BROKER, *again, Command(channel.number, Basic.Ack(0, multiple=True)))
        return bool(held)

    def _again(self, channel: Channel, settled: list[tuple[str, Command]]) -> list[Command]:
        again = []
        for queue, delivery in settled:
            self.lie()
            self._returned.add(delivery.body or b"")
            publish = Basic.Publish(exchange="", routing_key=queue)
            again.append(Command(channel.number, publish, delivery.properties, delivery.body))
        return again


class ResurrectsAcked(Liar):
    name = "resurrects-acked"
    does = "puts a task back into the queue when it was acknowledged"

    @from_client(Basic.Consume, Basic.Get)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory.setdefault("queues", {})[getattr(command.method, "consumer_tag", "")] = command.method.queue
        return [command]

    @from_broker(Basic.Deliver, Basic.GetOk)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        queue = channel.memory.get("queues", {}).get(getattr(command.method, "consumer_tag", ""))
        channel.memory.setdefault("held", {})[command.method.delivery_tag] = (queue, command)
        return [command]

    @from_client(Basic.Ack)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        queue, delivery = channel.memory.get("held", {}).pop(command.method.delivery_tag, (None, None))
        if queue is None:
            return [command]
        self.lie()
        publish = Basic.Publish(exchange="", routing_key=queue)
        return [command, Command(channel.number, publish, delivery.properties, delivery.body)]


class ExpiresWhatIsHeld(Liar):
    name = "expires-what-is-held"
    does = "has a task expire that a consumer has held for half of its queue's TTL, and takes no notice of its ack"

    def __init__(self) -> None:
        super().__init__()
        self._ttls: dict[str, int] = {}

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        if ttl := (command.method.arguments or {}).get("x-message-ttl"):
            self._ttls[command.method.queue] = ttl
        return [command]

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.queue in self._ttls and not command.method.no_ack:
            channel.memory.setdefault("ttls", {})[command.method.consumer_tag] = self._ttls[command.method.queue]
        return [command]

    @from_broker(Basic.Deliver)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        ttl, tag = channel.memory.get("ttls", {}).get(command.method.consumer_tag), command.method.delivery_tag
        if ttl:
            channel.memory.setdefault("held", set()).add(tag)
            channel.session.later(ttl / 2000, lambda: self._expire(channel, tag))
        return [command]

    @from_client(Basic.Ack, Basic.Nack, Basic.Reject)
    def settle(self, channel: Channel, command: Command) -> Iterable[Command]:
        tag = command.method.delivery_tag
        channel.memory.setdefault("held", set()).discard(tag)
        return [] if tag in channel.memory.get("expired", ()) else [command]

    def _expire(self, channel: Channel, tag: int) -> None:
        if tag in channel.memory["held"]:
            self.lie()
            channel.memory["held"].remove(tag)
            channel.memory.setdefault("expired", set()).add(tag)
            channel.send(Side.BROKER, Basic.Reject(tag, requeue=False))
