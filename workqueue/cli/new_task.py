"""``workqueue new-task``: the tutorial's new_task.py, and a task for each line of a file."""

import sys
import time
from typing import TYPE_CHECKING

import click

from workqueue.cli._options import Wanted, queue_options, report, url_option, with_queue
from workqueue.cli._printing import print_done
from workqueue.producer import Producer
from workqueue.queue import Queue, QueueType

if TYPE_CHECKING:
    from workqueue.cli._sending import Sending

_INTERRUPTED = 130


@click.command("new-task")
@click.argument("words", nargs=-1)
@url_option
@queue_options
def command(
    words: tuple[str, ...],
    url: str,
    queue: str,
    queue_type: QueueType | None,
    dead_letter: str | None,
    delivery_limit: int | None,
) -> int:
    """Send a task, and return once the broker has confirmed that it is in the queue.

    The task is the WORDS, with a space in between; without any, "Hello World!". Words that are all empty are wrong
    usage. Each dot in it is a second of work for `workqueue worker`. The message is persistent. Give the queue the same
    options as its workers.

    With - as its only word, it sends a task for each line of standard input: the bytes of the line as they are, without
    the newline at its end; empty lines are skipped. When one is not confirmed, or at CTRL+C (or SIGTERM), it stops, and
    says which lines are in the queue, which are not, and of which nobody knows. It gives the broker ten seconds then to
    confirm what was sent; doing it again ends that.

    \b
    Examples:
      workqueue new-task First message.
      workqueue new-task A long one.....
      workqueue new-task --queue reports -- --words that look like options
      workqueue new-task --queue thumbnails - < paths.txt
      WORKQUEUE_URL=amqp://me:secret@rabbit/%2F workqueue new-task

    \b
    Exit codes:
      0    the broker has the task, or all of them; also where that could not be printed
      1    it does not, or nobody can tell (the message says which)
      3    wrong usage, or no broker to be had
      130  interrupted by CTRL+C, or with - by SIGTERM; which lines are in the queue is told
    """
    wanted = Wanted(queue=queue, queue_type=queue_type, dead_letter=dead_letter, delivery_limit=delivery_limit)
    wanted.declared({})  # a usage error, if it cannot be
    if words == ("-",):
        return _send_lines(url, wanted)
    if words and not any(words):
        raise click.UsageError(
            "The task is empty: is a variable in it not set? Without any word at all it would be 'Hello World!'."
        )
    task = " ".join(words) or "Hello World!"
    with Producer(url) as producer:
        # Bytes that are no UTF-8 come and go as they are.
        body = task.encode("utf-8", "surrogateescape")
        with_queue(wanted, lambda declared: producer.send(declared, body))
    print_done(f" [x] Sent {task!r}", else_say=f"The task is in the queue: {task!r}")
    return 0


def _send_lines(url: str, wanted: Wanted) -> int:
    from workqueue.cli._sending import Interrupts, Sending, Shown

    def declare(declared: Queue) -> Queue:
        producer.declare(declared)
        return declared

    if sys.stdin is None:
        raise click.UsageError("Standard input is closed.")
    lines = sys.stdin.buffer
    started = time.monotonic()
    with Interrupts() as interrupts:
        producer = Producer(url)
        sending = Sending(lines, producer, lambda: with_queue(wanted, declare))
        try:
            with Shown(lines) as shown:
                sending.run(interrupts, shown)
            _tell(sending, time.monotonic() - started)
        finally:
            if sending.settled and not sending.connecting:  # else this would wait
                producer.close()
    if sending.error is not None or sending.unreadable is not None:
        return 1
    return 0 if sending.complete and sending.settled else _INTERRUPTED


def _tell(sending: "Sending", seconds: float) -> None:
    """What became of each line."""
    from workqueue.cli._sending import ranges

    skipped = f", skipped {sending.skipped:,} empty lines" if sending.skipped else ""
    rate = sending.confirmed / seconds
    done = f"Sent {_tasks(sending.confirmed)} in {seconds:.1f} s ({rate:,.0f} a second){skipped}"
    print_done(done, else_say=done)
    for what, numbers in (
        ("not in the queue", sending.absent),
        ("in the queue or not, nobody knows which", sending.unknown),
    ):
        if numbers:
            click.echo(f"{_tasks(len(numbers)).capitalize()} {what}: line {ranges(numbers)}", err=True)
    if not sending.complete:
        click.echo(f"From line {sending.read + 1} on, nothing was sent.", err=True)
    if sending.unreadable is not None:
        problem = sending.unreadable.strerror or sending.unreadable
        click.echo(f"Error: standard input cannot be read: {problem}.", err=True)
    if sending.error is not None:
        report(sending.error)


def _tasks(count: int) -> str:
    return f"{count:,} task{'' if count == 1 else 's'}"
