"""What the plugin was told: options of the command line, mirrored in ini, the broker also in the environment."""

import difflib
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pytest

from workqueue.broker.hidden import hidden
from workqueue.guarantee.extra import missing_extra
from workqueue.guarantee.patience import WrongPatience, patience

QUEUE_TYPES = ("classic", "quorum")


@dataclass(frozen=True, slots=True)
class Settings:
    """The plugin's settings for one run.

    :param brokers: broker specs, in order.
    :param broker_was_chosen: whether somebody named a broker, so that not having it is an error.
    :param queue_types: the queue types to run on.
    :param chapters: only guarantees of these chapters (all if empty).
    :param slugs: only these guarantees (all if empty).
    :param broker_settings: lines of rabbitmq.conf for the brokers that are started, ``KEY=VALUE``.
    :param restart_command: what restarts a broker that is not ours, in words; none if nothing does.
    :param behind: the liar that stands between the specs and the brokers.
    :param core_works: whether the specs' workers are played by the project's own core.
    :param prove: whether to run each spec under its liars, instead of as it is.
    :param events: the file that gets the run as JSON lines, or None.
    """

    brokers: tuple[str, ...]
    broker_was_chosen: bool
    queue_types: tuple[str, ...]
    chapters: frozenset[str]
    slugs: frozenset[str]
    broker_settings: tuple[str, ...]
    restart_command: tuple[str, ...]
    behind: str | None
    core_works: bool
    prove: bool
    events: str | None

    @classmethod
    def of(cls, config: pytest.Config) -> Self:
        """Read them from a pytest configuration."""
        option = config.option
        chosen = option.workqueue_broker or os.environ.get("WORKQUEUE_BROKER", "").split()
        chosen = chosen or config.getini("workqueue_broker")
        queue_type = option.workqueue_queue_type or config.getini("workqueue_queue_type") or "both"
        if queue_type not in (*QUEUE_TYPES, "both"):
            raise pytest.UsageError(f"workqueue_queue_type is {queue_type!r}; it can be classic, quorum or both")
        return cls(
            brokers=tuple(map(hidden, dict.fromkeys(chosen))) or ("auto",),
            broker_was_chosen=bool(chosen),
            queue_types=QUEUE_TYPES if queue_type == "both" else (queue_type,),
            chapters=frozenset(option.workqueue_chapter or config.getini("workqueue_chapter")),
            slugs=frozenset(option.workqueue_only or config.getini("workqueue_only")),
            broker_settings=tuple(option.workqueue_broker_setting or config.getini("workqueue_broker_setting")),
            restart_command=_restart_command(config),
            behind=option.workqueue_behind,
            core_works=option.workqueue_worker == "core",
            prove=option.workqueue_prove,
            events=option.workqueue_events,
        )


def split_command(line: str) -> tuple[str, ...]:
    """Split a command into words, as a shell would.

    :raises ValueError: if a shell could not, or there are no words; the message says so.
    """
    try:
        words = tuple(shlex.split(line))
    except ValueError as error:
        raise ValueError(f"`{line}` is no command: {error}. Quote it as for a shell.") from error
    if not words:
        raise ValueError("It is empty; give a command and its arguments.")
    return words


def _restart_command(config: pytest.Config) -> tuple[str, ...]:
    line = config.option.workqueue_restart_command
    if line is None:
        line = config.getini("workqueue_broker_restart_command") or None
    if line is None:
        return ()
    try:
        return split_command(line)
    except ValueError as error:
        raise pytest.UsageError(f"--broker-restart-command: {error}") from error


def check(config: pytest.Config) -> None:
    """See whether this run can be what it was told to be, before anything is collected.

    :raises pytest.UsageError: if not; it says why, and what to do.
    """
    told = Settings.of(config)
    try:
        patience()
    except WrongPatience as error:
        raise pytest.UsageError(str(error)) from error
    if (told.behind or told.broker_settings) and (missing := missing_extra()):
        raise pytest.UsageError(missing)
    if told.behind is not None:
        from workqueue.guarantee.lying import no_such_liar

        if wrong := no_such_liar(told.behind):
            raise pytest.UsageError(f"--behind: {wrong}")
    if told.broker_settings:
        from workqueue.broker.configuration import parse_settings
        from workqueue.broker.errors import SpecError

        try:
            parse_settings(told.broker_settings)
        except SpecError as error:
            raise pytest.UsageError(f"--broker-setting: {error}") from error


