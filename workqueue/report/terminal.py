"""The report on a terminal: the matrix, and below it what needs a reader's attention."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workqueue.report.document import counts, kind

_MARKS = {
    "holds": "[green]holds[/]",
    "broken as expected": "[yellow]broken[/]",
    "surprise": "[bold red]SURPRISE[/]",
    "unknown": "[bold magenta]unknown[/]",
    "not-applicable": "[dim]n/a[/]",
}


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print the matrix (guarantee × broker × queue type), each surprise and unknown in full, and the totals."""
    console.print(_matrix(report))
    for cell in report["cells"]:
        if kind(cell) in ("surprise", "unknown"):
            _explain(cell, console)
    _remarks(report, console)
    totals = ", ".join(f"{number} {what}" for what, number in counts(report["cells"]).items() if number)
    console.print(f"\n[bold]{len(report['cells'])} verdicts:[/] {totals}", highlight=False)
    show_proofs(report["proofs"], console)
    if "footer" not in report:
        console.print("[bold magenta]The run was cut short: this is not the whole of what was planned.[/]")


def show_proofs(proofs: Mapping[str, Any], console: Console) -> None:
    """Print how many are proven, each proof that failed, and what is unproven."""
    if "runs" in proofs:
        counts: dict[str, int] = {}
        for run in proofs["runs"]:
            counts[run["outcome"]] = counts.get(run["outcome"], 0) + 1
            if run["outcome"] in ("blind", "unknown"):
                where = f"{run['slug']} on {run['broker']}, {run['queue_type']}"
                console.print(f"\nNot proven: {where}, by {run['by']}", markup=False, highlight=False)
                console.print(f"  {run['why']}", markup=False, highlight=False)
        told = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
        console.print(f"\n[bold]{len(proofs['runs'])} proofs:[/] {told}", highlight=False)
    if proofs["unproven"]:
        console.print(f"\n[bold]{len(proofs['unproven'])} unproven[/] (their specs were not seen to fail):")
        for slug, why in proofs["unproven"].items():
            console.print(f"  {slug}: {why}", markup=False, highlight=False)


def _matrix(report: Mapping[str, Any]) -> Table:
    columns = list(dict.fromkeys((cell["broker"], cell["queue_type"]) for cell in report["cells"]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("guarantee", no_wrap=True)
    for broker, queue_type in columns:
        about = report["brokers"].get(broker)
        version = f"\n{about['version']}" if about else ""
        table.add_column(f"{escape(broker)}{version}\n{queue_type}")
    rows: dict[str, dict[tuple[str, str], str]] = {cell["slug"]: {} for cell in _in_catalogue_order(report)}
    for cell in report["cells"]:
        rows.setdefault(cell["slug"], {})[cell["broker"], cell["queue_type"]] = _MARKS[kind(cell)]
    chapter = ""
    for slug, marks in rows.items():
        if slug.partition(".")[0] != chapter:
            chapter = slug.partition(".")[0]
            table.add_section()
        table.add_row(slug, *(marks.get(column, "[dim]-[/]") for column in columns))
    return table


def _in_catalogue_order(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cells by chapter, in the order in which the chapters come."""
    chapters = list(dict.fromkeys(cell["chapter"] for cell in report["cells"]))
    return sorted(report["cells"], key=lambda cell: chapters.index(cell["chapter"]))


def _explain(cell: Mapping[str, Any], console: Console) -> None:
    console.print(f"\n{_MARKS[kind(cell)]}  [bold]{cell['slug']}[/] on {escape(cell['broker'])}, {cell['queue_type']}")
    if cell.get("text"):
        console.print(f"  {cell['text']}", markup=False, highlight=False)
    if cell["surprise"]:
        console.print(f"  expected {cell['expected']}, and it is {cell['verdict']}. {cell['because']}", markup=False)
    console.print(f"  {cell['reason']}", markup=False, highlight=False)
    for note in cell["timeline"]:
        console.print(f"  {note['at']:9.3f} s  {note['who']}: {note['what']}", markup=False, highlight=False)


def _remarks(report: Mapping[str, Any], console: Console) -> None:
    """Why something is broken as expected, or says nothing: each reason once, with the guarantees and where."""
    remarks: dict[tuple[str, str], dict[str, list[str]]] = {}
    for cell in report["cells"]:
        if kind(cell) == "broken as expected":
            remark = remarks.setdefault(("Broken as expected", cell["because"]), {})
        elif kind(cell) == "not-applicable":
            remark = remarks.setdefault(("Not applicable", cell["reason"]), {})
        else:
            continue
        remark.setdefault(cell["slug"], []).append(f"{cell['broker']} {cell['queue_type']}")
    for (what, why), slugs in remarks.items():
        console.print(f"\n{what}: {why}", markup=False, highlight=False)
        for slug, where in slugs.items():
            console.print(f"  {slug}  on {', '.join(where)}", markup=False, highlight=False)
