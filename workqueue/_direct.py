"""A connection's socket once more, for threads that need not wait for the I/O thread. Linux only.

Sending and receiving are two matters: whoever sends holds a lock of its own.
"""

import contextlib
import select
import socket
import threading
from collections.abc import Callable


class DirectSocket:
    """A duplicate of ``original``, which stays open while pika closes its own at any time.

    Its ``fileno`` is for the I/O thread to watch, which calls ``on_readable`` then.
    """

    def __init__(self, original: socket.socket, read: Callable[[], None]) -> None:
        self._socket = original.dup()
        self._read = read
        self._reading = threading.Lock()
        self._here = select.poll()
        self._here.register(self._socket, select.POLLIN)
        self._there = select.epoll()
        self._there.register(self._socket, select.EPOLLIN)
        self.fileno = self._there.fileno

    def send(self, data: bytes) -> int:
        """Send what there is room for; return how many bytes."""
        with contextlib.suppress(OSError):  # there is none, or the I/O thread will find out
            return self._socket.send(data)
        return 0

    def on_readable(self, *_: object) -> None:
        """In the I/O thread: read, unless another thread does."""
        if self._reading.acquire(blocking=False):
            try:
                self._read()
            finally:
                self._reading.release()

    def receive(self, expected: Callable[[], bytes | None], take: Callable[[bytes], None], timeout: float) -> None:
        """Wait in the caller's thread for exactly these bytes, and take them.

        Whatever else comes, is left to the I/O thread, and so is what does not come in so many seconds. Whoever is
        interrupted in here leaves a socket that is of no more use.
        """
        if not self._reading.acquire(blocking=False):
            return
        try:
            self._there.modify(self._socket, 0)
            taken = b""
            if expected() and self._here.poll(timeout * 1000) and (frame := expected()):  # which may have changed
                with contextlib.suppress(OSError):  # the I/O thread will find out
                    if self._socket.recv(len(frame) + 1, socket.MSG_PEEK) == frame:
                        taken = self._socket.recv(len(frame))
            if taken:
                take(taken)
        finally:
            self._there.modify(self._socket, select.EPOLLIN)
            self._reading.release()

    def close(self) -> None:
        """For good. Waits for who is reading, but not for ever: it may have been interrupted."""
        self._reading.acquire(timeout=1.0)
        self._there.close()
        self._socket.close()
