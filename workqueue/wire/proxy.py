"""A TCP relay on loopback that can fall silent: no FIN, no RST, no byte in either direction, or in one of them.

That is what a pulled cable, a crashed host or a dropped NAT entry look like to both ends. A process that is killed is
something else: its kernel says goodbye for it.
"""

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

_CHUNK = 65536


class Proxy:
    """Relays connections from a free loopback port to a broker, until it is frozen or closed."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._brokers_ends: set[socket.socket] = set()
        self._frozen = threading.Event()
        self._is_frozen = threading.Event()
        self._only_answers = False
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
        """Relay nothing any more, and close nothing; returns how many connections fell silent."""
        return self._silence(only_answers=False)

    def lose_answers(self) -> int:
        """Relay what clients send and nothing that the broker answers; returns how many connections it concerns."""
        return self._silence(only_answers=True)

    def _silence(self, *, only_answers: bool) -> int:
        self._only_answers = only_answers
        self._is_frozen.clear()
        self._frozen.set()
        self._waker.send(b"!")
        self._is_frozen.wait()
        return self.connections

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

    def _relay(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                ready = key.fileobj
                if ready is self._wake:
                    self._wake.recv(_CHUNK)
                elif ready is self._listener:
                    self._accept()
                elif isinstance(ready, socket.socket) and ready in self._peers:
                    self._forward(ready)
                if self._frozen.is_set() and not self._is_frozen.is_set():
                    self._fall_silent()
                    break

    def _fall_silent(self) -> None:
        for each in self._brokers_ends if self._only_answers else self._peers:
            with contextlib.suppress(KeyError):  # it may have fallen silent before
                self._selector.unregister(each)
        self._is_frozen.set()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self._frozen.is_set():
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
            with contextlib.suppress(KeyError):  # it may have fallen silent before
                self._selector.unregister(each)
            self._brokers_ends.discard(each)
            each.close()
