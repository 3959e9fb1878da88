"""What the processes of a soak share: they stay connected, tell what they do, and do as they are told.

Each is run as ``python -m workqueue.guarantee.soak.worker OPTIONS`` (or ``producer``), OPTIONS being a JSON object,
with the broker's URL in the environment. It tells in JSON lines on standard output, many tasks a line, always *before*
it acts: what is not told was not done, however the process ends. A line ``stop`` on standard input ends it in peace,
the end of standard input at once.
"""

import abc
import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

URL_VARIABLE = "WORKQUEUE_SOAK_URL"

_RECONNECT = 0.2  # seconds; the outages are ours, so there is no herd to spare


def now() -> int:
    """The :func:`time.monotonic` clock, which all processes of a machine share, in microseconds."""
    return time.monotonic_ns() // 1000


def tell(event: str, **details: object) -> None:
    """Tell the parent; returns when the line is out of our hands, so that SIGKILL cannot take it back."""
    line = json.dumps({"event": event, "at": now(), **details}, separators=(",", ":")).encode() + b"\n"
    while line:
        line = line[os.write(sys.stdout.fileno(), line) :]


def obey(stop: Callable[[], object]) -> None:
    """Call it when told to stop; end at once when the owner is gone. For a thread of its own."""
    for line in sys.stdin:
        if line.strip() == "stop":
            stop()
    os._exit(3)


class Hand(abc.ABC):
    """A client that connects again whenever it loses its connection, until it is told to stop."""

    def __init__(self, url: str) -> None:
        self.loop: Any
        self.channel: Channel | None = None
        """The channel, while it is usable."""
        self.stopping = False
        self._parameters = pika.URLParameters(url)
        self._connection: pika.SelectConnection

    def run(self) -> None:
        """Work until told to stop."""
        self.loop = IOLoop()
        stop = functools.partial(self.loop.add_callback_threadsafe, self.stop)
        threading.Thread(target=obey, args=[stop], daemon=True).start()
        self._connect()
        self.loop.start()

    @abc.abstractmethod
    def opened(self, channel: Channel) -> None:
        """A new channel is open."""

    @abc.abstractmethod
    def lost(self) -> None:
        """The connection is gone; whatever was under way on it is in doubt."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Finish what is in hand, then call `leave`."""

    def leave(self) -> None:
        """Say goodbye to the broker, if it is there, and end."""
        self.stopping = True
        if self.channel is not None:
            self._connection.close()
        else:
            os._exit(0)

    def reconnect(self, why: str) -> None:
        """Give up the connection for another: the channel or its consumer is of no use any more."""
        tell("trouble", why=why)
        self.channel = None
        if self._connection.is_open:
            self._connection.close()

    def _connect(self) -> None:
        self._connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel),
            on_open_error_callback=self._on_refused,
            on_close_callback=self._on_closed,
            custom_ioloop=self.loop,
        )
        self._connection.add_on_connection_blocked_callback(
            lambda _, frame: self.blocked(str(frame.method.reason or ""))
        )
        self._connection.add_on_connection_unblocked_callback(lambda *_: self.blocked(None))

    def blocked(self, reason: str | None) -> None:  # noqa: B027 - who only consumes need not care
        """The broker has an alarm, for this reason, or none any more."""

    def _on_channel(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        self.channel = channel
        self.opened(channel)

    def _on_channel_closed(self, channel: Channel, reason: BaseException) -> None:
        if self._connection.is_open and channel is self.channel and not self.stopping:
            self.reconnect(f"the channel was closed: {reason!r}")

    def _on_refused(self, _: object, error: BaseException | str) -> None:
        tell("refused", why=repr(error))
        self._again()

    def _on_closed(self, _: object, reason: BaseException) -> None:
        self.channel = None
        self.lost()
        tell("lost", why=repr(reason))
        self._again()

    def _again(self) -> None:
        if self.stopping:
            os._exit(0)
        self.loop.call_later(_RECONNECT, self._connect)
