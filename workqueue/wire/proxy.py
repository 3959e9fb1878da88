"""A proxy on loopback between clients and a broker: what it relays it can withhold, cut off, slow down, or falsify.

It falls silent as a pulled cable, a crashed host or a dropped NAT entry do: no FIN, no RST, no byte in either
direction, or in one of them. A process that is killed is something else: its kernel says goodbye for it.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from workqueue.wire.liar import Liar
from workqueue.wire.session import End, Session, Side

T = TypeVar("T")

_CONNECT = 5.0  # seconds
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER for no time: close() sends RST


class Proxy:
    """Relays connections from a free port of 127.0.0.1 to a broker, in a thread of its own.

    :param host: where the broker is.
    :param port: where the broker is.
    :param liar: what it does to what passes; none is honest.
    """

    def __init__(self, host: str, port: int, liar: Liar | None = None) -> None:
        self.liar = liar or Liar()
        self._target = (host, port)
        self._sessions: set[Session] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._hanging: list[socket.socket] = []
        self._answers = True
        self._relays = True
        self._pace = (0.0, 0.0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        """The port on 127.0.0.1 to connect to."""
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @classmethod
    def to(cls, url: str, liar: Liar | None = None) -> Self:
        """A proxy to the broker of an ``amqp://`` URL."""
        parsed = urllib.parse.urlsplit(url)
        return cls(parsed.hostname or "localhost", parsed.port or 5672, liar)

    def through(self, url: str) -> str:
        """That URL with this proxy in the place of its host and port. One that hides its password stays one."""
        parsed = urllib.parse.urlsplit(url)
        credentials, at, _ = parsed.netloc.rpartition("@")
        return type(url)(parsed._replace(netloc=f"{credentials}{at}127.0.0.1:{self.port}").geturl())

    def turn_to(self, url: str) -> None:
        """Relay new connections to the broker of that URL, as a load balancer does when a node is gone."""
        parsed = urllib.parse.urlsplit(url)
        self._do(lambda: setattr(self, "_target", (parsed.hostname or "localhost", parsed.port or 5672)))

    @property
    def connections(self) -> int:
        """How many connections are being relayed (or held, when they fell silent)."""
        return len(self._sessions)

    # Faults; each returns how many connections it concerned

    def freeze(self) -> int:
        """Relay nothing any more, and close nothing; new connections are closed at once."""
        return self._do(lambda: self._silence(Side.CLIENT, Side.BROKER))

    def lose_answers(self) -> int:
        """Relay what clients send and nothing that the broker answers; new connections are closed at once."""
        return self._do(lambda: self._silence(Side.BROKER))

    def lose_requests(self) -> int:
        """Relay what the broker sends and nothing that clients do; new connections are closed at once."""
        return self._do(lambda: self._silence(Side.CLIENT))

    def thaw(self) -> int:
        """End the silence: what was sent meanwhile is relayed now, and new connections are."""
        return self._do(self._resume)

    def cut(self) -> int:
        """Close all connections, with a FIN to either side."""
        return self._do(lambda: self._end(reset=False))

    def reset(self) -> int:
        """Close all connections, with a RST to either side."""
        return self._do(lambda: self._end(reset=True))

    def slow_down(self, *, delay: float = 0.0, bandwidth: float = 0.0) -> int:
        """Delay what is relayed, in either direction, also for new connections.

        :param delay: seconds that each byte is held back.
        :param bandwidth: bytes a second in each direction; 0 for no limit.
        """
        return self._do(lambda: self._slow_down(delay, bandwidth))

    def hang(self) -> None:
        """Accept new connections, and never answer them."""
        self._do(lambda: setattr(self, "_answers", False))

    # Its life

    def close(self) -> None:
        """Close everything; harmless if it is closed."""
        if self._closed:
            return
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        accepting = self._loop.create_task(self._accept_all())
        self._loop.run_forever()
        accepting.cancel()
        for session in list(self._sessions):
            session.abort()
        for each in (*self._hanging, self._listener):
            each.close()
        # One more turn, for the transports to close their sockets.
        self._loop.run_until_complete(asyncio.gather(accepting, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _accept_all(self) -> None:
        while True:
            near, _ = await self._loop.sock_accept(self._listener)
            if not self._answers:
                self._hanging.append(near)
            elif not self._relays:
                near.close()
            else:
                task = self._loop.create_task(self._relay(near))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)

    async def _relay(self, near: socket.socket) -> None:
        try:
            far = await asyncio.wait_for(asyncio.to_thread(socket.create_connection, self._target, _CONNECT), _CONNECT)
        except OSError:
            near.close()
            return
        if not self._relays:  # it fell silent meanwhile
            far.close()
            near.close()
            return
        session = Session(self.liar, self._sessions.discard)
        session.delay, session.bandwidth = self._pace
        self._sessions.add(session)
        for each, side in ((far, Side.BROKER), (near, Side.CLIENT)):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end = End(session, side)
            await self._loop.connect_accepted_socket(lambda end=end: end, each)  # type: ignore[misc]  # it is called at once

    def _do(self, step: Callable[[], T]) -> T:
        """Have its thread do something, and wait until it is done."""

        async def do() -> T:
            while self._connecting:  # who is being connected is concerned, too
                await asyncio.wait(self._connecting)
            return step()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result()

    def _silence(self, *origins: Side) -> int:
        self._relays = False
        for session in self._sessions:
            session.silence(*origins)
        return len(self._sessions)

    def _resume(self) -> int:
        self._relays = self._answers = True
        for session in self._sessions:
            session.resume()
        return len(self._sessions)

    def _end(self, *, reset: bool) -> int:
        ended = list(self._sessions)
        for session in ended:
            if not reset:
                session.finish()
                continue
            for end in session.ends.values():
                with contextlib.suppress(OSError):  # it was closed by its peer meanwhile
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            session.abort()
        return len(ended)

    def _slow_down(self, delay: float, bandwidth: float) -> int:
        self._pace = (delay, bandwidth)
        for session in self._sessions:
            session.delay, session.bandwidth = self._pace
        return len(self._sessions)
