"""``workqueue new-task``: the tutorial's new_task.py."""

import click

from workqueue.cli._options import queue_option, queue_type_option, url_option, with_queue
from workqueue.producer import Producer
from workqueue.queue import QueueType


@click.command("new-task")
@click.argument("words", nargs=-1)
@url_option
@queue_option
@queue_type_option
def command(words: tuple[str, ...], url: str, queue: str, queue_type: QueueType | None) -> None:
    """Send a task, and return once the broker has confirmed that it is in the queue.

    The task is the WORDS, with a space in between, or "Hello World!". Each dot in it is a second of work for
    `workqueue worker`. The message is persistent.

    \b
    Examples:
      workqueue new-task First message.
      workqueue new-task A long one.....
      workqueue new-task --queue reports -- --words that look like options
      WORKQUEUE_URL=amqp://me:secret@rabbit/%2F workqueue new-task

    \b
    Exit codes:
      0  the broker has the task
      1  it does not, or nobody can tell (the message says which)
      3  wrong usage, or no broker to be had
    """
    task = " ".join(words) or "Hello World!"
    with Producer(url) as producer:
        # Bytes that are no UTF-8 come and go as they are.
        body = task.encode("utf-8", "surrogateescape")
        with_queue(queue, queue_type, lambda declared: producer.send(declared, body))
    click.echo(f" [x] Sent {task!r}")
