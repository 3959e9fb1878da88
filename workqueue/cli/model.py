"""``workqueue model``: the reference model of a work queue and real brokers, side by side."""

import os
import secrets
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import click

from workqueue.broker import Broker, Source, resolve
from workqueue.broker.errors import BrokerError
from workqueue.cli._errors import NoBroker
from workqueue.cli._output import output_has_to_arrive
from workqueue.cli._progress import progress_on_stderr
from workqueue.guarantee.expectation import QUEUE_TYPES
from workqueue.guarantee.exploration import Found, explore
from workqueue.guarantee.rules import Rules
from workqueue.guarantee.script import Script, dump_script, parse_script
from workqueue.guarantee.side_by_side import Difference, Pair
from workqueue.guarantee.verdict import Unknown

AS_MODELLED, DIFFERENT, UNKNOWN = 0, 1, 2


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
    "--scenarios",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    metavar="N",
    help="How many random scripts to play on each broker and queue type.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="S",
    help="Make the same scripts as a run that told this seed, with the same versions of workqueue and Hypothesis.",
)
@click.option(
    "--replay",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Play the script in FILE instead of random ones.",
)
@click.option("--script", "text", metavar="JSON", help="Play this script instead of random ones.")
@output_has_to_arrive()
def command(
    specs: tuple[str, ...],
    queue_type: str,
    scenarios: int,
    seed: int | None,
    path: Path | None,
    text: str | None,
) -> int:
    """Do the same random things to a model of a work queue and to real queues, and compare after each step.

    The model (workqueue/guarantee/model.py) says what a queue is: first in, first out, consumers in turn, prefetch,
    ack, nack, reject, cancel, basic.get, closed channels and connections, delivery limits. After each operation it says
    what every channel holds, in which order, what is marked as redelivered, and how many tasks are ready. A broker
    that does anything else is shown with the shortest script that makes it do so, and the command to play it again.

    \b
    Examples:
      workqueue model
      workqueue model --broker debian:bookworm --broker debian:forky --scenarios 500
      workqueue model --broker amqp://user:password@host:5672/%2F --queue-type quorum --seed 1
      workqueue model --queue-type classic --script '[{"do": "publish", "count": 2}, {"do": "get", "channel": 0}]'

    \b
    Exit codes:
      0  the brokers do as the model says
      1  a broker does not
      2  unknown: the harness or a broker failed, or what was found was not written
      3  wrong usage, or no broker to be had
    """
    script = _script(path, text)
    seed = secrets.randbelow(2**32) if seed is None else seed
    types = QUEUE_TYPES if queue_type == "both" else (queue_type,)
    wanted = specs or tuple(os.environ.get("WORKQUEUE_BROKER", "").split()) or ("auto",)
    codes = set()
    for source in _prepared(wanted):
        try:
            with source.start() as broker:
                for each in types:
                    codes.add(
                        _explore(broker, each, scenarios, seed) if script is None else _play(broker, each, script)
                    )
        except BrokerError as error:
            raise NoBroker(str(error)) from error
    return next(code for code in (DIFFERENT, UNKNOWN, AS_MODELLED) if code in codes)


def _script(path: Path | None, text: str | None) -> Script | None:
    if path is not None and text is not None:
        raise click.UsageError("--replay and --script exclude each other.")
    try:
        if path is not None:
            text = path.read_text(encoding="utf-8")
        return None if text is None else parse_script(text)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{'--script' if path is None else path}: {error}.") from error


def _prepared(specs: tuple[str, ...]) -> Iterator[Source]:
    """Get all ready before the first is started, so that a mistyped one is told at once."""
    sources = []
    with progress_on_stderr() as progress:
        for spec in dict.fromkeys(specs):
            try:
                source = resolve(spec, progress=progress)
                source.prepare(progress)
            except BrokerError as error:
                raise NoBroker(str(error)) from error
            if source.why:
                progress(source.why)
            sources.append(source)
    return iter(sources)


def _play(broker: Broker, queue_type: str, script: Script) -> int:
    pair = Pair(broker, queue_type, Rules.of(queue_type, broker.about.version))
    try:
        pair.play(script)
    except Difference as difference:
        click.echo(f"{_name(broker, queue_type)}: not as the model says,\n{difference}")
        return DIFFERENT
    except Unknown as error:
        return _unknown(broker, queue_type, error)
    finally:
        pair.close()
    click.echo(f"{_name(broker, queue_type)}: as the model says ({pair.steps} steps compared)")
    return AS_MODELLED


def _explore(broker: Broker, queue_type: str, scenarios: int, seed: int) -> int:
    rules = Rules.of(queue_type, broker.about.version)
    pair, name, began = Pair(broker, queue_type, rules), _name(broker, queue_type), time.monotonic()
    try:
        with progress_on_stderr() as progress:

            def tell(played: int) -> None:
                tenths = played * 10 // scenarios * scenarios // 10
                progress(f"{name}, seed {seed}: {tenths} of {scenarios} scripts", played / scenarios)

            found = explore(pair, rules, scenarios=scenarios, seed=seed, tell=tell)
    except Unknown as error:
        return _unknown(broker, queue_type, error)
    finally:
        pair.close()
    if found is not None:
        click.echo(_told(broker, queue_type, found))
        return DIFFERENT
    took = time.monotonic() - began
    click.echo(
        f"{name}: as the model says, {scenarios} scripts, {pair.steps} steps compared in {took:.0f} s, seed {seed}"
    )
    return AS_MODELLED


def _told(broker: Broker, queue_type: str, found: Found) -> str:
    script = dump_script(found.difference.script)
    replay = ["workqueue", "model", "--broker", broker.spec, "--queue-type", queue_type, "--script", script]
    how = "" if found.again else " (it did not do so again when the script was played once more)"
    return "\n".join(
        [
            f"{_name(broker, queue_type)}: not as the model says{how},",
            str(found.difference),
            "the script:",
            script,
            "to play it again:",
            shlex.join(replay),
        ]
    )


def _unknown(broker: Broker, queue_type: str, error: Unknown) -> int:
    click.echo(f"{_name(broker, queue_type)}: unknown, {error}")
    return UNKNOWN


def _name(broker: Broker, queue_type: str) -> str:
    return f"{queue_type} on {broker.about.product} {broker.about.version} ({broker.spec})"
