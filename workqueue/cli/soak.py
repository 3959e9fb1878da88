"""`workqueue soak`: break things for minutes, and see that nothing is lost."""

import datetime as dt
import os
import secrets
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from workqueue.broker import Source, resolve
from workqueue.broker.errors import BrokerError
from workqueue.cli._errors import NoBroker
from workqueue.cli._files import ReportFile
from workqueue.cli._options import Duration
from workqueue.cli._output import output_has_to_arrive
from workqueue.cli._progress import progress_on_stderr
from workqueue.cli._signals import sigterm_as_ctrl_c
from workqueue.cli._soaking import Soaking
from workqueue.guarantee.expectation import QUEUE_TYPES
from workqueue.guarantee.soak.run import Result, Settings, Soak
from workqueue.report import soak as report


@click.command()
@click.option(
    "--broker",
    "spec",
    metavar="SPEC",
    help="auto (default), container[:IMAGE], local[:DIR], debian:RELEASE (bullseye, bookworm, trixie, forky), or an "
    "amqp:// URL. Also in the environment as WORKQUEUE_BROKER.",
)
@click.option(
    "--queue-type",
    type=click.Choice([*QUEUE_TYPES, "both"]),
    default="both",
    show_default=True,
    help="Both are soaked one after the other, each for so many minutes.",
)
@click.option("--minutes", type=Duration("minutes", zero=False), default=1.0, show_default=True, help="How long.")
@click.option(
    "--seed", type=int, show_default="a random one, which is printed", help="Replays the faults of that seed."
)
@click.option("--producers", type=click.IntRange(1, 100), default=2, show_default=True, help="Processes that publish.")
@click.option("--workers", type=click.IntRange(1, 100), default=4, show_default=True, help="Processes that consume.")
@click.option(
    "--rate",
    type=click.FloatRange(min=1),
    default=Settings.rate,
    show_default=True,
    help="Tasks a second, of all producers together, while they are connected and not blocked.",
)
@click.option(
    "--client",
    type=click.Choice(["pika", "core"]),
    default="pika",
    show_default=True,
    help="What producers and workers are made of: bare pika, or this project's own Producer and Worker.",
)
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write all that was found to FILE."
)
@output_has_to_arrive()
def command(
    spec: str | None,
    queue_type: str,
    minutes: float,
    seed: int | None,
    producers: int,
    workers: int,
    rate: float,
    client: str,
    json_path: Path | None,
) -> int:
    """Have producers and workers at work while everything around them breaks, and see that no task is lost.

    Producers publish numbered tasks, each once, and keep account of what the broker confirmed; workers ack each after
    its work. Meanwhile a nemesis kills workers, producers and the broker (SIGKILL), restarts the broker, freezes, cuts
    and resets connections, loses what the broker answers, and raises memory and disk alarms. In the end the queue is
    drained, and the account is checked: what was confirmed was delivered and acked, what the queue certainly had the
    ack of did not come back, and of a task's deliveries at most one was not marked as redelivered.

    What cannot be known is counted apart and is no violation: tasks whose confirmation never came (indeterminate), and
    acks that were under way when something broke. A broker given as URL is not killed, restarted or put under alarm.
    With --client core, whether an ack has certainly arrived is not known, so none is judged by that.

    Ctrl+C (or SIGTERM) ends the faults early: the queue is drained, and what there is is judged. A second one ends
    everything.

    \b
    Examples:
      workqueue soak
      workqueue soak --broker debian:forky --queue-type quorum --minutes 20 --seed 7
      workqueue soak --broker amqp://user:password@host:5672/%2F --minutes 5 --json soak.json
      workqueue soak --client core            # the core under chaos

    \b
    Exit codes:
      0  nothing was lost, nothing acked came back, every duplicate was marked
      1  a violation; the table names it, and --json has its story
      2  unknown: the queue could not be drained, the broker or a client failed otherwise, or what was
         found was not written
      3  wrong usage, or no broker to be had
    """
    file = ReportFile(json_path)
    file.check()
    spec = spec or (os.environ.get("WORKQUEUE_BROKER", "").split() or ["auto"])[0]
    if spec.startswith("amqps:"):
        raise click.UsageError("A soak puts a relay in between, which TLS would notice; give an amqp:// URL.")
    file.discard()
    seed = secrets.randbelow(2**32) if seed is None else seed
    click.echo(f"Seed {seed}: --seed {seed} replays these faults.", err=True)
    settings = [
        Settings(each, minutes * 60, seed, producers, workers, rate, core=client == "core")
        for each in (QUEUE_TYPES if queue_type == "both" else (queue_type,))
    ]
    started = dt.datetime.now(dt.UTC)
    results: list[Result] = []
    documents: list[dict[str, Any]] = []
    with sigterm_as_ctrl_c():
        try:
            source = _prepared(spec)
            for each in settings:
                result, told = _soak(source, each)
                results.append(result)
                documents.append(told)
                if result.interrupted:
                    break
        except BrokerError as error:
            raise NoBroker(str(error)) from error
        finally:
            if documents:
                file.write_json(_together(documents, started, complete=len(documents) == len(settings)))
            code = file.settle(report.exit_code(results))
    return code


def _prepared(spec: str) -> Source:
    with progress_on_stderr() as progress:
        source = resolve(spec, progress=progress)
        source.prepare(progress)
    if source.why:
        click.echo(source.why, err=True)
    return source


def _soak(source: Source, settings: Settings) -> tuple[Result, dict[str, Any]]:
    with source.start() as broker:
        live = Soaking(f"{source.spec} {settings.queue_type}", settings.seconds)
        soak = Soak(broker, settings, live.tell)
        if soak.left_out:
            left_out = ", ".join(soak.left_out)
            click.echo(f"Left out, since they cannot be done to this broker: {left_out}.", err=True)
        try:
            result = soak.run()
        finally:
            live.close()
        report.show(result, broker.about, Console())
        return result, report.document(result, broker.about)


def _together(documents: list[dict[str, Any]], started: dt.datetime, *, complete: bool) -> dict[str, Any]:
    return {
        "schema": report.SCHEMA,
        "tool": version("workqueue-guarantees"),
        "started": started.isoformat(timespec="seconds"),
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "complete": complete and not any(each["interrupted"] for each in documents),
        "soaks": documents,
    }
