"""``workqueue worker``: the tutorial's worker.py."""

import os
import sys
import time

import click

from workqueue.cli._options import queue_option, queue_type_option, url_option, with_queue
from workqueue.events import Event, Subscribed
from workqueue.message import Message
from workqueue.queue import Queue, QueueType
from workqueue.worker import Worker


@click.command("worker")
@url_option
@queue_option
@queue_type_option
@click.option(
    "--prefetch",
    type=click.IntRange(1, 65535),
    default=1,
    show_default=True,
    help="How many unacknowledged tasks the broker may give to this worker.",
)
@click.option(
    "--dot",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=1.0,
    show_default=True,
    help="How long a dot in a task takes.",
)
def command(url: str, queue: str, queue_type: QueueType | None, prefetch: int, dot: float) -> None:
    """Do the tasks of a queue, one after the other: sleep for each dot, then acknowledge.

    CTRL+C (or SIGTERM) finishes the task in hand, hands back what was not started, and exits. Doing it again exits at
    once; the task in hand then goes to another worker, as it does when the worker dies.

    \b
    Examples:
      workqueue worker                        # start two of these
      workqueue new-task First message.       # and send tasks from another terminal
      workqueue worker --prefetch 10 --dot 0.1

    \b
    Exit codes:
      0  stopped by a signal, with everything settled
      1  the broker or the network ended it
      3  wrong usage, or no broker to be had
    """

    def handle(message: Message) -> None:
        _say(f" [x] Received {message.body.decode('utf-8', 'surrogateescape')!r}")
        time.sleep(message.body.count(b".") * dot)
        _say(" [x] Done")

    def hear(event: Event) -> None:
        if isinstance(event, Subscribed):
            _say(" [*] Waiting for messages. To exit press CTRL+C")

    def work(declared: Queue) -> None:
        Worker(url, declared, handle, prefetch=prefetch, observer=hear).run()

    with_queue(queue, queue_type, work)


def _say(line: str) -> None:
    try:
        click.echo(line)
    except BrokenPipeError:
        # Whoever read this is gone. That is no failure of the task, which would come back for ever: leave, and it
        # goes to another worker. Standard output goes nowhere from now on, or Python complains when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
