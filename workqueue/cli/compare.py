"""`workqueue compare`: what changes for a work queue between two brokers, from the reports of `workqueue verify`."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from workqueue.cli._files import ReportFile
from workqueue.cli._output import output_has_to_arrive
from workqueue.cli._slugs import no_such_slug
from workqueue.guarantee import catalogue
from workqueue.guarantee.expectation import QUEUE_TYPES
from workqueue.report import changes, comparison, reading

_REPORT = click.Path(exists=True, dir_okay=False, path_type=Path)


class NotComparable(click.ClickException):
    """A report is incomplete, was tampered with, or has nothing in common with the other."""

    exit_code = 2


@click.command()
@click.argument("before", type=_REPORT, metavar="BEFORE.json")
@click.argument("after", type=_REPORT, metavar="[AFTER.json]", required=False)
@click.option("--before-broker", metavar="SPEC", help="Which broker of BEFORE.json, if it has several.")
@click.option("--after-broker", metavar="SPEC", help="Which broker of AFTER.json, if it has several.")
@click.option("--queue-type", type=click.Choice([*QUEUE_TYPES, "both"]), default="both", show_default=True)
@click.option("--allow", multiple=True, metavar="SLUG", help="Accept the loss of this guarantee. Repeatable.")
@click.option(
    "--markdown", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it as Markdown to FILE."
)
@output_has_to_arrive()
def command(
    before: Path,
    after: Path | None,
    before_broker: str | None,
    after_broker: str | None,
    queue_type: str,
    allow: tuple[str, ...],
    markdown: Path | None,
) -> int:
    """Say what a work queue loses and gains when it moves from one broker to another.

    Reads reports that `workqueue verify --json` wrote, and runs nothing. One report that has both brokers will do: the
    first that was given to verify is the one before.

    A loss is a loss, documented or not: read what it says, and accept it with --allow. An --allow that nothing needs
    any more fails.

    \b
    Examples:
      workqueue compare before.json after.json
      workqueue compare before.json after.json --allow ack-timeout.late-ack-is-refused --markdown changes.md
      workqueue compare report.json --before-broker debian:bookworm --after-broker debian:forky --queue-type quorum

    \b
    Exit codes:
      0  nothing was lost
      1  something was lost, or an --allow is stale
      2  it cannot be told: a report is incomplete or was tampered with, or what held before was not told after, or
         what was found was not written
      3  wrong usage
    """
    page = ReportFile(markdown, "The comparison")
    page.check()
    first = _read(before)
    second = first if after is None else _read(after)
    try:
        if after is None:
            names = comparison.choose_two(first, before_broker, after_broker)
        else:
            names = (
                comparison.choose(first, before_broker, "--before-broker"),
                comparison.choose(second, after_broker, "--after-broker"),
            )
    except comparison.CannotChoose as error:
        raise click.UsageError(str(error)) from error
    types = QUEUE_TYPES if queue_type == "both" else (queue_type,)
    sides = comparison.side(first, names[0], types), comparison.side(second, names[1], types)
    known = [slug for side in sides for slug, _ in side.cells]
    if not set(sides[0].cells) & set(sides[1].cells):
        raise NotComparable("The reports have no guarantee in common on the same queue type.")
    for slug in allow:
        if slug not in known:
            raise _not_compared(slug, known, first, second)
    result = comparison.compare(*sides, allowed=allow, remarks=_remarks(first, second))
    page.write_text(changes.to_markdown(result))
    try:
        changes.show(result, Console())
    finally:
        code = page.settle(result.exit_code)
    return code


def _not_compared(slug: str, known: list[str], first: dict[str, Any], second: dict[str, Any]) -> click.UsageError:
    """The error of somebody who allows the loss of what is not compared: it is elsewhere, or there is no such thing."""
    if any(cell["slug"] == slug for report in (first, second) for cell in report["cells"]):
        return click.UsageError(f"{slug!r} is reported, but not on the brokers and queue types that are compared.")
    if slug in catalogue.load():
        where = "not in the report" if first is second else "in neither report"
        return click.UsageError(f"The guarantee {slug!r} is {where}, so its loss need not be allowed.")
    return no_such_slug(slug, dict.fromkeys(known))


def _read(path: Path) -> dict[str, Any]:
    try:
        return reading.read(path)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except reading.NotAReport as error:
        raise NotComparable(str(error)) from error


def _remarks(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    versions = [str(report["tool"].get("version")) for report in (before, after)]
    if versions[0] == versions[1]:
        return []
    return [f"the reports are of different versions of the guarantees, {versions[0]} and {versions[1]}"]
