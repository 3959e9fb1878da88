"""The worker process of the specs: the tutorial's ``worker.py``, with a voice.

Run as ``python -m workqueue.guarantee.actor OPTIONS``, OPTIONS being a JSON object, with the broker's URL in the
environment (it holds a password). It does what the tutorial's worker does, one task after the other, a dot taking
``dot`` seconds, and tells each step as a JSON line on standard output. Unlike the tutorial's, it never blocks its
I/O loop, so that what the *broker* sent is seen at once: ``received`` is the broker's deed, ``started`` the worker's.

Lines on standard input steer it (``Actor._listen`` knows which); it consumes when told to, so that specs decide who
comes first. With ``hold``, a task takes until the line ``finish``. The end of
standard input means that its owner is gone, and ends it at once.
"""

import collections
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pika
from pika.channel import Channel
from pika.exceptions import ConnectionClosed
from pika.spec import Basic, BasicProperties

URL_VARIABLE = "WORKQUEUE_ACTOR_URL"


@dataclass(frozen=True)
class Options:
    """How a worker works.

    :param queue: the queue to consume from.
    :param prefetch: ``basic.qos`` prefetch count; 0 sends no ``basic.qos``, as in the tutorial's first part.
    :param auto_ack: automatic acknowledgement instead of an ack after the work.
    :param forget_ack: the mistake of forgetting ``basic_ack``.
    :param hold: a task takes until the command ``finish``, instead of its dots.
    :param dot: seconds that a dot takes.
    :param consumer_arguments: arguments of ``basic.consume``.
    """

    queue: str
    prefetch: int = 0
    auto_ack: bool = False
    forget_ack: bool = False
    hold: bool = False
    dot: float = 0.05
    consumer_arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def mistaken(self) -> bool:
        """Whether it is to do something that the project's own core never does."""
        return self.auto_ack or self.forget_ack or bool(self.consumer_arguments)


def task_of(body: bytes) -> str:
    """The task that a message has as its body. Bytes that are no UTF-8 are escaped: they are for others to judge."""
    return body.decode(errors="backslashreplace")


def say(event: str, **details: object) -> None:
    """Tell the owner; one write, so that a SIGKILL leaves no half line behind."""
    line = json.dumps({"event": event, "at": time.monotonic(), **details})
    os.write(sys.stdout.fileno(), line.encode() + b"\n")


class Actor:
    """One worker on one connection and channel."""

    def __init__(self, url: str, options: Options) -> None:
        self._options = options
        self._waiting: collections.deque[tuple[Basic.Deliver, bytes]] = collections.deque()
        self._current: tuple[Basic.Deliver, bytes] | None = None
        self._channel: Channel
        self._connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel_open),
            on_open_error_callback=lambda _, error: self._leave(f"cannot connect: {error!r}", 1),
            on_close_callback=self._on_connection_closed,
        )

    def run(self) -> None:
        """Work until told to stop, or until the connection is gone."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._connection.ioloop.start()

    def _on_channel_open(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _, reason: say("channel-closed", reason=repr(reason)))
        channel.add_on_cancel_callback(lambda _: say("cancelled-by-broker"))
        if self._options.prefetch:
            channel.basic_qos(prefetch_count=self._options.prefetch, callback=lambda _: say("ready"))
        else:
            say("ready")

    def _consume(self) -> None:
        self._channel.basic_consume(
            self._options.queue,
            self._on_delivery,
            auto_ack=self._options.auto_ack,
            arguments=self._options.consumer_arguments,
            callback=lambda _: say("consuming"),
        )

    def _on_delivery(self, _: Channel, deliver: Basic.Deliver, __: BasicProperties, body: bytes) -> None:
        say("received", task=task_of(body), redelivered=deliver.redelivered, tag=deliver.delivery_tag)
        self._waiting.append((deliver, body))
        self._start_next()

    def _start_next(self) -> None:
        if self._current is not None or not self._waiting:
            return
        self._current = self._waiting.popleft()
        body = self._current[1]
        say("started", task=task_of(body))
        if not self._options.hold:
            self._connection.ioloop.call_later(body.count(b".") * self._options.dot, self._finish)

    def _finish(self) -> None:
        if self._current is None:
            say("idle")
            return
        deliver, body = self._current
        self._current = None
        say("done", task=task_of(body))
        if not (self._options.auto_ack or self._options.forget_ack) and self._channel.is_open:
            self._channel.basic_ack(deliver.delivery_tag or 0)
        self._start_next()

    def _sync(self) -> None:
        # What the broker sent on this channel before its answer arrives before its answer.
        self._channel.queue_declare(
            self._options.queue,
            passive=True,
            callback=lambda frame: say("synced", ready=frame.method.message_count),
        )

    def _on_connection_closed(self, _: pika.SelectConnection, reason: BaseException) -> None:
        expected = isinstance(reason, ConnectionClosed) and reason.reply_code == 200
        self._leave(f"connection closed: {reason!r}", 0 if expected else 1)

    def _leave(self, why: str, status: int) -> None:
        say("leaving", why=why)
        os._exit(status)

    def _listen(self) -> None:
        commands: dict[str, Callable[[], object]] = {
            "consume": self._consume,
            "finish": self._finish,
            "sync": self._sync,
            "close-channel": lambda: self._channel.close(),
            "close-connection": self._connection.close,
        }
        for line in sys.stdin:
            self._connection.ioloop.add_callback_threadsafe(commands[line.strip()])
        os._exit(3)


def main() -> None:
    """Run a worker as told by the command line and the environment."""
    try:
        Actor(os.environ[URL_VARIABLE], Options(**json.loads(sys.argv[1]))).run()
    except KeyboardInterrupt:
        # As the tutorial's worker: Ctrl+C ends it, with no goodbye to the broker.
        os._exit(130)


if __name__ == "__main__":
    main()
