"""`workqueue guarantees`: the catalogue, in a list, one by one, or as the page GUARANTEES.md."""

import shutil
from pathlib import Path

import click

from workqueue.cli._output import output_has_to_arrive
from workqueue.cli._slugs import no_such_slug
from workqueue.guarantee import catalogue
from workqueue.report import explanation, measured, page, reading

_WIDTH = 120


class NotMeasured(click.ClickException):
    """The report is not whole, so nothing is derived from it."""

    exit_code = 2


@click.command()
@click.argument("slug", required=False)
@click.option("--markdown", is_flag=True, help="Write the page GUARANTEES.md to standard output.")
@click.option(
    "--measured",
    "report",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="REPORT.json",
    help="Write what the page needs of a report of verify to standard output: measured.json.",
)
@output_has_to_arrive()
def command(slug: str | None, markdown: bool, report: Path | None) -> None:
    """List every guarantee and hazard, or explain one: who says so, where it holds, how it is tested.

    \b
    Examples:
      workqueue guarantees
      workqueue guarantees durability.queue-survives-kill
      workqueue guarantees --markdown > GUARANTEES.md

    \b
    Exit codes:
      0  shown
      2  the report given to --measured is incomplete or was tampered with; or not all could be shown
      3  wrong usage, or there is no such guarantee
    """
    if sum((slug is not None, markdown, report is not None)) > 1:
        raise click.UsageError("Give a slug, --markdown or --measured, not several of them.")
    if report is not None:
        try:
            click.echo(measured.digest(reading.read(report)), nl=False)
        except reading.NotAReport as error:
            raise NotMeasured(str(error)) from error
        return
    known = catalogue.load()
    width = min(shutil.get_terminal_size().columns, _WIDTH)
    if markdown:
        click.echo(page.page(known, measured.load()), nl=False)
    elif slug is None:
        click.echo(explanation.listing(known, width))
    elif slug in known:
        click.echo(explanation.explain(known[slug], known, measured.load(), width))
    else:
        raise no_such_slug(slug, known)
