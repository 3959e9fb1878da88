"""A deadline for what waits on a blocking connection: pika's waits for an answer for as long as it takes."""

import contextlib
import os
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import psutil

from workqueue.guarantee.waiting import HARNESS_PATIENCE


@contextlib.contextmanager
def answered_in_time(url: str) -> Iterator[None]:
    """What happens inside waits no longer than `HARNESS_PATIENCE` for the broker.

    Then this process's connections to it are shut down, which ends the wait with an error of pika's.
    """
    parsed = urllib.parse.urlsplit(url)
    timer = threading.Timer(HARNESS_PATIENCE, _shut_down, [parsed.port or 5672])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut_down(port: int) -> None:
    for connection in psutil.Process().net_connections("tcp"):
        peer: tuple[Any, ...] = connection.raddr  # empty where there is none
        if peer and peer[1] == port and connection.fd >= 0:
            # A descriptor of our own: the other one may be closed, and its number used again, at any moment.
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fd)) as ours:
                ours.shutdown(socket.SHUT_RDWR)
