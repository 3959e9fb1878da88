"""Lies about connections: what was negotiated, whether the other side is alive, and what a restart keeps."""

from collections.abc import Iterable

import pika.frame
import pika.spec
from pika.spec import Basic, Connection, Queue

from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, from_broker, from_client
from workqueue.wire.session import Channel, Session, Side


class MutesTheBroker(Liar):
    name = "mutes-the-broker"
    does = "sends no heartbeats"
    mutes_heartbeats_of = Side.BROKER


class MutesClients(Liar):
    name = "mutes-clients"
    does = "takes no notice of a client's heartbeats"
    mutes_heartbeats_of = Side.CLIENT


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
        command.method.heartbeat = asked + 5 if asked else 1
        return [command.changed()]

    @from_broker(Connection.Tune)
    def tune(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        method = command.method
        method.heartbeat, method.channel_max, method.frame_max = 2, 16, 8192
        return [command.changed()]


class DisownsItself(Liar):
    name = "disowns-itself"
    does = "says of itself that it is no RabbitMQ, and can do nothing beyond AMQP 0-9-1"

    @from_broker(Connection.Start)
    def start(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        command.method.server_properties = {"product": "Hare", "version": "0.0.0", "capabilities": {}}
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


class BlocksEverybody(Liar):
    name = "blocks-everybody"
    does = "tells every client that it is blocked, as soon as it is connected"

    @from_broker(Connection.OpenOk)
    def opened(self, channel: Channel, command: Command) -> Iterable[Command]:
        self.lie()
        return [command, Command(0, Connection.Blocked("for no reason"))]


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

    @from_client(Connection.Close)
    def leaving(self, channel: Channel, command: Command) -> Iterable[Command]:
        channel.memory["leaving"] = True
        return [command]

    def broker_gone(self, session: Session) -> None:
        if not session.channel(0).memory.get("leaving"):
            self._is_back = True

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


class SaysGoodbye(Liar):
    name = "says-goodbye"
    does = "closes its connections properly, even when it is killed"

    def broker_gone(self, session: Session) -> None:
        self.lie()
        session.send(Side.CLIENT, Command(0, Connection.Close(320, "CONNECTION_FORCED - killed", 0, 0)))


class LosesPatience(Liar):
    name = "loses-patience"
    does = "gives up a client that was silent for two heartbeat timeouts, blocked or not"

    EVERY = 0.25

    @from_client(Connection.TuneOk)
    def tuned(self, channel: Channel, command: Command) -> Iterable[Command]:
        if command.method.heartbeat:
            self._watch(channel.session, 2.0 * command.method.heartbeat)
        return [command]

    def _watch(self, session: Session, limit: float) -> None:
        if session.loop.time() - session.heard_at[Side.CLIENT] < limit:
            session.later(self.EVERY, lambda: self._watch(session, limit))
            return
        self.lie()
        session.ends[Side.BROKER].abort()


class HangsUp(Liar):
    name = "hangs-up"
    does = "closes the connection of the first consumer a second after it came, for no reason"

    AFTER = 1.0

    def __init__(self) -> None:
        super().__init__()
        self._was_there_one = False

    @from_client(Basic.Consume)
    def consume(self, channel: Channel, command: Command) -> Iterable[Command]:
        if not self._was_there_one:
            self._was_there_one = True
            channel.session.later(self.AFTER, lambda: self._hang_up(channel.session))
        return [command]

    def _hang_up(self, session: Session) -> None:
        self.lie()
        session.send(Side.CLIENT, Command(0, Connection.Close(320, "CONNECTION_FORCED - for no reason", 0, 0)))
