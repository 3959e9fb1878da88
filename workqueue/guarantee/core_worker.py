"""The core's Worker as a program that specs steer; what it does with a task is what the task says.

Run as ``python -m workqueue.guarantee.core_worker OPTIONS``, OPTIONS being a JSON object, with the broker's URL in the
environment (it holds a password). Its handler goes by the first word of a task: ``hold`` takes until the line
``finish`` on standard input, ``fail`` raises, ``fail-once`` raises unless the task is a redelivery, ``reject`` raises
Reject, and any other returns at once. It tells each step as a JSON line on standard output, and last how ``run``
ended; SIGTERM stops it as the core does that. The end of standard input means that its owner is gone, and ends it.
"""

import json
import os
import queue as queues
import sys
import threading
from dataclasses import dataclass
from typing import Any

from workqueue.errors import Reject, WorkqueueError
from workqueue.events import Disconnected, Event, Subscribed
from workqueue.guarantee.actor import say, task_of
from workqueue.message import Message
from workqueue.queue import Queue, QueueType
from workqueue.worker import Worker

URL_VARIABLE = "WORKQUEUE_CORE_URL"


@dataclass(frozen=True)
class Options:
    """How the worker works.

    :param queue: the name of the queue to consume from; it is not declared unless it has a ``dead_letter``.
    :param prefetch: see `workqueue.Worker`.
    :param dead_letter: the name of the queue for its dead letters.
    :param queue_type: see `workqueue.Queue`.
    :param max_attempts: see `workqueue.Worker`.
    """

    queue: str
    prefetch: int = 1
    dead_letter: str | None = None
    queue_type: QueueType = "quorum"
    max_attempts: int | None = None


class _Worker(Worker):
    @property
    def heartbeat(self) -> int:
        """Seconds of the heartbeat timeout that was negotiated, which pika alone knows."""
        parameters: Any = None if self._link is None else self._link._connection.params
        return int(parameters.heartbeat)

    def stop(self) -> None:
        super().stop()
        say("stopping")


class _Handler:
    def __init__(self) -> None:
        self._finishes: queues.SimpleQueue[None] = queues.SimpleQueue()

    def finish(self) -> None:
        self._finishes.put(None)

    def __call__(self, message: Message) -> None:
        task = task_of(message.body)
        say("started", task=task, redelivered=message.redelivered)
        word = task.partition(" ")[0]
        if word == "hold":
            self._finishes.get()
        elif word == "fail" or (word == "fail-once" and not message.redelivered):
            raise RuntimeError(f"{task!r} fails, as it says")
        elif word == "reject":
            raise Reject(f"{task!r} can never succeed, as it says")
        say("done", task=task)


def _listen(handler: _Handler) -> None:
    # By os.read: a thread inside sys.stdin when the interpreter ends is a fatal error.
    while told := os.read(sys.stdin.fileno(), 4096):
        for _ in told.splitlines():
            handler.finish()
    os._exit(3)


def _hear(worker: _Worker, event: Event) -> None:
    if isinstance(event, Subscribed):
        say("ready", heartbeat=worker.heartbeat)
    elif isinstance(event, Disconnected):
        say("disconnected", error=type(event.reason).__name__, why=str(event.reason))


def _queue(options: Options) -> Queue:
    return Queue(options.queue, options.queue_type, dead_letter=options.dead_letter)


def main() -> int:
    """Run a worker as told by the command line and the environment; returns 1 if ``run`` raised."""
    options = Options(**json.loads(sys.argv[1]))
    handler = _Handler()
    threading.Thread(target=_listen, args=[handler], daemon=True).start()
    queue = options.queue if options.dead_letter is None else _queue(options)
    worker: _Worker = _Worker(
        os.environ[URL_VARIABLE],
        queue,
        handler,
        prefetch=options.prefetch,
        max_attempts=options.max_attempts,
        observer=lambda event: _hear(worker, event),
    )
    try:
        worker.run()
    except WorkqueueError as error:
        say("ended", error=type(error).__name__, why=str(error))
        return 1
    say("ended", error="", why="run returned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
