"""Reading a report back: one that is incomplete, or was changed after it was written, is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workqueue.guarantee.verdict import Verdict, is_surprise
from workqueue.report.document import SCHEMA, Cell

_VERDICTS = frozenset(verdict.value for verdict in Verdict)
_TEXTS = ("slug", "chapter", "broker", "queue_type", "verdict", "because", "reason")


class NotAReport(ValueError):  # noqa: N818 - a property of the file
    """The file is no whole report of this schema. The message says what is wrong with it."""


def read(path: Path) -> dict[str, Any]:
    """Read what ``workqueue verify --json`` wrote.

    :raises OSError: if the file cannot be read.
    :raises NotAReport: if it is not a report, is incomplete, or does not agree with itself.
    """
    try:
        report = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise NotAReport(f"{path} is not JSON: {error}") from error
    try:
        check(report)
    except NotAReport as error:
        raise NotAReport(f"{path} {error}") from error
    return dict(report)


def check(report: Any) -> None:
    """See whether a document is a whole report that agrees with itself.

    :raises NotAReport: if not.
    """
    if not isinstance(report, dict) or "schema" not in report:
        raise NotAReport("is not a report of workqueue verify")
    if report["schema"] != SCHEMA or isinstance(report["schema"], bool):
        raise NotAReport(f"has schema {report['schema']!r}; this version reads {SCHEMA}")
    for name, kind in (("planned", list), ("cells", list), ("brokers", dict), ("tool", dict), ("finished", str)):
        if not isinstance(report.get(name), kind):
            raise NotAReport(f"is damaged: its {name!r} is missing or of the wrong kind")
    for cell in report["cells"]:
        _check_cell(cell)
    footer = report.get("footer")
    if not isinstance(footer, dict) or footer.get("complete") is not True:
        raise NotAReport("is incomplete: the run was cut short, so it has no footer; run verify again")
    _check_whole(report, footer)
    _check_brokers(report)


def _check_cell(cell: Any) -> None:
    if not isinstance(cell, dict):
        raise NotAReport("is damaged: one of its cells is not an object")
    where = f"the cell {cell.get('slug')!r}"
    for name in _TEXTS:
        if not isinstance(cell.get(name), str):
            raise NotAReport(f"is damaged: {where} has no text {name!r}")
    if cell["verdict"] not in _VERDICTS:
        raise NotAReport(f"is damaged: {where} has the verdict {cell['verdict']!r}")
    ran = cell["verdict"] != Verdict.UNKNOWN
    expected = cell.get("expected")
    if expected not in (Verdict.HOLDS, Verdict.BROKEN) and (ran or expected is not None):
        raise NotAReport(f"is damaged: {where} expects {expected!r}")
    surprise = ran and is_surprise(Verdict(cell["verdict"]), Verdict(expected))
    if cell.get("surprise") is not surprise:
        raise NotAReport(f"was tampered with: {where} is {cell['verdict']}, not what its 'surprise' says")
    for name in ("source", "because_source"):
        source = cell.get(name)
        if source is not None and not _is_source(source):
            raise NotAReport(f"is damaged: {where} has a {name!r} without title and url")


def _is_source(source: Any) -> bool:
    return isinstance(source, dict) and all(isinstance(source.get(name), str) for name in ("title", "url"))


def _check_whole(report: Mapping[str, Any], footer: Mapping[str, Any]) -> None:
    """What was planned, what is there and what the footer counted are the same."""
    try:
        planned = [(each["slug"], each["broker"], each["queue_type"]) for each in report["planned"]]
        unique = set(planned)
    except (KeyError, TypeError) as error:
        raise NotAReport("is damaged: its 'planned' is not a list of slug, broker and queue type") from error
    cells = [key(cell) for cell in report["cells"]]
    counted = {
        "planned": len(planned),
        "cells": len(cells),
        "missing": sum(cell.get("trials") == 0 for cell in report["cells"]),
    }
    for name, number in counted.items():
        if footer.get(name) != number:
            raise NotAReport(f"was tampered with: its footer says {footer.get(name)!r} {name}, and it has {number}")
    if len(unique) != len(planned) or len(set(cells)) != len(cells):
        raise NotAReport("was tampered with: it has something twice")
    if strays := unique ^ set(cells):
        slug, broker, queue_type = min(strays)
        state = "has no cell for" if (slug, broker, queue_type) in unique else "never planned"
        raise NotAReport(f"was tampered with: it {state} {slug!r} on {broker!r}, {queue_type}")


def _check_brokers(report: Mapping[str, Any]) -> None:
    for cell in report["cells"]:
        about = report["brokers"].get(cell["broker"])
        if about is None and cell["verdict"] == Verdict.UNKNOWN:
            continue  # it never answered
        if not isinstance(about, dict) or not isinstance(about.get("version"), str):
            raise NotAReport(f"is damaged: it does not say which version {cell['broker']!r} is")


def key(cell: Cell) -> tuple[str, str, str]:
    """Slug, broker and queue type: there is one cell for each."""
    return cell["slug"], cell["broker"], cell["queue_type"]
