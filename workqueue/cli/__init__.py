"""The command line; ``workqueue --help`` is its table of contents.

Exit codes that all commands share: 0 it worked, 1 it failed while it ran, 3 wrong usage or no broker to be had, 130
interrupted. Commands return their exit code, or None for 0.
"""

import signal
import sys
from typing import NamedTuple, NoReturn


class Entry(NamedTuple):
    """Where a command is (``module:attribute``), and what the table of contents says of it."""

    target: str
    summary: str


COMMANDS = {
    "new-task": Entry("workqueue.cli.new_task:command", "Send a task, or a file of them, to a work queue."),
    "worker": Entry("workqueue.cli.worker:command", "Do the tasks of a work queue, with a function of yours."),
    "queues": Entry("workqueue.cli.queues:command", "Show queues: messages ready, messages unacknowledged."),
    "broker": Entry("workqueue.cli.broker:group", "Run a private RabbitMQ, or make an image of one."),
    "verify": Entry("workqueue.cli.verify:command", "Check each guarantee of a work queue on real brokers."),
    "liar": Entry("workqueue.cli.liar:command", "Run a command against a broker that breaks one promise."),
    "model": Entry("workqueue.cli.model:command", "Compare real queues with a model, step by random step."),
    "soak": Entry("workqueue.cli.soak:command", "Break all around the workers; see that nothing is lost."),
    "compare": Entry("workqueue.cli.compare:command", "Say what is lost and gained between two brokers."),
    "guarantees": Entry("workqueue.cli.guarantees:command", "List the guarantees, or explain one."),
}
"""Every command, in the order of the table of contents. Its module is imported when it is used."""


_STOPPED_BY_SIGINT = ("new-task", "worker", "broker")


def main() -> NoReturn:
    """Run the command line and exit: the console script."""
    # Shells have what they start in the background ignore SIGINT. These take it all the same once they are at work, so
    # one that comes before, which is a second on a busy machine, must not be lost.
    if sys.argv[1:2] and sys.argv[1] in _STOPPED_BY_SIGINT and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        from workqueue.cli._app import run

        sys.exit(run())
    except ModuleNotFoundError as missing:
        if missing.name not in ("click", "rich"):
            raise
        sys.exit(explain_missing(missing.name, extra="cli"))
    except KeyboardInterrupt:  # before there was a command that could take it
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)


def explain_missing(module: str, *, extra: str) -> int:
    """Say which extra brings the missing module; return the exit code."""
    sys.stderr.write(
        f"Error: this needs the Python package {module!r}, which is not installed.\n"
        f"Install it with: pip install 'workqueue-guarantees[{extra}]'\n"
    )
    return 3
