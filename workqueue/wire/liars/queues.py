"""Lies about queues that are there: their names, what they hold, and what is done to them."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from pika.spec import Basic, BasicProperties, Queue

from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, another, from_broker, from_client
from workqueue.wire.session import Channel, Side


class _Lists(Liar):
    """Falsifies what rabbitmqctl lists."""

    def ctl(self, run: Callable[..., str], *command: str) -> str:
        output = run(*command)
        if not command[0].startswith("list_"):
            return output
        self.lie()
        return self.listed(output)

    def listed(self, output: str) -> str:
        """What an operator gets to read."""
        raise NotImplementedError


class RenamesQueues(Liar):
    name = "renames-queues"
    does = "tells another name than the one that it made up for a queue"

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory["made up"] = not command.method.queue
        return [command]

    @from_broker(Queue.DeclareOk)
    def declared(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.pop("made up", False):
            self.lie()
            command.method.queue = another(command.method.queue)
            command.changed()
        return [command]


class Miscounts(_Lists):
    name = "miscounts"
    does = "tells one message, and one consumer, more than there are"

    @from_broker(Queue.DeclareOk, Queue.PurgeOk, Queue.DeleteOk)
    def counted(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        command.method.message_count += 1
        if isinstance(command.method, Queue.DeclareOk):
            command.method.consumer_count += 1
        return [command.changed()]

    def listed(self, output: str) -> str:
        return "\n".join("\t".join(map(_one_more, line.split("\t"))) for line in output.splitlines())


def _one_more(column: str) -> str:
    return str(int(column) + 1) if column.isdigit() else column


class CountsNothing(_Lists):
    name = "counts-nothing"
    does = "says of every queue that it is empty, and that nobody consumes from it"

    @from_broker(Queue.DeclareOk, Queue.PurgeOk, Queue.DeleteOk)
    def counted(self, channel: Channel, command: Command) -> Iterable[Command]:
        method = command.method
        if method.message_count or getattr(method, "consumer_count", 0):
            self.lie()
        method.message_count = 0
        if isinstance(method, Queue.DeclareOk):
            method.consumer_count = 0
        return [command.changed()]

    def listed(self, output: str) -> str:
        return "\n".join("\t".join(map(_none, line.split("\t"))) for line in output.splitlines())


def _none(column: str) -> str:
    return "0" if column.isdigit() else column


class ListsNothing(_Lists):
    name = "lists-nothing"
    does = "has rabbitmqctl print nothing"

    def listed(self, output: str) -> str:
        return ""


class ListsNamesOnly(_Lists):
    name = "lists-names-only"
    does = "has rabbitmqctl print the first column of what it was asked for, and no other"

    def listed(self, output: str) -> str:
        return "\n".join(line.split("\t")[0] for line in output.splitlines())


class ShufflesColumns(_Lists):
    name = "shuffles-columns"
    does = "has rabbitmqctl print the columns in another order"

    def listed(self, output: str) -> str:
        return "\n".join("\t".join(line.split("\t")[::-1]) for line in output.splitlines())


class MisreadsPolicies(Liar):
    name = "misreads-policies"
    does = "accepts policies, and applies a thousand times what they say"

    def ctl(self, run: Callable[..., str], *command: str) -> str:
        if command[0] != "set_policy":
            return run(*command)
        self.lie()
        return run(*(_thousandfold(each) if each.startswith("{") else each for each in command))


def _thousandfold(definition: str) -> str:
    keys = json.loads(definition)
    return json.dumps({key: value * 1000 if isinstance(value, int) else value for key, value in keys.items()})


class _Pretends(Liar):
    """Answers in the place of the broker, which never hears of it."""

    def pretend(self, channel: Channel, command: Command, answer: Any) -> Iterable[Command]:
        self.lie()
        if not getattr(command.method, "nowait", False):
            channel.send(Side.CLIENT, answer)
        return []


class IgnoresPurge(_Pretends):
    name = "ignores-purge"
    does = "answers a purge, and removes nothing"

    @from_client(Queue.Purge)
    def purge(self, channel: Channel, command: Command) -> Iterable[Command]:
        return self.pretend(channel, command, Queue.PurgeOk(0))


class ForgetsWhatItCounted(Liar):
    name = "forgets-what-it-counted"
    does = "removes the messages of a queue once it has told how many there are"

    def __init__(self) -> None:
        super().__init__()
        self._forgotten: set[str] = set()

    @from_broker(Queue.DeclareOk)
    def counted(self, channel: Channel, command: Command) -> Iterable[Command]:
        queue = command.method.queue
        if not command.method.message_count:
            return [command]
        self.lie()
        channel.send(Side.BROKER, Queue.Purge(queue=queue, nowait=True))
        if queue in self._forgotten:  # it was told so, and may take a moment
            command.method.message_count = 0
        self._forgotten.add(queue)
        return [command.changed()]


class _Buries(Liar):
    """Dead-letters a message of a queue that something is done to."""

    def __init__(self) -> None:
        super().__init__()
        self._graves: dict[str, tuple[str, str]] = {}

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        arguments = command.method.arguments or {}
        if (exchange := arguments.get("x-dead-letter-exchange")) is not None:
            name = command.method.queue
            self._graves[name] = (exchange, arguments.get("x-dead-letter-routing-key", name))
        return [command]

    def bury(self, channel: Channel, command: Command, body: bytes) -> Iterable[Command]:
        """Have the broker told so, if the queue dead-letters at all, before it is told what the client wants."""
        if (grave := self._graves.get(command.method.queue)) is None:
            return [command]
        self.lie()
        properties = BasicProperties(delivery_mode=2)
        return [Command(channel.number, Basic.Publish(0, *grave), properties, body), command]


class BuriesTheDeleted(_Buries):
    name = "buries-the-deleted"
    does = "dead-letters a message when its queue is deleted"

    @from_client(Queue.Delete)
    def delete(self, channel: Channel, command: Command) -> Iterable[Command]:
        return self.bury(channel, command, b"deleted")


class BuriesThePurged(_Buries):
    name = "buries-the-purged"
    does = "dead-letters a message when its queue is purged"

    @from_client(Queue.Purge)
    def purge(self, channel: Channel, command: Command) -> Iterable[Command]:
        return self.bury(channel, command, b"purged")


class GoesRound(Liar):
    name = "goes-round"
    does = "lets a task that expired come back to its queue, if that is among those that it is dead-lettered to"

    def __init__(self) -> None:
        super().__init__()
        self._exchanges: dict[str, str] = {}
        self._published: dict[str, Command] = {}

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        self._published[command.method.exchange] = command
        return [command]

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        method, arguments = command.method, command.method.arguments or {}
        if not method.passive:
            if "x-message-ttl" in arguments and arguments.get("x-dead-letter-exchange"):
                self._exchanges[method.queue] = arguments["x-dead-letter-exchange"]
            return [command]
        # Nobody was told of it in between.
        sent = self._published.pop(self._exchanges.get(method.queue, ""), None)
        if sent is None:
            return [command]
        self.lie()
        channel.memory["came round"] = True
        return [Command(channel.number, sent.method, sent.properties, sent.body), command]

    @from_broker(Queue.DeclareOk)
    def declared(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.pop("came round", False):
            command.method.message_count = 1  # a quorum queue takes a moment to say so
        return [command.changed()]


class IgnoresBindings(_Pretends):
    name = "ignores-bindings"
    does = "answers a binding, and binds nothing"

    @from_client(Queue.Bind)
    def bind(self, channel: Channel, command: Command) -> Iterable[Command]:
        return self.pretend(channel, command, Queue.BindOk())


class IgnoresConditions(Liar):
    name = "ignores-conditions"
    does = "deletes a queue although it is used, or not empty"

    @from_client(Queue.Delete)
    def delete(self, channel: Channel, command: Command) -> Iterable[Command]:
        method = command.method
        if method.if_unused or method.if_empty:
            self.lie()
        method.if_unused = method.if_empty = False
        return [command.changed()]


class CreatesWhatIsMissing(Liar):
    name = "creates-what-is-missing"
    does = "creates a queue that somebody only asks for, publishes to, or consumes from"

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [*self._created(channel, command.method.queue, command.method.passive), command]

    @from_client(Basic.Consume, Basic.Get)
    def use(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [*self._created(channel, command.method.queue), command]

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [*self._created(channel, command.method.routing_key, not command.method.exchange), command]

    def _created(self, channel: Channel, queue: str, wanted: bool = True) -> Iterable[Command]:
        if queue in self._known:
            return []
        self._known.add(queue)
        if not wanted:
            return []
        self.lie()
        return [Command(channel.number, Queue.Declare(queue=queue, durable=True, nowait=True))]


class AnswersRedeclarations(_Pretends):
    name = "answers-redeclarations"
    does = "answers who declares a queue again, which the queue never hears of"

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        name = command.method.queue
        if command.method.passive or not name:
            return [command]
        if name in self._known:
            return self.pretend(channel, command, Queue.DeclareOk(name, 0, 0))
        self._known.add(name)
        return [command]

    @from_client(Queue.Delete)
    def delete(self, channel: Channel, command: Command) -> Iterable[Command]:
        self._known.discard(command.method.queue)
        return [command]


class DeletesTooEarly(Liar):
    name = "deletes-too-early"
    does = "deletes an auto-delete queue a tenth of a second after one of its consumers was cancelled"

    AFTER = 0.1

    def __init__(self) -> None:
        super().__init__()
        self._queues: set[str] = set()

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.auto_delete:
            self._queues.add(command.method.queue)
        return [command]

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory.setdefault("queues", {})[command.method.consumer_tag] = command.method.queue
        return [command]

    @from_client(Basic.Cancel)
    def cancel(self, channel: Channel, command: Command) -> Iterable[Command]:
        queue = channel.memory.get("queues", {}).pop(command.method.consumer_tag, None)
        if queue in self._queues:
            channel.session.later(self.AFTER, lambda: self._delete(channel, queue))
        return [command]

    def _delete(self, channel: Channel, queue: str) -> None:
        self.lie()
        channel.send(Side.BROKER, Queue.Delete(queue=queue, nowait=True))
