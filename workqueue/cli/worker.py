"""``workqueue worker``: the tutorial's worker.py, and a function of yours as a service."""

import logging
import os
from typing import Any

import click

from workqueue.cli._options import Duration, Wanted, option, queue_options, url_option
from workqueue.cli._processes import Ended, Supervisor
from workqueue.cli._working import Settings, json_logs, work
from workqueue.queue import QueueType


@click.command("worker")
@url_option
@queue_options
@option(
    "--handler",
    metavar="MODULE:FUNCTION",
    help="Called with each message; the module may be in the current folder. Without it, a task is a second of sleep "
    "for each of its dots, as in the tutorial.",
)
@option(
    "--dot",
    type=Duration(),
    metavar="SECONDS",
    default=1.0,
    show_default=True,
    help="How long a dot in a task takes, without --handler.",
)
@option(
    "--concurrency",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    show_default=True,
    help="How many tasks to do at a time, in threads: for tasks that wait.",
)
@option(
    "--processes",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    show_default=True,
    help="How many processes to run, each with its own connection and --concurrency: for tasks that compute.",
)
@option(
    "--prefetch",
    type=click.IntRange(1, 65535),
    metavar="N",
    show_default="that of --concurrency",
    help="How many unacknowledged tasks the broker may give to a process. More is faster for short tasks, and less "
    "fair for long ones.",
)
@option(
    "--max-attempts",
    type=click.IntRange(1),
    metavar="N",
    show_default="20 with --dead-letter, else no limit but the broker's",
    help="Dead-letter a task when its handler has failed so often. Needs --dead-letter.",
)
@option(
    "--shutdown-timeout",
    type=Duration(),
    metavar="SECONDS",
    default=30.0,
    show_default=True,
    help="How long to wait for tasks in hand when told to stop. Those that take longer go to another worker.",
)
@option(
    "--metrics",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Serve /metrics (Prometheus) and /health there; of several processes, the second at PORT+1, and so on.",
)
@option(
    "--metrics-host",
    metavar="HOST",
    default="127.0.0.1",
    show_default=True,
    help="The address to serve them at: 0.0.0.0 for all, without authentication.",
)
@option(
    "--log",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to tell: lines for people, or on standard error a JSON line for each event.",
)
@click.option("--lifeline", type=int, hidden=True)
def command(
    queue: str,
    queue_type: QueueType | None,
    dead_letter: str | None,
    delivery_limit: int | None,
    processes: int,
    **options: Any,
) -> int:
    """Do the tasks of a queue, and acknowledge each when it is done.

    --handler says by what function. It is called with a workqueue.Message. If it returns, the task is done; if it
    raises workqueue.Reject, the task is dead-lettered; if it raises anything else, the task failed and comes back, to
    any worker. So a task may be done more than once, and never less.

    CTRL+C (or SIGTERM) finishes the tasks in hand, hands back what was not started, and exits. Doing it again exits at
    once; tasks in hand then go to another worker, as they do when the worker dies. When the broker is away, the worker
    says so, and tries again until it is back.

    \b
    Examples:
      workqueue worker                        # start two of these
      workqueue new-task First message.       # and send tasks from another terminal
      workqueue worker --handler shop.tasks:handle --queue orders
      workqueue worker --handler shop.tasks:handle --concurrency 20 --max-attempts 5 --dead-letter orders.failed
      workqueue worker --handler shop.render:handle --processes 4 --metrics 9187 --log json

    \b
    Exit codes:
      0  stopped by a signal, with everything settled
      1  it was refused by the broker, or ended before all tasks in hand were done: they took too long when it was
         stopped, or standard output was closed
      3  wrong usage, wrong credentials
    """
    wanted = Wanted(queue=queue, queue_type=queue_type, dead_letter=dead_letter, delivery_limit=delivery_limit)
    wanted.declared({})  # a usage error, if it cannot be
    settings = Settings(wanted=wanted, **options)
    if settings.max_attempts is not None and dead_letter is None:
        raise click.UsageError("--max-attempts needs --dead-letter QUEUE, or the tasks it gives up would be lost.")
    if settings.metrics is not None and settings.metrics + processes - 1 > 65535:
        raise click.UsageError(f"There are no {processes} ports from --metrics {settings.metrics} on.")
    return work(settings) if processes == 1 else _supervise(settings, processes)


def _supervise(settings: Settings, processes: int) -> int:
    logs = json_logs() if settings.log == "json" else None

    def tell(ended: Ended) -> None:
        if logs is not None:
            about = {"number": ended.number, "process": ended.pid, "how": ended.how, "restart_in": ended.restart_in}
            logs.write(logging.WARNING if ended.restart_in is not None else logging.ERROR, "process_ended", **about)
            return
        pid = "" if ended.pid is None else f" (pid {ended.pid})"
        what = f"worker process {ended.number}{pid} {ended.how}"
        if ended.restart_in is None:
            click.echo(f"Error: {what}; another one would, too, so this ends.", err=True)
        else:
            click.echo(f"Warning: {what}; starting another one in {ended.restart_in:.1f} s.", err=True)

    # By the environment, since everybody can see the arguments of a process. Each process is one.
    environment = os.environ | {"WORKQUEUE_URL": settings.url, "WORKQUEUE_PROCESSES": "1"}
    supervisor = Supervisor(
        [_arguments(settings, number) for number in range(processes)],
        environment,
        shutdown_timeout=settings.shutdown_timeout,
        tell=tell,
    )
    return supervisor.run()


def _arguments(settings: Settings, number: int) -> list[str]:
    """The command line of the process with this number, from 0."""
    wanted = settings.wanted
    values = {
        "queue": wanted.queue,
        "queue-type": wanted.queue_type,
        "dead-letter": wanted.dead_letter,
        "delivery-limit": wanted.delivery_limit,
        "handler": settings.handler,
        "dot": settings.dot,
        "concurrency": settings.concurrency,
        "prefetch": settings.prefetch,
        "max-attempts": settings.max_attempts,
        "shutdown-timeout": settings.shutdown_timeout,
        "metrics": None if settings.metrics is None else settings.metrics + number,
        "metrics-host": settings.metrics_host,
        "log": settings.log,
    }
    return [f"--{name}={value}" for name, value in values.items() if value is not None]
