"""Lies about queues: what was declared is not what there is."""

import json
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from pika.spec import Basic, BasicProperties, Queue

from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, from_broker, from_client
from workqueue.wire.session import Channel, Side


class _Declaring(Liar):
    """Changes what a queue is declared to be."""

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        method = command.method
        if not method.passive:
            method.arguments = dict(method.arguments or {})
            if self.redeclare(method, method.arguments):
                self.lie()
                command.changed()
        return [command]

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        """Change it, and tell whether that changed anything."""
        raise NotImplementedError


class _IgnoresArguments(_Declaring):
    """Takes no notice of some arguments."""

    arguments: ClassVar[tuple[str, ...]] = ()

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        removed = [arguments.pop(name) for name in self.arguments if name in arguments]
        return bool(removed)


class IgnoresTtl(_Declaring):
    name = "ignores-ttl"
    does = "takes no notice of the message TTL of the first queue that has one"

    def __init__(self) -> None:
        super().__init__()
        self._first = ""

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        if "x-message-ttl" not in arguments:
            return False
        self._first = self._first or method.queue
        if method.queue != self._first:
            return False
        del arguments["x-message-ttl"]
        return True


class IgnoresExpiry(_IgnoresArguments):
    name = "ignores-expiry"
    does = "never removes an unused queue"
    arguments = ("x-expires",)


class IgnoresLengthLimit(_IgnoresArguments):
    name = "ignores-length-limit"
    does = "takes no notice of a queue's length limits"
    arguments = ("x-max-length", "x-max-length-bytes")


class IgnoresOverflow(_IgnoresArguments):
    name = "ignores-overflow"
    does = "drops the oldest message of a full queue, whatever was asked for"
    arguments = ("x-overflow",)


class IgnoresPriorities(_IgnoresArguments):
    name = "ignores-priorities"
    does = "takes no notice of a queue's priorities"
    arguments = ("x-max-priority",)


class IgnoresDeadLettering(_IgnoresArguments):
    name = "ignores-dead-lettering"
    does = "drops what should be dead-lettered"
    arguments = ("x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy")


class IgnoresDeadLetterKey(_IgnoresArguments):
    name = "ignores-dead-letter-key"
    does = "dead-letters by the message's own routing key"
    arguments = ("x-dead-letter-routing-key",)


class IgnoresDeliveryLimit(_Declaring):
    name = "ignores-delivery-limit"
    does = "counts no deliveries toward a limit"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        if arguments.get("x-queue-type") != "quorum":
            return False
        arguments["x-delivery-limit"] = 1_000_000
        return True


class LowersDeliveryLimit(_Declaring):
    name = "lowers-delivery-limit"
    does = "gives a task one delivery less than it has, or one at all"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        if arguments.get("x-queue-type") != "quorum":
            return False
        arguments["x-delivery-limit"] = max(0, int(arguments.get("x-delivery-limit", 2)) - 1)
        return True


class IgnoresSingleActive(_IgnoresArguments):
    name = "ignores-single-active"
    does = "lets all consumers be active"
    arguments = ("x-single-active-consumer",)


class MakesDurable(_Declaring):
    name = "makes-durable"
    does = "makes every queue durable, and shared by all connections"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        changed = not method.durable or bool(method.exclusive)
        method.durable, method.exclusive = True, False
        return changed


class DeclaresClassic(_Declaring):
    name = "declares-classic"
    does = "makes every queue a classic one"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        changed = arguments.get("x-queue-type") == "quorum"
        arguments["x-queue-type"] = "classic"
        return changed


class DeclaresQuorum(_Declaring):
    name = "declares-quorum"
    does = "makes every durable queue a quorum queue"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        if not method.durable or method.exclusive or method.auto_delete:
            return False
        changed = arguments.get("x-queue-type") != "quorum"
        arguments["x-queue-type"] = "quorum"
        return changed


class LimitsLength(_Declaring):
    name = "limits-length"
    does = "keeps three messages in a queue, whatever its limit"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        arguments.pop("x-max-length-bytes", None)
        arguments["x-max-length"] = 3
        return True


class ExpiresEverything(_Declaring):
    name = "expires-everything"
    does = "removes every message that was ready for a tenth of a second"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        arguments["x-message-ttl"] = 100
        return True


class NeverDeletesItself(_Declaring):
    name = "never-deletes-itself"
    does = "keeps queues that should go with their last consumer, or with their connection"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        changed = bool(method.auto_delete or method.exclusive)
        method.auto_delete = method.exclusive = False
        return changed


class MakesExclusive(_Declaring):
    name = "makes-exclusive"
    does = "deletes a queue with the connection that declared it"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        if arguments.get("x-queue-type") == "quorum":
            return False
        changed = not method.exclusive
        method.exclusive = True
        return changed


class SharesExclusive(_Declaring):
    name = "shares-exclusive"
    does = "lets other connections use an exclusive queue"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        changed = bool(method.exclusive)
        method.exclusive = False
        return changed


class RenamesQueues(Liar):
    name = "renames-queues"
    does = "answers with another name than the queue has"

    @from_broker(Queue.DeclareOk)
    def declared(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        command.method.queue = f"not-{command.method.queue}"
        return [command.changed()]


class Miscounts(Liar):
    name = "miscounts"
    does = "tells one message, and one consumer, more than there are"

    @from_broker(Queue.DeclareOk, Queue.PurgeOk, Queue.DeleteOk)
    def counted(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        command.method.message_count += 1
        if isinstance(command.method, Queue.DeclareOk):
            command.method.consumer_count += 1
        return [command.changed()]

    def ctl(self, run: Callable[..., str], *command: str) -> str:
        output = run(*command)
        if not command[0].startswith("list_"):
            return output
        self.lie()
        return "\n".join("\t".join(map(_one_more, line.split("\t"))) for line in output.splitlines())


def _one_more(column: str) -> str:
    return str(int(column) + 1) if column.isdigit() else column


class CountsNothing(Liar):
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

    def ctl(self, run: Callable[..., str], *command: str) -> str:
        output = run(*command)
        if not command[0].startswith("list_"):
            return output
        self.lie()
        return "\n".join("\t".join(map(_none, line.split("\t"))) for line in output.splitlines())


def _none(column: str) -> str:
    return "0" if column.isdigit() else column


class ListsNothing(Liar):
    name = "lists-nothing"
    does = "has rabbitmqctl print nothing"

    def ctl(self, run: Callable[..., str], *command: str) -> str:
        output = run(*command)
        if not command[0].startswith("list_"):
            return output
        self.lie()
        return ""


class ShufflesColumns(Liar):
    name = "shuffles-columns"
    does = "has rabbitmqctl print the columns in another order"

    def ctl(self, run: Callable[..., str], *command: str) -> str:
        output = run(*command)
        if not command[0].startswith("list_"):
            return output
        self.lie()
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


class BuriesTheDeleted(Liar):
    name = "buries-the-deleted"
    does = "dead-letters a message when its queue is deleted"

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

    @from_client(Queue.Delete)
    def delete(self, channel: Channel, command: Command) -> Iterable[Command]:
        if (grave := self._graves.get(command.method.queue)) is None:
            return [command]
        self.lie()
        properties = BasicProperties(delivery_mode=2)
        return [Command(channel.number, Basic.Publish(0, *grave), properties, b"deleted"), command]


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


class IgnoresArguments(_Declaring):
    name = "ignores-arguments"
    does = "takes no notice of any argument but the type of the queue"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        kept = {name: value for name, value in arguments.items() if name == "x-queue-type"}
        changed = kept != arguments
        method.arguments = kept
        return changed
