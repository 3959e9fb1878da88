"""What the commands that talk to a broker share: options, and how an error of the core is told."""

from collections.abc import Callable
from typing import TypeVar

import click

from workqueue.errors import ConnectionFailed, InvalidURL, TopologyMismatch, WorkqueueError
from workqueue.queue import Queue, QueueType

T = TypeVar("T")

url_option = click.option(
    "--url",
    envvar="WORKQUEUE_URL",
    show_envvar=True,
    default="amqp://guest:guest@localhost:5672/%2F",
    show_default="amqp://guest:***@localhost:5672/%2F",
    help="The broker: amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps:// for TLS.",
)

queue_option = click.option(
    "--queue", metavar="NAME", default="task_queue", show_default=True, help="The queue; it is made if there is none."
)

queue_type_option = click.option(
    "--queue-type",
    type=click.Choice(["quorum", "classic"]),
    show_default="that of the queue if there is one, else quorum",
    help="The type that the queue must have.",
)


def with_queue(name: str, queue_type: QueueType | None, use: Callable[[Queue], T]) -> T:
    """Call ``use`` with the queue, of the type asked for, or of the one that it has.

    The tutorial of today declares task_queue as a quorum queue, that of 2019 as a classic one. Without a type asked
    for, either one's programs can share the queue with ours. ``use`` declares it before it does anything else.
    """
    try:
        queue = Queue(name, queue_type or "quorum")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--queue") from error
    try:
        return use(queue)
    except TopologyMismatch as mismatch:
        if queue_type is not None or mismatch.argument != "x-queue-type":
            raise
    return use(Queue(name, "classic"))


def report(error: WorkqueueError) -> int:
    """Say on standard error what happened, why, and what to do; return the exit code."""
    click.echo(f"Error: {error}", err=True)
    if error.hint is not None:
        click.echo(f"Hint: {error.hint}", err=True)
    return 3 if isinstance(error, InvalidURL | ConnectionFailed) else 1
