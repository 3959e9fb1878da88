"""``workqueue worker``: the tutorial's worker.py."""

import time

import click

from workqueue.cli._options import queue_option, queue_type_option, url_option, with_queue
from workqueue.message import Message
from workqueue.queue import QueueType
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
        click.echo(f" [x] Received {message.body.decode('utf-8', 'surrogateescape')!r}")
        time.sleep(message.body.count(b".") * dot)
        click.echo(" [x] Done")

    def ready() -> None:
        click.echo(" [*] Waiting for messages. To exit press CTRL+C")

    with_queue(
        queue,
        queue_type,
        lambda declared: Worker(url, declared, handle, prefetch=prefetch, on_ready=ready).run(),
    )
