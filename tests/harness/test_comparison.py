"""Comparing two brokers: what is lost, gained, not told; and reports that are refused."""

import copy
import json

import pytest
from rich.console import Console

from workqueue.report import changes, comparison, markdown, reading
from workqueue.report.comparison import Kind

NOTE = {"title": "RabbitMQ 4.3.0 release notes", "url": "https://example.org/4.3.0"}


def cell(verdict="holds", expected="holds", *, slug="a.b", broker="debian:trixie", queue_type="classic", **more):
    known = {"because": "it is gone", "because_source": NOTE} if expected == "broken" else {"because": ""}
    surprise = verdict in ("holds", "broken") and verdict != expected
    base = {"slug": slug, "chapter": "a", "kind": "guarantee", "text": "It holds.", "broker": broker}
    base |= {"queue_type": queue_type, "verdict": verdict, "expected": expected, "surprise": surprise}
    return base | {"reason": "", "trials": 1, "duration": 0.1, "timeline": []} | known | more


def report(*cells):
    return {
        "schema": 1,
        "tool": {"name": "workqueue-guarantees", "version": "0.1.0"},
        "finished": "2026-01-01T00:00:00+00:00",
        "planned": [{name: each[name] for name in ("slug", "broker", "queue_type")} for each in cells],
        "brokers": {each["broker"]: {"version": "4.0.5"} for each in cells},
        "cells": list(cells),
        "footer": {"complete": True, "planned": len(cells), "cells": len(cells), "missing": 0},
    }


def compared(before, after, *, allowed=()):
    sides = (comparison.side(report(*each), "debian:trixie", ("classic", "quorum")) for each in (before, after))
    return comparison.compare(*sides, allowed=allowed)


@pytest.mark.parametrize(
    ("before", "after", "kind", "code"),
    [
        (cell(), cell(), Kind.SAME, 0),
        (cell(), cell("broken"), Kind.LOST, 1),
        (cell(), cell("broken", "broken"), Kind.LOST, 1),
        (cell("broken", "broken"), cell(), Kind.GAINED, 0),
        (cell("broken", "broken"), cell("broken", "broken"), Kind.SAME, 0),
        (cell("broken", "broken"), cell("broken", "broken", because="otherwise"), Kind.CHANGED, 0),
        (cell(kind="hazard"), cell("broken", "broken", kind="hazard"), Kind.GAINED, 0),
        (cell("broken", "broken", kind="hazard"), cell(kind="hazard"), Kind.LOST, 1),
        (cell(), cell("unknown"), Kind.UNKNOWN, 2),
        (cell("unknown"), cell(), Kind.UNKNOWN, 2),
        (cell(), cell("not-applicable"), Kind.UNKNOWN, 2),
        (cell("not-applicable"), cell(), Kind.UNKNOWN, 0),
        (cell(kind="hazard"), cell("not-applicable", kind="hazard"), Kind.UNKNOWN, 0),
        (cell("not-applicable"), cell("not-applicable"), Kind.SAME, 0),
    ],
)
def test_what_became_of_a_guarantee(before, after, kind, code):
    result = compared([before], [after])

    assert [change.kind for change in result.changes] == [kind]
    assert result.exit_code == code


def test_a_documented_loss_says_what_to_read_and_a_surprise_does_not():
    [documented] = compared([cell()], [cell("broken", "broken")]).changes
    [surprise] = compared([cell()], [cell("broken", reason="1 task was lost")]).changes

    assert documented.documented
    assert documented.read.url == NOTE["url"]
    assert not surprise.documented
    assert surprise.reason == "1 task was lost"


def test_specs_are_matched_by_slug_and_queue_type():
    result = compared([cell(), cell(slug="a.old")], [cell(queue_type="quorum"), cell()])

    kinds = {(change.slug, change.queue_type): change.kind for change in result.changes}
    assert kinds == {("a.b", "quorum"): Kind.ADDED, ("a.b", "classic"): Kind.SAME, ("a.old", "classic"): Kind.REMOVED}
    assert result.exit_code == 2, "what held before was not looked at after"


def test_an_allowed_loss_is_accepted_and_a_stale_allowance_is_not():
    assert compared([cell()], [cell("broken")], allowed=["a.b"]).exit_code == 0
    stale = compared([cell()], [cell()], allowed=["a.b"])
    assert stale.stale == ["a.b"]
    assert stale.exit_code == 1


def test_of_two_brokers_the_first_is_before():
    both = report(cell(broker="one"), cell(broker="two"))

    assert comparison.choose_two(both, None, None) == ("one", "two")
    assert comparison.choose_two(both, "two", None) == ("two", "one")
    with pytest.raises(comparison.CannotChoose, match="several"):
        comparison.choose(both, None, "--before-broker")


def test_what_others_say_is_no_markup():
    evil = "<script>|\n# x [a](b) `c` \x1b[31m@all"
    result = compared([cell(text=evil)], [cell("broken", text=evil, reason=evil)])

    page = changes.to_markdown(result)
    console = Console(record=True, width=200)
    changes.show(result, console)

    assert "<script>" not in page
    assert "@all" not in page
    rows = [line for line in page.splitlines() if line.startswith("| `a.b`")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 6
    assert "\x1b" not in page + console.export_text()


def test_code_holds_backticks():
    assert markdown.code("a`b") == "``a`b``"


def changed(change):
    document = copy.deepcopy(report(cell(), cell(slug="a.c")))
    change(document)
    return document


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda report: report.pop("footer"), "incomplete"),
        (lambda report: report["cells"].pop(), "footer"),
        (lambda report: (report["cells"].pop(), report["footer"].update(cells=1)), "no cell for 'a.c'"),
        (lambda report: report["planned"].pop(), "footer"),
        (lambda report: report["cells"][0].update(verdict="broken"), "tampered"),
        (lambda report: report["cells"][0].update(verdict="fine"), "'fine'"),
        (lambda report: report["cells"][0].update(slug="a.c"), "twice"),
        (lambda report: report.update(schema=2), "schema 2"),
        (lambda report: report.update(brokers={}), "which version"),
        (lambda report: report["cells"].__setitem__(0, 7), "not an object"),
    ],
)
def test_a_report_that_is_not_whole_is_refused(change, words, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(changed(change)))

    with pytest.raises(reading.NotAReport, match=words):
        reading.read(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000, "\xff"])
def test_what_is_no_report_is_refused(text, tmp_path):
    path = tmp_path / "report.json"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(reading.NotAReport):
        reading.read(path)
