"""Lies about what is published: the broker gets another message than the client has sent."""

from collections.abc import Iterable

from pika.spec import Basic, BasicProperties

from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, another, from_client
from workqueue.wire.session import Channel

_MEBIBYTE = 1024 * 1024


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
