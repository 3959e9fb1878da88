"""The worker process of the specs, played by the project's own core: what `actor` tells, from a `workqueue.Worker`.

Run as `actor` is. It cannot make the mistakes that `actor` can be told to make: automatic acknowledgement, and
forgetting to acknowledge. And it does not come back when its connection is lost, as the core would: where a spec looks
at what a broker has after its restart, nobody is to take it. That the core comes back has specs of its own.
"""

import json
import os
import queue as queues
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pika.channel import Channel

from workqueue._consumer import Consumer
from workqueue._io import Answer
from workqueue.errors import ConnectionLost, WorkqueueError
from workqueue.events import Disconnected, Event, Subscribed
from workqueue.guarantee.actor import URL_VARIABLE, Options, say, task_of
from workqueue.message import Message
from workqueue.worker import Worker

_NO_LIMIT = 65535  # the core has no "no limit"
_SHUTDOWN_TIMEOUT = 0.2  # seconds: Ctrl+C of a worker that holds a task must not wait for the spec to finish it


class Actor:
    """One worker of the core."""

    def __init__(self, url: str, options: Options) -> None:
        self._options = options
        self._finishes: queues.SimpleQueue[None] = queues.SimpleQueue()
        self._begin = threading.Event()
        self._worker = Worker(
            url,
            options.queue,
            self._work,
            prefetch=options.prefetch or _NO_LIMIT,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
            observer=self._hear,
        )
        self._deliver = self._worker._deliver
        self._worker._deliver = self._heard  # type: ignore[method-assign]

    def run(self) -> int:
        """Work until told to stop; returns the exit status."""
        threading.Thread(target=self._listen, daemon=True).start()
        say("ready")
        self._begin.wait()
        try:
            self._worker.run()
        except WorkqueueError as error:
            say("leaving", why=str(error))
            return 1
        return 0

    def _heard(self, consumer: Consumer, tag: int, redelivered: bool, properties: bytes, body: bytes) -> None:
        say("received", task=task_of(body), redelivered=redelivered, tag=tag)
        self._deliver(consumer, tag, redelivered, properties, body)

    def _work(self, message: Message) -> None:
        task = task_of(message.body)
        say("started", task=task)
        if self._options.hold:
            self._finishes.get()
        else:
            time.sleep(task.count(".") * self._options.dot)
        say("done", task=task)

    def _hear(self, event: Event) -> None:
        match event:
            case Subscribed():
                say("consuming")
            case Disconnected(reason=ConnectionLost() as reason):
                say("leaving", why=str(reason))
                os._exit(1)

    def _channel(self) -> Channel:
        link: Any = self._worker._link
        channels: dict[int, Channel] = link._connection._channels
        [channel] = channels.values()
        return channel

    def _sync(self) -> None:
        # What the broker sent on this channel before its answer arrives before its answer.
        def ask(answer: Answer[int]) -> None:
            self._channel().queue_declare(
                self._options.queue,
                passive=True,
                callback=lambda frame: answer(frame.method.message_count),
            )

        assert self._worker._link is not None
        say("synced", ready=self._worker._link.ask(ask))

    def _close_channel(self) -> None:
        def close() -> None:
            channel = self._channel()
            channel.add_on_close_callback(lambda _, reason: say("channel-closed", reason=repr(reason)))
            channel.close()

        assert self._worker._link is not None
        self._worker._link.call_soon(close)

    def _close_connection(self) -> None:
        assert self._worker._link is not None
        self._worker._link.close()
        os._exit(0)

    def _listen(self) -> None:
        commands: dict[str, Callable[[], object]] = {
            "consume": self._begin.set,
            "finish": lambda: self._finishes.put(None),
            "sync": self._sync,
            "close-channel": self._close_channel,
            "close-connection": self._close_connection,
        }
        for line in sys.stdin:
            commands[line.strip()]()
        os._exit(3)


def main() -> None:
    """Run a worker as told by the command line and the environment."""
    status = Actor(os.environ[URL_VARIABLE], Options(**json.loads(sys.argv[1]))).run()
    os._exit(status)  # the thread that listens waits for its owner


if __name__ == "__main__":
    main()
