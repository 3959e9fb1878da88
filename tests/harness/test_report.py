"""The report document: what makes it whole, and the exit code that it stands for."""

import datetime as dt

import pytest
from rich.console import Console

from workqueue.report import document, proofs, terminal
from workqueue.report.document import Planned

STARTED = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def cell(verdict="holds", *, expected="holds", slug="a.b", queue_type="classic", broker="debian:trixie"):
    return {
        "slug": slug,
        "chapter": slug.partition(".")[0],
        "text": "It [holds].",
        "broker": broker,
        "about": {"version": "4.0.5"},
        "queue_type": queue_type,
        "verdict": verdict,
        "expected": expected,
        "because": "known" if expected == "broken" else "",
        "surprise": verdict in ("holds", "broken") and verdict != expected,
        "reason": "",
        "timeline": [{"at": 0.5, "who": "worker 1", "what": "received [bold]'task'", "proves": False}],
        "duration": 0.1,
    }


def report(*cells, missing=(), complete=True, proven=None):
    planned = [Planned(each["slug"], each["broker"], each["queue_type"]) for each in cells]
    planned += missing
    reasons = dict.fromkeys(missing, "the broker was lost")
    proven = proofs.section([], None, {}) if proven is None else proven
    return document.build(planned, cells, reasons, started=STARTED, complete=complete, proven=proven)


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ([cell()], 0),
        ([cell(), cell("broken", expected="broken")], 0),
        ([cell(), cell("not-applicable")], 0),
        ([cell("broken")], 1),
        ([cell("holds", expected="broken")], 1),
        ([cell("unknown")], 2),
        ([cell("unknown"), cell("broken")], 1),
    ],
)
def test_the_exit_code_tells_surprise_from_unknown(cells, code):
    assert document.exit_code(report(*cells)) == code


def test_what_was_planned_and_did_not_run_is_unknown():
    whole = report(cell(), missing=[Planned("a.c", "debian:trixie", "classic")])

    assert whole["cells"][1]["verdict"] == "unknown"
    assert whole["cells"][1]["reason"] == "not run: the broker was lost"
    assert whole["footer"] == {"complete": True, "planned": 2, "cells": 2, "missing": 1}
    assert document.exit_code(whole) == 2


def test_a_run_that_was_cut_short_has_no_footer():
    partial = report(cell(), complete=False)

    assert "footer" not in partial
    assert document.exit_code(partial) == 2


def test_cells_come_in_the_order_of_the_plan():
    first, second = cell(slug="a.first"), cell(slug="a.second")
    planned = [Planned(each["slug"], each["broker"], each["queue_type"]) for each in (first, second)]

    built = document.build(planned, [second, first], {}, started=STARTED, complete=True, proven={"unproven": {}})

    assert [each["slug"] for each in built["cells"]] == ["a.first", "a.second"]


def shown(whole):
    console = Console(record=True, width=120, force_terminal=False)
    terminal.show(whole, console)
    return console.export_text()


def test_the_terminal_shows_the_matrix_and_the_totals():
    text = shown(report(cell(), cell("broken", expected="broken", queue_type="quorum")))

    assert "debian:trixie" in text
    assert "4.0.5" in text
    assert "2 verdicts: 1 holds, 1 broken as expected" in text
    assert "Broken as expected: known\n  a.b  on debian:trixie quorum" in text


def test_a_surprise_is_told_in_full_and_markup_of_others_is_text():
    text = shown(report(cell("broken")))

    assert "SURPRISE  a.b on debian:trixie, classic" in text
    assert "It [holds]." in text
    assert "received [bold]'task'" in text


def test_a_run_that_was_cut_short_says_so():
    assert "cut short" in shown(report(cell(), complete=False))
