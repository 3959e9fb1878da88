"""`workqueue verify`: check every guarantee on real brokers."""

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from workqueue.broker import NodeConfig, resolve
from workqueue.broker.configuration import parse_settings
from workqueue.broker.errors import BrokerError
from workqueue.cli._errors import NoBroker
from workqueue.cli._files import ReportFile
from workqueue.cli._liars import check_liar
from workqueue.cli._live import Live
from workqueue.cli._output import output_has_to_arrive
from workqueue.cli._progress import progress_on_stderr
from workqueue.cli._signals import sigterm_as_ctrl_c
from workqueue.cli._slugs import no_such_slug
from workqueue.guarantee import catalogue, conductor
from workqueue.guarantee.catalogue import Guarantee
from workqueue.guarantee.expectation import QUEUE_TYPES
from workqueue.guarantee.settings import split_command
from workqueue.report import document, proofs, terminal
from workqueue.report.document import Planned

_CUT_SHORT = "the run was cut short"


@click.command()
@click.option(
    "--broker",
    "specs",
    multiple=True,
    metavar="SPEC",
    help="auto (default), container[:IMAGE], local[:DIR], debian:RELEASE (bullseye, bookworm, trixie, forky), or an "
    "amqp(s):// URL. Repeat it for several. Also in the environment as WORKQUEUE_BROKER.",
)
@click.option("--queue-type", type=click.Choice([*QUEUE_TYPES, "both"]), default="both", show_default=True)
@click.option(
    "--chapter",
    "chapters",
    multiple=True,
    metavar="NAME",
    help="Only this chapter. Repeatable; with --only, what either of them names is checked.",
)
@click.option(
    "--only",
    "slugs",
    multiple=True,
    metavar="SLUG",
    help="Only this guarantee. Repeatable; with --chapter, what either of them names is checked.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write the report to FILE.")
@click.option(
    "--prove",
    is_flag=True,
    help="Also prove that the specs can fail: run each on a broker that breaks its promise, where it has to be broken.",
)
@click.option(
    "--behind",
    metavar="LIAR",
    help="Put a liar (`workqueue liar` lists them) between the specs and the brokers; honest must change nothing.",
)
@click.option(
    "--worker",
    type=click.Choice(["tutorial", "core"]),
    default="tutorial",
    show_default=True,
    help="What the specs' workers are: the tutorial's program, or this project's Worker where it can play them.",
)
@click.option(
    "--broker-setting",
    "broker_settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Start the brokers with this line in their rabbitmq.conf. Repeatable. Not for a broker given as URL.",
)
@click.option(
    "--broker-restart-command",
    metavar="COMMAND",
    help="Restarts a broker given as URL, so that durability can be checked on it. It runs without a shell.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    show_default="the number of CPUs; three times as many with --prove",
    help="How many brokers to run side by side.",
)
@output_has_to_arrive()
def command(
    specs: tuple[str, ...],
    queue_type: str,
    chapters: tuple[str, ...],
    slugs: tuple[str, ...],
    json_path: Path | None,
    prove: bool,
    behind: str | None,
    worker: str,
    broker_settings: tuple[str, ...],
    broker_restart_command: str | None,
    jobs: int | None,
) -> int:
    """Check each guarantee of a RabbitMQ work queue on real brokers, and say where it holds.

    Ctrl+C or SIGTERM ends it early: what was found out by then is told, and the report says that it is not whole.

    \b
    Examples:
      workqueue verify
      workqueue verify --broker debian:bookworm --broker debian:forky --json report.json
      workqueue verify --broker amqp://user:password@host:5672/%2F --queue-type quorum
      workqueue verify --prove
      workqueue verify --only acknowledgement.returned-on-worker-kill
      workqueue verify --broker-setting deprecated_features.permit.transient_nonexcl_queues=false

    \b
    Exit codes:
      0  every verdict is as expected
      1  a surprise: a guarantee is broken that should hold, or holds where it should not
      2  unknown: the harness or a broker failed, not everything planned was run, or what was found was not written
      3  wrong usage, or no broker to be had
    """
    if behind is not None:
        check_liar(behind)
        if prove:
            raise click.UsageError("--prove puts liars in between by itself; use it without --behind.")
    entries = _chosen(catalogue.load(), chapters, slugs)
    types = QUEUE_TYPES if queue_type == "both" else (queue_type,)
    if not any(each in types for entry in entries for each in entry.queue_types):
        raise click.UsageError("There is nothing to check: what you chose does not speak of that queue type.")
    wanted = specs or tuple(os.environ.get("WORKQUEUE_BROKER", "").split()) or ("auto",)
    restart_command = _restart_command(broker_restart_command, wanted)
    file = ReportFile(json_path)
    file.check()
    file.discard()
    started = dt.datetime.now(dt.UTC)
    brokers = _prepare(wanted, broker_settings, restart_command)
    if behind is not None:
        brokers = {f"{name} behind {behind}": spec for name, spec in brokers.items()}
    shared = [name for name, spec in brokers.items() if "://" in spec and broker_restart_command]
    groups = conductor.plan(brokers, types, entries, shared=shared, prove=prove)

    def report(*, complete: bool) -> dict[str, Any]:
        return _report(groups, entries, started=started, complete=complete)

    with sigterm_as_ctrl_c():
        file.begin(report(complete=False))  # a run that is killed leaves this one
        complete = False
        try:
            with Live(groups) as live:
                conductor.conduct(
                    groups,
                    jobs=jobs or (os.cpu_count() or 1) * (3 if prove else 1),
                    restart_command=broker_restart_command,
                    listener=live.tell,
                    whole=not chapters and not slugs,
                    broker_settings=broker_settings,
                    behind=behind,
                    worker=worker,
                )
            complete = True
        except conductor.NoBroker as error:
            file.write_json(report(complete=False))
            file.settle(NoBroker.exit_code)
            raise NoBroker(str(error)) from error
        except KeyboardInterrupt:
            click.echo("Interrupted: what was found out so far follows.", err=True)
        found = report(complete=complete)
        file.write_json(found)
        try:
            terminal.show(found, Console())
        finally:
            code = file.settle(document.exit_code(found))
        return code


