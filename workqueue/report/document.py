"""The report as a document: what was planned, on which brokers, and one cell for each guarantee there.

A run that was cut short has no footer, and what was planned and did not run is there as ``unknown``: a partial report
cannot pass as a whole one.
"""

import datetime as dt
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from workqueue.report import proofs

SCHEMA = 1

Cell = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell that a run set out to fill."""

    slug: str
    broker: str
    queue_type: str


def build(
    planned: Sequence[Planned],
    cells: Sequence[Cell],
    missing: Mapping[Planned, str],
    *,
    started: dt.datetime,
    complete: bool,
    proven: Mapping[str, Any],
) -> dict[str, Any]:
    """Put a report together.

    :param cells: what ran, as `workqueue.guarantee.cell.cell` made it.
    :param missing: what was planned and did not run, with the reason.
    :param complete: whether the run came to its own end.
    :param proven: what is known of proofs, see `workqueue.report.proofs.section`.
    """
    brokers = {cell["broker"]: cell["about"] for cell in cells if cell["about"] is not None}
    rows = [{key: value for key, value in cell.items() if key != "about"} for cell in cells]
    rows += [_not_run(each, reason) for each, reason in missing.items()]
    order = {each: place for place, each in enumerate(planned)}
    rows.sort(key=lambda row: order.get(Planned(row["slug"], row["broker"], row["queue_type"]), len(order)))
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": {"name": "workqueue-guarantees", "version": version("workqueue-guarantees")},
        "started": started.isoformat(timespec="seconds"),
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "host": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "pika": version("pika"),
            "cpus": os.cpu_count(),
        },
        "planned": [{"slug": p.slug, "broker": p.broker, "queue_type": p.queue_type} for p in planned],
        "brokers": brokers,
        "cells": rows,
        "proofs": proven,
    }
    if complete:
        report["footer"] = {"complete": True, "planned": len(planned), "cells": len(rows), "missing": len(missing)}
    return report


def _not_run(planned: Planned, reason: str) -> dict[str, Any]:
    return {
        "slug": planned.slug,
        "chapter": planned.slug.partition(".")[0],
        "broker": planned.broker,
        "queue_type": planned.queue_type,
        "verdict": "unknown",
        "expected": None,
        "because": "",
        "because_source": None,
        "surprise": False,
        "reason": f"not run: {reason}",
        "trials": 0,
        "duration": 0.0,
        "evidence": [],
        "timeline": [],
    }


def exit_code(report: Mapping[str, Any]) -> int:
    """0 all as expected, 1 a surprise, 2 something unknown or the run incomplete. A surprise outweighs an unknown.

    That a spec does not see what it should is a surprise, too.
    """
    cells = report["cells"]
    proven = proofs.exit_code(report["proofs"])
    if any(cell["surprise"] for cell in cells) or proven == 1:
        return 1
    if "footer" not in report or any(cell["verdict"] == "unknown" for cell in cells):
        return 2
    return proven


def counts(cells: Iterable[Cell]) -> dict[str, int]:
    """How many cells there are of each kind, in the order in which people want to hear of them."""
    kinds = dict.fromkeys(("surprise", "unknown", "holds", "broken as expected", "not-applicable"), 0)
    for cell in cells:
        kinds[kind(cell)] += 1
    return kinds


def kind(cell: Cell) -> str:
    """One of ``surprise``, ``unknown``, ``holds``, ``broken as expected`` and ``not-applicable``."""
    if cell["surprise"]:
        return "surprise"
    return "broken as expected" if cell["verdict"] == "broken" else str(cell["verdict"])
