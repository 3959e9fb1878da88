"""The producer of a soak, played by the project's own core: the reports of `producer`, from a `workqueue.Producer`."""

import functools
import json
import logging
import os
import sys
import threading
from concurrent.futures import Future
from typing import Any

from workqueue.errors import Nacked, Unroutable, WorkqueueError
from workqueue.events import Blocked, Connected, Disconnected, Event
from workqueue.guarantee.soak.hand import URL_VARIABLE, now, obey, tell
from workqueue.guarantee.soak.producer import Options
from workqueue.producer import Producer

_TICK = 0.01  # seconds between two bursts
_TIMEOUT = 10.0


class Hand:
    """A producer that tells what it is going to publish, and what became of it."""

    def __init__(self, url: str, options: Options) -> None:
        self._options = options
        self._next = options.first
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._outcomes: dict[str, list[int]] = {}
        self._producer = Producer(url, window=options.window, confirm_timeout=_TIMEOUT, observer=self._hear)

    def run(self) -> None:
        """Publish until told to stop, then wait for what is under way."""
        threading.Thread(target=obey, args=[self._stop.set], daemon=True).start()
        due, ticked = 0.0, now()
        while not self._stop.wait(_TICK):
            self._tell_outcomes()
            moment = now()
            # What could not be sent in time is not made up for, or each outage would be followed by a flood.
            due = min(due + (moment - ticked) * self._options.rate / 1e6, self._options.rate)
            ticked = moment
            try:
                self._producer._connected()  # before it is told what is going to be published
            except WorkqueueError:
                continue
            if self._producer.blocked is None:
                count = int(due)
                due -= count
                self._publish(count)
        self._producer.close()
        self._tell_outcomes()

    def _publish(self, count: int) -> None:
        if not count:
            return
        tasks = range(self._next, self._next + count * self._options.stride, self._options.stride)
        self._next = tasks.stop
        tell("publishing", first=tasks.start, count=count)
        for task in tasks:
            body = f"{task} ".encode().ljust(self._options.size, b".")
            try:
                future = self._producer.send_async(self._options.queue, body)
            except WorkqueueError:
                return  # what was told and not sent stays in doubt
            future.add_done_callback(functools.partial(self._keep, task))

    def _keep(self, task: int, future: "Future[None]") -> None:
        error = future.exception()
        outcome = {type(None): "confirmed", Nacked: "refused", Unroutable: "returned"}.get(type(error))
        if outcome is not None:
            with self._lock:
                self._outcomes.setdefault(outcome, []).append(task)

    def _tell_outcomes(self) -> None:
        with self._lock:
            outcomes, self._outcomes = self._outcomes, {}
        if outcomes:
            tell("outcomes", tasks=outcomes)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Connected):
            tell("ready")
        elif isinstance(event, Disconnected):
            tell("lost", why=str(event.reason))
        elif isinstance(event, Blocked):
            tell("unblocked" if event.reason is None else "blocked", why=event.reason)


def main() -> None:
    """Run a producer as told by the command line and the environment."""
    logging.getLogger("workqueue").setLevel(logging.ERROR)  # what it warns of is told
    options: dict[str, Any] = json.loads(sys.argv[1])
    Hand(os.environ[URL_VARIABLE], Options(**options)).run()
    os._exit(0)  # the thread that listens waits for its owner


if __name__ == "__main__":
    main()
