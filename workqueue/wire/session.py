"""One connection through the proxy: the client's end, the broker's end, and what is done to what passes between."""

import asyncio
import contextlib
import enum
import os
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pika.spec

from workqueue.wire.frames import BODY, HEADER, METHOD, MIN_FRAME_MAX, Assembler, Command, Frame, Splitter

if TYPE_CHECKING:
    from workqueue.wire.liar import Liar


_CHUNK = 65536


class Side(enum.Enum):
    """An end of a connection."""

    CLIENT = "client"
    BROKER = "broker"

    @property
    def other(self) -> "Side":
        """The other end."""
        return Side.BROKER if self is Side.CLIENT else Side.CLIENT


class Channel:
    """A channel of a session, from its opening on. Liars keep what they know of it in `memory`."""

    def __init__(self, session: "Session", number: int) -> None:
        self.session = session
        self.number = number
        self.memory: dict[str, Any] = {}

    def send(self, to: Side, method: Any, properties: Any = None, body: bytes | None = None) -> None:
        """Send a command of our own to one end, now."""
        self.session.send(to, Command(self.number, method, properties, body))


class Session:
    """What one client and the broker say to each other.

    :param liar: hears the methods that it asked for, and decides what becomes of them.
    :param ended: called once, when one end is gone and the other was closed.
    """

    def __init__(self, liar: "Liar", ended: Callable[["Session"], None]) -> None:
        self.liar = liar
        self.loop = asyncio.get_running_loop()
        self.ends: dict[Side, asyncio.Transport] = {}
        self.channels: dict[int, Channel] = {}
        self.frame_max = MIN_FRAME_MAX
        self.is_silent = False
        """Whether it was made to fall silent, in at least one direction."""
        self.delay = 0.0
        """Seconds that all bytes are held back, in either direction."""
        self.bandwidth = 0.0
        """Bytes a second in each direction; 0 for no limit."""
        self._ended = ended
        self._splitters = {side: Splitter() for side in Side}
        self._assembling: dict[tuple[Side, int], Assembler] = {}
        self._due = dict.fromkeys(Side, 0.0)
        self._is_over = False

    # What passes

    def received(self, origin: Side, data: bytes) -> None:
        """Bytes came from one end: pass them on, but for what the liar wants to hear."""
        if not self.liar.listens:
            self._write(origin.other, data)
            return
        hears, unheard = self.liar.hears[origin], []
        for frame in self._splitters[origin].feed(data):
            if frame.kind in (HEADER, BODY) and (origin, frame.channel) in self._assembling:
                self._assembling[origin, frame.channel].add(frame)
            elif frame.kind == METHOD and (frame.method_id in hears or frame.method_id in _NOTED):
                self._note(origin, frame)
                if frame.method_id not in hears:
                    unheard.append(frame.raw)
                    continue
                self._assembling[origin, frame.channel] = Assembler(frame)
            else:
                unheard.append(frame.raw)
                continue
            if self._assembling[origin, frame.channel].is_complete:
                self._write(origin.other, b"".join(unheard))
                unheard.clear()
                self._tell(origin, self._assembling.pop((origin, frame.channel)).command())
        self._write(origin.other, b"".join(unheard))

    def send(self, to: Side, *commands: Command) -> None:
        """Send commands to one end."""
        self._write(to, b"".join(command.encode(self.frame_max) for command in commands))

    def channel(self, number: int) -> Channel:
        """The channel of this number."""
        return self.channels.setdefault(number, Channel(self, number))

    def later(self, seconds: float, step: Callable[[], object]) -> None:
        """Do something in a while, if the session is not over by then."""
        self.loop.call_later(seconds, lambda: None if self._is_over else step())

    def _note(self, origin: Side, frame: Frame) -> None:
        if frame.method_id == pika.spec.Channel.Open.INDEX:
            self.channels[frame.channel] = Channel(self, frame.channel)
        elif frame.method_id == pika.spec.Connection.TuneOk.INDEX and origin is Side.CLIENT:
            self.frame_max = Command.received([frame]).method.frame_max

    def _tell(self, origin: Side, command: Command) -> None:
        heard: Iterable[Command] = self.liar.hear(origin, self.channel(command.channel), command)
        self.send(origin.other, *heard)

    def _write(self, to: Side, data: bytes) -> None:
        if not data or self._is_over or to not in self.ends:
            return
        if not (self.delay or self.bandwidth):
            self.ends[to].write(data)
            return
        takes = len(data) / self.bandwidth if self.bandwidth else 0.0
        # Strictly later than what was sent before: timers of the same time come in any order.
        self._due[to] = max(self.loop.time() + self.delay, self._due[to] + 1e-6) + takes
        self.loop.call_at(self._due[to], self.ends[to].write, data)

    # How it ends

    def gone(self, side: Side) -> None:
        """One end is gone: what was sent to the other one gets there, and it is closed."""
        if self._is_over:
            return
        linger = self.liar.client_gone(self) if side is Side.CLIENT else self.liar.broker_gone(self)
        self._is_over = True
        self.loop.call_at(max(*self._due.values(), self.loop.time() + linger), self._close)

    def _close(self) -> None:
        for end in self.ends.values():
            end.close()
        self._ended(self)

    def silence(self, *origins: Side) -> None:
        """Read nothing any more from these ends, and close nothing."""
        self.is_silent = True
        for origin in origins:
            self.ends[origin].pause_reading()

    def resume(self) -> None:
        """Read again."""
        self.is_silent = False
        for end in self.ends.values():
            end.resume_reading()

    def finish(self) -> None:
        """Close both ends at once, each with a FIN."""
        for end in self.ends.values():
            number = end.get_extra_info("socket").fileno()
            with contextlib.suppress(OSError):
                while os.read(number, _CHUNK):  # what is left unread would turn the FIN into a RST
                    pass
            with contextlib.suppress(OSError):  # it was closed by its peer meanwhile
                end.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self.abort()

    def abort(self) -> None:
        """Close both ends at once, without sending what is still to be sent."""
        self._is_over = True
        for end in self.ends.values():
            end.abort()
        self._ended(self)


class End(asyncio.Protocol):
    """An end of a session, as asyncio tells of it."""

    def __init__(self, session: Session, side: Side) -> None:
        self._session = session
        self._side = side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        assert isinstance(transport, asyncio.Transport)
        self._session.ends[self._side] = transport
        if other := self._session.ends.get(self._side.other):
            other.resume_reading()
        else:
            transport.pause_reading()  # until there is somebody to tell

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._session.received(self._side, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """It is closed, by whomever."""
        self._session.gone(self._side)

    def pause_writing(self) -> None:
        """It takes no more for now: its buffer is full."""
        # Who cannot write any more must not read, or it would have to keep it all.
        if other := self._session.ends.get(self._side.other):
            other.pause_reading()

    def resume_writing(self) -> None:
        """It takes more again."""
        if not self._session.is_silent and (other := self._session.ends.get(self._side.other)):
            other.resume_reading()


_NOTED = frozenset({pika.spec.Channel.Open.INDEX, pika.spec.Connection.TuneOk.INDEX})
