"""Lies about connections: what was negotiated, whether the other side is alive, and what a restart keeps."""

import re
from collections.abc import Callable, Iterable
from typing import ClassVar

import pika.frame
import pika.spec
from pika.spec import Basic, Connection, Queue

from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, from_broker, from_client
from workqueue.wire.session import Channel, Session, Side


class BeatsForTheDead(Liar):
    name = "beats-for-the-dead"
    does = "takes every client for alive, however long it says nothing"

    EVERY = 0.25

    @from_client(Connection.TuneOk)
    def tuned(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.session.later(self.EVERY, lambda: self._beat(channel.session))
        return [command]

    def _beat(self, session: Session) -> None:
        self.lie()
        session.ends[Side.BROKER].write(pika.frame.Heartbeat().marshal())
        session.later(self.EVERY, lambda: self._beat(session))


class Mistunes(Liar):
    name = "mistunes"
    does = "negotiates other limits than the two ends ask for: heartbeats, channels, frames of 8 KiB"

    @from_client(Connection.TuneOk)
    def tuned(self, channel: Channel, command: Command) -> Iterable[Command]:
        asked = command.method.heartbeat
        command.method.heartbeat = asked + 5 if asked else 10
        return [command.changed()]

    @from_broker(Connection.Tune)
    def tune(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        method = command.method
        method.heartbeat, method.channel_max, method.frame_max = 2, 16, 8192
        return [command.changed()]


class DoublesHeartbeats(Liar):
    name = "doubles-heartbeats"
    does = "takes twice the heartbeat timeout that a client asked for"

    @from_client(Connection.TuneOk)
    def tuned(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.heartbeat:
            self.lie()
            command.method.heartbeat *= 2
        return [command.changed()]


class HidesBlocked(Liar):
    name = "hides-blocked"
    does = "does not tell a producer that it is blocked"

    @from_broker(Connection.Blocked, Connection.Unblocked)
    def blocked(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return []


class NeverUnblocks(Liar):
    name = "never-unblocks"
    does = "does not tell a producer that it is no longer blocked"

    @from_broker(Connection.Unblocked)
    def unblocked(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return []


class BlocksInNameOnly(Liar):
    name = "blocks-in-name-only"
    does = "tells publishers that they are blocked while there should be an alarm, and goes on reading what they send"

    _LIMITS: ClassVar = {"vm_memory_high_watermark": "low on memory", "disk_free_limit": "low on disk"}

    def __init__(self) -> None:
        super().__init__()
        self._alarm = ""
        self._blocked: set[Session] = set()

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        if self._alarm and channel.session not in self._blocked:
            self.lie()
            self._blocked.add(channel.session)
            channel.session.send(Side.CLIENT, Command(0, Connection.Blocked(self._alarm)))
        return [command]

    def ctl(self, run: Callable[..., str], *command: str) -> str:
        asked = re.search(r"(\w+):set_(\w+)\(", command[-1]) if command[0] == "eval" else None
        if asked is None or asked[2] not in self._LIMITS:
            return run(*command)
        if not self._alarm:
            self._alarm = self._LIMITS[asked[2]]
            return run("eval", f"{asked[1]}:get_{asked[2]}().")
        self._alarm = ""
        while self._blocked:
            session = self._blocked.pop()
            session.loop.call_soon_threadsafe(session.send, Side.CLIENT, Command(0, Connection.Unblocked()))
        return run(*command)


class _Forgets(Liar):
    """Does something to the queues that it knows of when the broker is back."""

    def __init__(self) -> None:
        super().__init__()
        self._queues: list[str] = []
        self._is_back = False

    @from_client(Queue.Declare)
    def declare(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.queue not in self._queues:
            self._queues.append(command.method.queue)
        return [command]

    @from_client(Queue.Delete)
    def delete(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.queue in self._queues:
            self._queues.remove(command.method.queue)
        return [command]

    @from_client(Connection.Close)
    def leaving(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory["leaving"] = True
        return [command]

    def broker_gone(self, session: Session) -> float:
        if not session.channel(0).memory.get("leaving"):
            self._is_back = True
        return 0.0

    @from_broker(pika.spec.Channel.OpenOk)
    def opened(self, channel: Channel, command: Command) -> Iterable[Command]:
        if self._is_back:
            self._is_back = False
            self.lie()
            for queue in self.forgotten(self._queues):
                channel.send(Side.BROKER, self.to_forget(queue))
        return [command]

    def forgotten(self, queues: list[str]) -> list[str]:
        """Which of the queues that it knows of, in the order in which they were declared."""
        return queues

    def to_forget(self, queue: str) -> object:
        """The method that forgets it."""
        raise NotImplementedError


class ForgetsMessages(_Forgets):
    name = "forgets-messages"
    does = "keeps no messages over a restart"

    def to_forget(self, queue: str) -> object:
        return Queue.Purge(queue=queue, nowait=True)


class ForgetsQueues(_Forgets):
    name = "forgets-queues"
    does = "keeps no queues over a restart"

    def to_forget(self, queue: str) -> object:
        return Queue.Delete(queue=queue, nowait=True)


class ForgetsTheFirstQueue(ForgetsQueues):
    name = "forgets-the-first-queue"
    does = "forgets the oldest queue over a restart"

    def forgotten(self, queues: list[str]) -> list[str]:
        return queues[:1]


class RegistersAgain(Liar):
    name = "registers-again"
    does = "registers a consumer again that a restart ended, when the next task comes, and keeps what it is sent"

    #: A channel that no client comes to.
    CHANNEL = 2047

    def __init__(self) -> None:
        super().__init__()
        self._consumed: set[str] = set()
        self._is_back = False

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not self._is_back:
            self._consumed.add(command.method.queue)
        return [command]

    @from_client(Connection.Close)
    def leaving(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory["leaving"] = True
        return [command]

    def broker_gone(self, session: Session) -> float:
        if not session.channel(0).memory.get("leaving"):
            self._is_back = True
        return 0.0

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        queue = command.method.routing_key
        if not self._is_back or queue not in self._consumed:
            return [command]
        self._consumed.remove(queue)
        self.lie()
        mine = channel.session.channel(self.CHANNEL)
        mine.memory["waiting"] = command  # the task, so that it comes to a queue that has its consumer
        mine.send(Side.BROKER, pika.spec.Channel.Open())
        mine.send(Side.BROKER, Basic.Qos(prefetch_count=1))
        mine.send(Side.BROKER, Basic.Consume(queue=queue))
        return []

    @from_broker(Basic.ConsumeOk)
    def registered(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.number != self.CHANNEL:
            return [command]
        channel.session.send(Side.BROKER, channel.memory.pop("waiting"))
        return []

    @from_broker(pika.spec.Channel.OpenOk, Basic.QosOk, Basic.Deliver)
    def heard(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [] if channel.number == self.CHANNEL else [command]


class SaysGoodbye(Liar):
    name = "says-goodbye"
    does = "closes its connections properly, even when it is killed"

    def broker_gone(self, session: Session) -> float:
        self.lie()
        session.send(Side.CLIENT, Command(0, Connection.Close(320, "CONNECTION_FORCED - killed", 0, 0)))
        return 0.0


class BlocksAndForgets(Liar):
    name = "blocks-and-forgets"
    does = "blocks a worker that publishes, and gives it up when another one comes"

    def __init__(self) -> None:
        super().__init__()
        self._blocked: list[Session] = []

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.session.channel(0).memory["consumes"] = True
        while self._blocked:
            self._blocked.pop().ends[Side.BROKER].abort()
        return [command]

    @from_client(Basic.Publish)
    def publish(self, channel: Channel, command: Command) -> Iterable[Command]:
        session = channel.session
        if not session.channel(0).memory.get("consumes"):
            return [command]
        self.lie()
        session.send(Side.CLIENT, Command(0, Connection.Blocked("low on patience")))
        self._blocked.append(session)
        return []


class _Betrays(Liar):
    """Does something to the connection of a queue's first consumer a second after its first task."""

    AFTER = 1.0

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.queue not in self._known:
            self._known.add(command.method.queue)
            channel.memory["first"] = command.method.consumer_tag
        return [command]

    @from_broker(Basic.Deliver)
    def deliver(self, channel: Channel, command: Command) -> Iterable[Command]:
        if channel.memory.get("first") == command.method.consumer_tag:
            del channel.memory["first"]
            channel.session.later(self.AFTER, lambda: self.betray(channel.session))
        return [command]

    def betray(self, session: Session) -> None:
        """Do it."""
        raise NotImplementedError


class HangsUp(_Betrays):
    name = "hangs-up"
    does = "closes the connection of a queue's first consumer a second after its first task, for no reason"

    def betray(self, session: Session) -> None:
        self.lie()
        session.send(Side.CLIENT, Command(0, Connection.Close(320, "CONNECTION_FORCED - for no reason", 0, 0)))


class GivesUpEarly(_Betrays):
    name = "gives-up-early"
    does = "gives up a queue's first consumer a second after its first task, and does not tell it"

    #: Seconds until that client learns of it, which is longer than any spec takes.
    LATER = 300.0

    def betray(self, session: Session) -> None:
        self.lie()
        session.channel(0).memory["given up"] = True
        session.ends[Side.BROKER].abort()

    def broker_gone(self, session: Session) -> float:
        return self.LATER if session.channel(0).memory.get("given up") else 0.0


class LetsEverybodyIn(Liar):
    name = "lets-everybody-in"
    does = "takes every password once somebody knew the right one"

    def __init__(self) -> None:
        super().__init__()
        self._right = ""

    @from_client(Connection.StartOk)
    def start(self, channel: Channel, command: Command) -> Iterable[Command]:
        said = command.method.response
        if self._right and said != self._right:
            self.lie()
            command.method.response = self._right
            command.changed()
        channel.memory["said"] = command.method.response
        return [command]

    @from_broker(Connection.Tune)
    def accepted(self, channel: Channel, command: Command) -> Iterable[Command]:
        self._right = channel.memory["said"]
        return [command]


class RefusesSmallFrames(Liar):
    name = "refuses-small-frames"
    does = "disconnects a client that asks for frames of less than 8 KiB"

    @from_client(Connection.TuneOk)
    def tuned(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.frame_max >= 8192:
            return [command]
        self.lie()
        channel.session.send(Side.CLIENT, Command(0, Connection.Close(530, "NOT_ALLOWED - frame_max", 0, 0)))
        return []
