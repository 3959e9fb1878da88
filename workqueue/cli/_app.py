"""The command ``workqueue`` itself: finds the command that is asked for, and turns what it raises into words."""

import importlib
import logging

import click

from workqueue.cli import COMMANDS, explain_missing
from workqueue.cli._options import report
from workqueue.errors import WorkqueueError
from workqueue.guarantee.patience import WrongPatience

_EXTRAS = {"prometheus_client": "metrics", "structlog": "logs"}
"""Which extra brings a package; any other comes with ``verify``."""
USAGE = 3
INTERRUPTED = 130


class _Group(click.Group):
    """Imports a command's module when that command runs, and not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="workqueue-guarantees", message="%(prog)s %(version)s")
def app() -> None:
    """Work queues on RabbitMQ, and proof of what they guarantee.

    \b
    Examples:
      workqueue worker                      # in one terminal
      workqueue new-task First message.     # in another
      workqueue verify                      # fetches a RabbitMQ if there is none

    \b
    Exit codes:
      0  it worked
      1  it failed while it ran
      2  verify, model, compare or soak could not tell
      3  wrong usage, or no broker to be had
    """


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    # The core's errors say it all. This keeps pika from logging the same in ten lines of its own.
    logging.getLogger("pika").addHandler(logging.NullHandler())
    logging.getLogger("pika").propagate = False
    try:
        code = app.main(arguments, prog_name="workqueue", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except WrongPatience as error:  # read where the modules of a command are imported
        click.UsageError(str(error)).show()
        return USAGE
    except WorkqueueError as error:
        return report(error)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == "workqueue":
            raise
        return explain_missing(missing.name, extra=_EXTRAS.get(missing.name, "verify"))
    return code if isinstance(code, int) else 0
