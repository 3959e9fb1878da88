"""Lies about queues: what was declared is not what there is."""

from collections.abc import Iterable
from typing import Any, ClassVar

from pika.spec import Basic, Queue

from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, another, from_client
from workqueue.wire.session import Channel


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


class IgnoresDeadLetterStrategy(_IgnoresArguments):
    name = "ignores-dead-letter-strategy"
    does = "sends dead letters at most once, whatever was asked for"
    arguments = ("x-dead-letter-strategy",)


class InventsDeadLetterKeys(_Declaring):
    name = "invents-dead-letter-keys"
    does = "dead-letters by a routing key that nobody asked for"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        if "x-dead-letter-exchange" not in arguments:
            return False
        arguments["x-dead-letter-routing-key"] = another(arguments.get("x-dead-letter-routing-key", method.queue))
        return True


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


class IgnoresLimitArgument(_IgnoresArguments):
    name = "ignores-limit-argument"
    does = "takes no notice of the delivery limit that a queue was declared with, be it higher or lower than a policy's"
    arguments = ("x-delivery-limit",)


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
    does = "removes every message that was ready for a tenth of a second from queues that have no TTL"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        if "x-message-ttl" in arguments:
            return False
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


class IgnoresArguments(_Declaring):
    name = "ignores-arguments"
    does = "takes no notice of any argument but the type of the queue"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        kept = {name: value for name, value in arguments.items() if name == "x-queue-type"}
        changed = kept != arguments
        method.arguments = kept
        return changed


class IgnoresLimitInBytes(_IgnoresArguments):
    name = "ignores-limit-in-bytes"
    does = "takes no notice of how many bytes a queue may hold"
    arguments = ("x-max-length-bytes",)


class ShortensTtl(_Declaring):
    name = "shortens-ttl"
    does = "has a message expire after a millisecond, if its queue or itself has any TTL"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        if not arguments.get("x-message-ttl"):
            return False
        arguments["x-message-ttl"] = 1
        return True

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        assert command.properties is not None
        if (command.properties.expiration or "").isdigit():
            self.lie()
            command.properties.expiration = "1"
            command.changed()
        return [command]


class ShortensExpiry(_Declaring):
    name = "shortens-expiry"
    does = "removes a queue that may expire after a millisecond without use"

    def redeclare(self, method: Any, arguments: dict[str, Any]) -> bool:
        if "x-expires" not in arguments:
            return False
        arguments["x-expires"] = 1
        return True
