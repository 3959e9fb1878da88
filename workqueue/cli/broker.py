"""`workqueue broker`: a RabbitMQ to follow the tutorial with."""

import contextlib
import importlib
import queue
import signal
from types import FrameType

import click

from workqueue.broker import Broker, Capability, resolve
from workqueue.broker.errors import BrokerError, CtlFailed
from workqueue.cli._errors import NoBroker, NodeEnded
from workqueue.cli._kept import keep, kept_brokers
from workqueue.cli._output import output_has_to_arrive
from workqueue.cli._progress import progress_on_stderr

_LOOK = 1.0  # seconds between two looks at whether the node is there
_TAIL = 20  # lines of its log when it has ended
_ELSEWHERE = {"image": "workqueue.cli.image"}


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        command: click.Command = importlib.import_module(_ELSEWHERE[cmd_name]).command
        return command


@click.group(cls=_Group)
def group() -> None:
    """Run a private RabbitMQ, or make an image of one."""


@group.command()
@click.option(
    "--broker",
    "spec",
    envvar="WORKQUEUE_BROKER",
    default="auto",
    show_default=True,
    show_envvar=True,
    help="Where to get it: container[:IMAGE], local[:DIR], debian:RELEASE; auto takes the first that can serve.",
)
@output_has_to_arrive()
def run(spec: str) -> None:
    """Run a RabbitMQ in the foreground until CTRL+C (or SIGTERM), and remove it with all its data then.

    \b
    Examples:
      workqueue broker run
      workqueue broker run --broker debian:bookworm

    \b
    Exit codes:
      0  ended by CTRL+C or SIGTERM
      1  the node has ended by itself, or was killed
      2  standard output did not take how to reach it
      3  wrong usage, or no broker to be had
    """
    # Not an Event: a signal that comes while its lock is held, which is whenever a wait begins, could not set it.
    stop: queue.SimpleQueue[None] = queue.SimpleQueue()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.put(None)

    try:
        with progress_on_stderr() as progress:
            source = resolve(spec, progress=progress)
            source.prepare(progress)
            progress(f"Starting {source.spec}")
            broker = source.start()
        if source.why:
            click.echo(f"auto chose {source.why}", err=True)
        with broker, keep(broker):
            # Not before: until here the default is right, and the warden clears up.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, end)
            click.echo(_introduction(broker))
            _watch(broker, stop)
            click.echo("Stopping the broker and removing its data.", err=True)
    except BrokerError as error:
        raise NoBroker(str(error)) from error


def _watch(broker: Broker, stop: "queue.SimpleQueue[None]") -> None:
    """Return when told to stop. Raises `NodeEnded` when there is nothing left to stop."""
    while True:
        with contextlib.suppress(queue.Empty):
            return stop.get(timeout=_LOOK)
        if how := broker.ended():
            log = ""
            if Capability.LOGS in broker.capabilities:
                with contextlib.suppress(OSError):  # a container that was removed has none any more
                    log = "\n".join(broker.log_since(0).splitlines()[-_TAIL:])
            raise NodeEnded(
                f"The node of {broker.spec} has ended: {how}. Its data is being removed; "
                "`workqueue broker run` starts another one." + (f"\n\nThe end of its log:\n{log}" if log else "")
            )


@group.command(context_settings={"ignore_unknown_options": True})
@click.option("--url", envvar="WORKQUEUE_URL", help="Which one, where several are kept.")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, required=True)
@output_has_to_arrive()
def ctl(url: str | None, args: tuple[str, ...]) -> int:
    """Run rabbitmqctl on the broker that `workqueue broker run` keeps.

    \b
    Example:
      workqueue broker ctl list_queues name messages_ready messages_unacknowledged
    """
    kept = [broker for broker in kept_brokers() if url in (None, broker.url)]
    if len(kept) != 1:
        which = ", ".join(broker.safe_url for broker in kept_brokers())
        raise NoBroker(
            f"Which broker? There are several, say which with --url: {which}"
            if kept
            else f"No `workqueue broker run` keeps {'the broker of that URL' if which else 'a broker'} now."
        )
    try:
        click.echo(kept[0].ctl(*args), nl=False)
    except CtlFailed as error:
        click.echo(error.output, nl=False, err=True)
        return error.status
    except BrokerError as error:
        raise NoBroker(str(error)) from error
    return 0


def _introduction(broker: Broker) -> str:
    lines = [
        f"{broker.about.product} {broker.about.version} on Erlang {broker.about.erlang} ({broker.spec}) runs at",
        "",
        f"    {broker.url}",
        "",
        "To follow the tutorial, in other terminals:",
        "",
        f"    export WORKQUEUE_URL='{broker.url}'",
        "    workqueue worker",
        "    workqueue new-task First message.",
        "    workqueue queues",
    ]
    if Capability.CTL in broker.capabilities:
        lines.append("    workqueue broker ctl list_connections")
    return "\n".join([*lines, "", "CTRL+C ends it and removes its data."])
