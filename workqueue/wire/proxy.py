"""A TCP relay on loopback that does to connections what networks do: fall silent, come back, be cut, be reset.

Silent means no FIN, no RST, no byte in either direction, or in one of them: what a pulled cable, a crashed host or a
dropped NAT entry look like to both ends. A process that is killed is something else: its kernel says goodbye for it.
Each fault returns how many connections it hit, since one that hit none has not landed.
"""

import collections
import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from types import TracebackType
from typing import Self

_CHUNK = 65536
_ANSWER = 10.0  # seconds that the relay's thread may take to do as told; it can be busy with a peer that does not read
_LINGER_NOT = struct.pack("ii", 1, 0)  # close() drops what was not sent, and sends RST instead of FIN


class Proxy:
    """Relays connections from a free loopback port to a broker, until it is frozen or closed."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._brokers_ends: set[socket.socket] = set()
        self._orders: collections.deque[Callable[[], None]] = collections.deque()
        self._frozen = False
        self._closing = False
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._relay, name="proxy", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1 to connect to."""
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections are being relayed (or held, when frozen)."""
        return len(self._peers) // 2

    def freeze(self) -> int:
        """Relay nothing any more, and close nothing; returns how many connections fell silent.

        Who connects from now on is sent away.
        """
        return self._order(lambda: self._fall_silent(self._peers))

    def lose_answers(self) -> int:
        """Relay what clients send and nothing that the broker answers; returns how many connections it concerns.

        Who connects from now on is sent away.
        """
        return self._order(lambda: self._fall_silent(self._brokers_ends))

    def thaw(self) -> int:
        """Relay again, what was held back included; returns how many connections there are still."""
        return self._order(self._speak_again)

    def cut(self) -> int:
        """End every connection at both ends with FIN, and drop what is under way; returns how many there were.

        A frozen relay stays frozen.
        """
        return self._order(lambda: self._end_all(_finish))

    def reset(self) -> int:
        """End every connection at both ends with RST, and drop what is under way; returns how many there were.

        A frozen relay stays frozen.
        """
        return self._order(lambda: self._end_all(_reset))

    def close(self) -> None:
        """Close everything; harmless if it is closed."""
        if self._closing:
            return
        self._closing = True
        self._waker.send(b"!")
        self._thread.join()
        for each in (*self._peers, self._listener, self._wake, self._waker):
            each.close()
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _order(self, do: Callable[[], int]) -> int:
        """Have the relay's thread do something, between two chunks; returns what it returns."""
        answer: Future[int] = Future()
        self._orders.append(lambda: answer.set_result(do()))
        self._waker.send(b"!")
        return answer.result(_ANSWER)

    # In the relay's thread:

    def _relay(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                ready = key.fileobj
                if ready is self._wake:
                    self._wake.recv(_CHUNK)
                    while self._orders:
                        self._orders.popleft()()
                    break  # what else was ready may be silent or gone now
                if ready is self._listener:
                    self._accept()
                elif isinstance(ready, socket.socket) and ready in self._peers:
                    self._forward(ready)

    def _fall_silent(self, ends: Iterable[socket.socket]) -> int:
        self._frozen = True
        for each in ends:
            self._unregister(each)
        return self.connections

    def _speak_again(self) -> int:
        self._frozen = False
        for each in self._peers:
            with contextlib.suppress(KeyError):  # it was not silent
                self._selector.register(each, selectors.EVENT_READ)
        return self.connections

    def _end_all(self, end: Callable[[socket.socket], None]) -> int:
        hit = self.connections
        for each in self._peers:
            self._unregister(each)
            with contextlib.suppress(OSError):  # its peer was quicker
                end(each)
            each.close()
        self._peers.clear()
        self._brokers_ends.clear()
        return hit

    def _unregister(self, end: socket.socket) -> None:
        with contextlib.suppress(KeyError):  # it may have fallen silent before
            self._selector.unregister(end)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self._frozen:
            near.close()
            return
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._brokers_ends.add(far)
        for each, peer in ((near, far), (far, near)):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[each] = peer
            self._selector.register(each, selectors.EVENT_READ)

    def _forward(self, source: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if data := source.recv(_CHUNK):
                self._peers[source].sendall(data)
                return
        peer = self._peers.pop(source)
        del self._peers[peer]
        for each in (source, peer):
            self._unregister(each)
            self._brokers_ends.discard(each)
            each.close()


def _finish(end: socket.socket) -> None:
    end.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while end.recv(_CHUNK):  # close() would turn what is left unread into RST
            pass
    end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
