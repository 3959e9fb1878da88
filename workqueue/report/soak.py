"""What became of a soak, as a document and as a table."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from workqueue.broker import About
from workqueue.guarantee.soak.journal import Entry
from workqueue.guarantee.soak.judgement import REASONS, VIOLATIONS
from workqueue.guarantee.soak.run import Result, Settings
from workqueue.guarantee.soak.schedule import Step
from workqueue.guarantee.verdict import Verdict

SCHEMA = 1
_SHOWN = 20  # tasks of each violation


def exit_code(results: list[Result]) -> int:
    """0 nothing lost, 1 a violation, 2 nobody knows."""
    verdicts = {result.verdict for result in results}
    if Verdict.BROKEN in verdicts:
        return 1
    return 2 if Verdict.UNKNOWN in verdicts or not results else 0


def document(result: Result, about: About) -> dict[str, Any]:
    """One soak as JSON: enough to replay its schedule, and to see what was found."""
    settings, found = result.settings, result.judgement
    return {
        "verdict": str(result.verdict),
        "unknown": result.unknown,
        "interrupted": result.interrupted,
        "broker": {"spec": about.spec, "version": about.version, "erlang": about.erlang, "package": about.package},
        "queue_type": settings.queue_type,
        "seed": settings.seed,
        "settings": {
            "seconds": settings.seconds,
            "producers": settings.producers,
            "workers": settings.workers,
            "rate": settings.rate,
            "prefetch": settings.prefetch,
            "client": "core" if settings.core else "pika",
        },
        "seconds": result.seconds,
        "schedule": [_step(step) for step in result.schedule],
        "left_out": [str(fault) for fault in result.left_out],
        "landed": [{**_step(each.step), "landed": each.at, "proof": each.proof} for each in result.landed],
        "missed": [{**_step(each.step), "missed": each.at, "why": each.why} for each in result.missed],
        "counts": {
            **result.counts,
            "indeterminate": found.indeterminate,
            "recovered": found.recovered,
            "duplicated": found.duplicated,
        },
        "repeats": found.repeats,
        "violations": {
            name: {
                "means": VIOLATIONS[name],
                "count": len(tasks),
                "tasks": tasks[:_SHOWN],
                "examples": {
                    str(task): [_entry(entry, settings) for entry in found.stories[task]]
                    for task in tasks
                    if task in found.stories
                },
            }
            for name, tasks in found.violations.items()
        },
        "troubles": result.troubles,
    }


def show(result: Result, about: About, console: Console) -> None:
    """Print one soak as a table, with its verdict below it."""
    counts, found = result.counts, result.judgement
    title = f"{about.product} {about.version} ({about.spec}), {result.settings.queue_type} queue"
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim", overflow="fold")

    def row(name: str, number: int, remark: str = "") -> None:
        table.add_row(name, f"{number:,}", remark)

    speed = counts["published"] / result.seconds if result.seconds else 0.0
    row("tasks published", counts["published"], f"in {result.seconds:.0f} s: {speed:,.0f} a second")
    row("confirmed", counts["confirmed"])
    row("indeterminate", found.indeterminate, f"never confirmed; {found.recovered:,} of them were delivered")
    row("delivered", counts["delivered"])
    row("acked", counts["acked"], f"{counts['proven']:,} of these acks certainly arrived")
    silent = len(found.violations.get("silently-repeated", ()))
    flagged = "all marked as redelivered" if not silent else f"{silent:,} NOT marked as redelivered"
    row("delivered repeatedly", found.duplicated, flagged if found.duplicated else "")
    for reason, number in sorted(found.repeats.items()):
        row(f"  {reason}", number, REASONS.get(reason) or VIOLATIONS[reason])
    table.add_section()
    planned, missed = len(result.schedule), len(result.missed)
    late = planned - missed - len(result.landed)
    row("faults landed", len(result.landed), f"of {planned} planned; {missed} missed, no time for {late}")
    for fault, number in sorted(Counter(str(each.step.fault) for each in result.landed).items()):
        row(f"  {fault}", number)
    if found.violations:
        table.add_section()
        for name, tasks in found.violations.items():
            examples = ", ".join(map(str, tasks[:5])) + (", …" if len(tasks) > 5 else "")
            row(name, len(tasks), f"{VIOLATIONS[name]}: {examples}")
    console.print(table)
    for each in result.missed:
        _line(console, f"Missed: {each.step.fault} of {each.step.target} at {each.at:g} s: {each.why}")
    for reason in result.unknown:
        _line(console, f"Unknown: {reason}")
    for trouble, number in Counter(result.troubles).items():
        _line(console, f"Seen {number} times: {trouble}")
    _line(console, _verdict(result))


def _verdict(result: Result) -> str:
    names = ", ".join(result.judgement.violations)
    match result.verdict:
        case Verdict.BROKEN:
            said = f"broken ({names})"
        case Verdict.UNKNOWN:
            said = "unknown"
        case _:
            said = "holds: nothing confirmed was lost, nothing acked came back, every duplicate was marked"
    return f"Verdict: {said}{', as far as it was run' if result.interrupted else ''}. Seed {result.settings.seed}."


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _step(step: Step) -> dict[str, Any]:
    return {"at": step.at, "fault": str(step.fault), "target": step.target, "seconds": step.seconds}


def _entry(entry: Entry, settings: Settings) -> dict[str, Any]:
    told: dict[str, Any] = {"at": entry.at / 1e6, "what": entry.what.name.lower(), "who": settings.member(entry.who)}
    if entry.since:
        told |= {"redelivered": entry.marked, "sent_since": entry.since / 1e6}
    return told