def _report(
    groups: Sequence[conductor.Group],
    entries: Sequence[Guarantee],
    *,
    started: dt.datetime,
    complete: bool,
) -> dict[str, Any]:
    planned = [
        Planned(each[0], group.broker, each[1]) for group in groups if not group.proves for each in group.planned
    ]
    cells = [cell for group in groups if not group.proves for cell in group.cells]
    missing = {
        Planned(each[0], group.broker, each[1]): group.failure or _CUT_SHORT
        for group in groups
        if not group.proves
        for each in group.missing()
    }
    proving = [group for group in groups if group.proves]
    proven = proofs.section(
        entries,
        [run for group in proving for run in group.cells] if proving else None,
        {each[0]: group.failure or _CUT_SHORT for group in proving for each in group.missing()},
    )
    return document.build(planned, cells, missing, started=started, complete=complete, proven=proven)


def _chosen(known: catalogue.Catalogue, chapters: Sequence[str], slugs: Sequence[str]) -> list[Guarantee]:
    for chapter in chapters:
        if chapter not in known.chapters:
            raise click.UsageError(f"There is no chapter {chapter!r}. The chapters: {', '.join(known.chapters)}.")
    for slug in slugs:
        if slug not in known:
            raise no_such_slug(slug, known)
    if not chapters and not slugs:
        return list(known.values())
    return [entry for entry in known.values() if entry.slug in slugs or entry.chapter in chapters]


def _restart_command(line: str | None, brokers: Sequence[str]) -> tuple[str, ...]:
    if line is None:
        return ()
    if not any("://" in spec for spec in brokers):
        raise click.UsageError(
            "--broker-restart-command is for a broker given as URL, and none is: those that are started here are "
            "restarted without it. Give one with --broker amqp://..., or leave the command out."
        )
    try:
        return split_command(line)
    except ValueError as error:
        raise click.UsageError(f"--broker-restart-command: {error}") from error


def _prepare(specs: Sequence[str], settings: Sequence[str], restart_command: Sequence[str]) -> dict[str, str]:
    """Get every broker ready to start; the names for people with the specs to start them by."""
    brokers: dict[str, str] = {}
    with progress_on_stderr() as progress:
        for spec in dict.fromkeys(specs):
            try:
                config = NodeConfig(settings=parse_settings(settings))
                source = resolve(spec, progress=progress, restart_command=restart_command)
                source.check(config)
                source.prepare(progress)
            except BrokerError as error:
                raise NoBroker(str(error)) from error
            if source.why:
                progress(source.why)
            # A URL's name hides its password, and the specs need it; what auto chose must not be chosen again.
            brokers[source.spec] = spec if "://" in spec else source.spec
    return brokers
