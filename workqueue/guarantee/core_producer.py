"""The core's Producer as a program that specs steer.

Run as ``python -m workqueue.guarantee.core_producer OPTIONS``, OPTIONS being a JSON object, with the broker's URL in
the environment (it holds a password). Each line on standard input is a JSON object: a message for ``send``
(``{"queue": …, "task": …, "retry": …}``), or so many for ``send_async`` (with ``"burst"`` for ``"retry"``), after which
the producer is closed. It tells what became of them as a JSON line on standard output, an error by the name of its
class. The end of standard input ends it.
"""

import json
import os
import sys
from concurrent.futures import Future
from dataclasses import dataclass

from workqueue.errors import WorkqueueError
from workqueue.guarantee.actor import say
from workqueue.guarantee.core_worker import URL_VARIABLE
from workqueue.producer import Producer


@dataclass(frozen=True)
class Options:
    """How the producer works.

    :param confirm_timeout: see `workqueue.Producer`.
    """

    confirm_timeout: float = 30.0


def _send(producer: Producer, queue: str, task: str, retry: int) -> None:
    try:
        producer.send(queue, task.encode(), retry=retry)
    except WorkqueueError as error:
        say("answered", task=task, error=type(error).__name__, why=str(error))
    else:
        say("answered", task=task, error="", why="send returned")


def _burst(producer: Producer, queue: str, task: str, count: int) -> None:
    futures = [producer.send_async(queue, f"{task} {number}".encode()) for number in range(1, count + 1)]
    producer.close()
    say("closed", outcomes=[_outcome(future) for future in futures])


def _outcome(future: "Future[None]") -> str:
    if not future.done():
        return "still open"
    error = future.exception()
    return "" if error is None else type(error).__name__


def main() -> int:
    """Run a producer as told by the command line, the environment and standard input."""
    options = Options(**json.loads(sys.argv[1]))
    with Producer(os.environ[URL_VARIABLE], confirm_timeout=options.confirm_timeout) as producer:
        say("ready")
        for line in sys.stdin:
            told = json.loads(line)
            if "burst" in told:
                _burst(producer, told["queue"], told["task"], told["burst"])
            else:
                _send(producer, told["queue"], told["task"], told["retry"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