def wrong_choice(config: pytest.Config, slugs: Sequence[str]) -> str:
    """What is wrong with the guarantees or chapters that the command line chose; empty if nothing is.

    What the ini chooses is for every run of a project, also of those of its tests that have nothing to do with it.

    :param slugs: of the guarantees of all specs that were collected.
    """
    chapters = list(dict.fromkeys(slug.partition(".")[0] for slug in slugs))
    for what, chosen, there in (
        ("guarantee", config.option.workqueue_only, slugs),
        ("chapter", config.option.workqueue_chapter, chapters),
    ):
        for name in chosen or ():
            if name not in there:
                close = difflib.get_close_matches(name, dict.fromkeys(there), n=3, cutoff=0.4)
                hint = f"Did you mean {' or '.join(close)}?" if close else f"Chapters: {', '.join(chapters) or 'none'}."
                return f"None of the tests collected is of a {what} {name!r}. {hint}"
    return ""


def add_options(parser: pytest.Parser) -> None:
    """Declare the one option group of the plugin, and its mirror in ini."""
    group = parser.getgroup("workqueue", "RabbitMQ work-queue guarantees")
    group.addoption(
        "--broker",
        action="append",
        dest="workqueue_broker",
        metavar="SPEC",
        help="the broker to run on: auto (default), container[:IMAGE], local[:DIR], debian:RELEASE, or an amqp(s):// "
        "URL; repeat it for several; also in the environment as WORKQUEUE_BROKER",
    )
    group.addoption(
        "--queue-type",
        dest="workqueue_queue_type",
        choices=(*QUEUE_TYPES, "both"),
        help="the queue types to run on (default: both)",
    )
    group.addoption(
        "--guarantee-chapter",
        action="append",
        dest="workqueue_chapter",
        metavar="NAME",
        help="run only the guarantees of this chapter; repeatable; with --guarantee, what either of them names is run",
    )
    group.addoption(
        "--guarantee",
        action="append",
        dest="workqueue_only",
        metavar="SLUG",
        help="run only this guarantee; repeatable; with --guarantee-chapter, what either of them names is run",
    )
    group.addoption(
        "--broker-setting",
        action="append",
        dest="workqueue_broker_setting",
        metavar="KEY=VALUE",
        help="start the broker with this line in its rabbitmq.conf, such as "
        "deprecated_features.permit.transient_nonexcl_queues=false; repeatable; not for one given as URL",
    )
    group.addoption(
        "--broker-restart-command",
        dest="workqueue_restart_command",
        metavar="COMMAND",
        help="restarts a broker given as URL, so that durability can be tested on it (split like a shell would, run "
        "without one)",
    )
    group.addoption(
        "--behind",
        dest="workqueue_behind",
        metavar="LIAR",
        help="put a liar (`workqueue liar` lists them) between all specs and the brokers; honest must change nothing",
    )
    group.addoption(
        "--worker",
        dest="workqueue_worker",
        choices=("tutorial", "core"),
        default="tutorial",
        help="what the specs' workers are: the tutorial's program (default), or workqueue.Worker",
    )
    group.addoption(
        "--prove",
        dest="workqueue_prove",
        action="store_true",
        help="instead of the specs, run the proofs that they can fail: each spec on a broker that breaks its promise, "
        "where its verdict has to be broken",
    )
    group.addoption(
        "--guarantee-events",
        dest="workqueue_events",
        metavar="FILE",
        help="write each verdict to FILE as a JSON line as soon as it is known",
    )
    parser.addini("workqueue_broker", "as --broker, separated by spaces", type="args")
    parser.addini("workqueue_queue_type", "as --queue-type", default="")
    parser.addini("workqueue_chapter", "as --guarantee-chapter, separated by spaces", type="args")
    parser.addini("workqueue_only", "as --guarantee, separated by spaces", type="args")
    parser.addini("workqueue_broker_setting", "as --broker-setting, one a line", type="linelist")
    parser.addini("workqueue_broker_restart_command", "as --broker-restart-command", default="")
