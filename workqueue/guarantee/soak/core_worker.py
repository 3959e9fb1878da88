"""The worker of a soak, played by the project's own core: the same reports as `worker`, from a `workqueue.Worker`.

The core settles by itself, so nothing is told of acks that have certainly arrived: this finds what is lost, duplicates
that are not marked, and a worker that does not come back.
"""

import json
import logging
import os
import sys
import threading
import time
from typing import Any

from workqueue.events import Disconnected, Event, Subscribed
from workqueue.guarantee.soak.hand import URL_VARIABLE, now, obey, tell
from workqueue.guarantee.soak.worker import Options, task_number
from workqueue.message import Message
from workqueue.worker import Worker

_THREADS = 2
_WORK = 0.0005  # seconds that a task takes: enough for a fault to find some in hand


class Hand:
    """A worker that tells what its handler is called with, and what it is going to acknowledge."""

    def __init__(self, url: str, options: Options) -> None:
        self._subscribed = now()
        self._worker = Worker(
            url, options.queue, self._work, prefetch=options.prefetch, concurrency=_THREADS, observer=self._hear
        )

    def run(self) -> None:
        """Work until told to stop."""
        threading.Thread(target=obey, args=[self._worker.stop], daemon=True).start()
        self._worker.run()

    def _work(self, message: Message) -> None:
        task = [task_number(message.body)]
        tell("work", got=task, marked=[int(message.redelivered)], since=[self._subscribed], acking=[], proven=[])
        time.sleep(_WORK)
        tell("work", got=[], marked=[], since=[], acking=task, proven=[])

    def _hear(self, event: Event) -> None:
        if isinstance(event, Subscribed):
            self._subscribed = now()
            tell("ready")
        elif isinstance(event, Disconnected):
            tell("lost", why=str(event.reason))


def main() -> None:
    """Run a worker as told by the command line and the environment."""
    logging.getLogger("workqueue").setLevel(logging.ERROR)  # what it warns of is told
    options: dict[str, Any] = json.loads(sys.argv[1])
    Hand(os.environ[URL_VARIABLE], Options(**options)).run()
    os._exit(0)  # the thread that listens waits for its owner


if __name__ == "__main__":
    main()
