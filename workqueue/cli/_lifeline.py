"""What joins a worker process to the supervisor that started it: a pair of sockets, one end each.

The worker tells by it how far it is. When the supervisor closes its end, the worker stops; it does so too when the
supervisor is gone, however it ended. A signal could not do that; nor does it matter here whether the worker has been
sent one as well, as systemd sends one to every process of a service, where a second one would end it in mid-task.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable

from workqueue.events import Disconnected, Event, Subscribed

SUBSCRIBED = b"s"
RETRYING = b"r"


class Lifeline:
    """The worker's end, ``fd`` being the inherited socket. It is an observer, too."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)  # or what the handler starts would hold it
        self._socket = socket.socket(fileno=fd)

    def __call__(self, event: Event) -> None:
        """Tell the supervisor that there is a subscription, or that nothing is wrong but the connection."""
        if isinstance(event, Subscribed):
            self._tell(SUBSCRIBED)
        elif isinstance(event, Disconnected) and event.retry_in is not None:
            self._tell(RETRYING)

    def follow(self, stop: Callable[[], object]) -> None:
        """Call ``stop``, in a thread of its own, when the supervisor's end is closed; at once, if it is already."""

        def wait() -> None:
            # An end that is closed with something in it that was not read resets the other one.
            with contextlib.suppress(ConnectionResetError):
                while self._socket.recv(1):
                    pass
            stop()

        threading.Thread(target=wait, name="lifeline", daemon=True).start()

    def _tell(self, what: bytes) -> None:
        # If the supervisor is gone, `follow` knows. If it does not listen, a worker has better things to do than wait.
        with contextlib.suppress(OSError):
            self._socket.send(what, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
