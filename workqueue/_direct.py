"""A connection's socket once more, for a thread that would only lose time by waiting for the I/O thread. Linux only."""

import select
import socket
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_MOMENT = 0.1  # seconds


class DirectSocket:
    """A duplicate of ``original``: it stays open as long as anybody uses it, while pika closes its own at any time.

    The I/O thread watches ``fileno``, and calls ``on_readable`` then, which calls ``read``.
    """

    def __init__(self, original: socket.socket, read: Callable[[], object]) -> None:
        self._socket = original.dup()
        weakref.finalize(self, self._socket.close).atexit = False  # whoever is closed only then needs it
        self._read = read
        self._reading = threading.RLock()  # a signal handler may send while its own thread reads
        self._watched = select.epoll()
        self._watched.register(self._socket, select.EPOLLIN)
        self.fileno = self._watched.fileno

    def send(self, data: bytes) -> int:
        """Send what there is room for; return how many bytes. The answer is for the I/O thread to read."""
        self.watch()
        return self._try(self._socket.send, data) or 0

    def watch(self) -> None:
        """Have the I/O thread watch it again, whatever may have kept it from that."""
        self._watched.modify(self._socket, select.EPOLLIN)

    def on_readable(self, *_: object) -> None:
        """In the I/O thread: read. Later, if another thread still does: its signal handler may take long."""
        if self._reading.acquire(timeout=_MOMENT):
            try:
                self._read()
            finally:
                self._reading.release()

    def receive(self, expected: Callable[[], bytes | None], take: Callable[[bytes], None]) -> None:
        """Wait a moment for exactly these bytes, and take them in this thread. Leave anything else to the I/O thread.

        ``expected`` returns None once there is nothing to wait for.
        """
        readable = select.poll()
        readable.register(self._socket, select.POLLIN)
        try:
            self._watched.modify(self._socket, 0)
            if expected() and readable.poll(_MOMENT * 1000):
                with self._reading:
                    frame = expected()
                    if frame and self._try(self._socket.recv, len(frame) + 1, socket.MSG_PEEK) == frame:
                        take(self._socket.recv(len(frame)))
        finally:  # a single call, which no signal handler can come before
            self._watched.modify(self._socket, select.EPOLLIN)

    def _try(self, method: Callable[..., T], *arguments: object) -> T | None:
        try:
            return method(*arguments)
        except OSError as error:
            if error.__traceback__ and error.__traceback__.tb_next:  # a signal handler's, such as TimeoutError
                raise
            return None  # there is no room, or the I/O thread will find out
