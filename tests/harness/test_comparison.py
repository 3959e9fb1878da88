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


def test_an_allowed_loss_is_accepted():
    assert compared([cell()], [cell("broken")], allowed=["a.b"]).exit_code == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (cell(), cell()),
        (cell("broken", "broken"), cell()),
        (cell("broken", "broken"), cell("broken", "broken", because="otherwise")),
        (cell("not-applicable"), cell()),
        (None, cell()),
        (cell("broken", "broken"), None),
    ],
)
def test_an_allowance_of_what_was_not_lost_is_stale(before, after):
    result = compared([before] if before else [], [after] if after else [], allowed=["a.b", "a.a"])

    assert result.stale == ["a.a", "a.b"]
    assert result.exit_code == 1


def test_a_stale_allowance_and_a_loss_weigh_more_than_what_is_untold():
    untold = ([cell(slug="a.c")], [cell("unknown", slug="a.c")])

    assert compared(*untold).exit_code == 2
    assert compared(*untold, allowed=["a.c"]).exit_code == 0
    assert compared(*untold, allowed=["a.d"]).exit_code == 1
    assert compared([cell(), *untold[0]], [cell("broken"), *untold[1]]).exit_code == 1


@pytest.mark.parametrize(
    ("before", "after", "kind", "code"),
    [
        (None, cell(), Kind.ADDED, 0),
        (None, cell("broken"), Kind.ADDED, 0),
        (None, cell("not-applicable"), Kind.ADDED, 0),
        (None, cell("unknown"), Kind.UNKNOWN, 2),
        (cell(), None, Kind.REMOVED, 2),
        (cell("broken", "broken"), None, Kind.REMOVED, 0),
        (cell("not-applicable"), None, Kind.REMOVED, 0),
        (cell("unknown"), None, Kind.REMOVED, 2),
        (cell(kind="hazard"), None, Kind.REMOVED, 0),
        (cell("broken", "broken", kind="hazard"), None, Kind.REMOVED, 2),
        (cell("broken", "broken", kind="hazard"), cell("not-applicable", kind="hazard"), Kind.UNKNOWN, 2),
        (cell("broken"), cell("broken", "broken"), Kind.SAME, 0),
        (cell("broken", because="one"), cell("broken", because="another"), Kind.SAME, 0),
        (cell(because="one"), cell(because="another"), Kind.SAME, 0),
        (cell("holds", "broken", because="one"), cell("holds", "broken", because="another"), Kind.SAME, 0),
    ],
)
def test_what_became_of_what_is_on_one_side_only_or_is_as_before(before, after, kind, code):
    result = compared([before] if before else [], [after] if after else [])

    assert [change.kind for change in result.changes] == [kind]
    assert (result.changes[0].before, result.changes[0].after) == (
        before["verdict"] if before else "-",
        after["verdict"] if after else "-",
    )
    assert result.exit_code == code


def test_a_change_that_surprises_is_not_documented_even_if_the_other_side_is():
    """Expected broken before and found so; expected broken after too, and it holds: the exception is stale."""
    [change] = compared([cell("broken", "broken")], [cell("holds", "broken", reason="it came back")]).changes

    assert change.kind is Kind.GAINED
    assert (change.documented, change.because, change.read) == (False, "", None)
    assert change.reason == "it came back"


def test_what_has_not_changed_is_not_documented_as_a_change():
    [change] = compared([cell("broken", "broken")], [cell("broken", "broken")]).changes

    assert (change.documented, change.because, change.read, change.reason) == (False, "", None, "")


def test_a_documented_exception_may_have_no_page_to_read():
    [change] = compared([cell()], [cell("broken", "broken", because_source=None)]).changes

    assert change.documented
    assert change.because == "it is gone"
    assert change.read is None


def test_what_to_read_has_a_title_and_an_address():
    [change] = compared([cell()], [cell("broken", "broken")]).changes

    assert (change.read.title, change.read.url) == (NOTE["title"], NOTE["url"])


def test_the_reason_is_that_of_after_or_else_of_before():
    both = compared([cell(reason="then")], [cell("broken", reason="now")])
    only_before = compared([cell("broken", reason="then")], [cell()])
    neither = compared([cell()], [cell("broken")])

    assert [result.changes[0].reason for result in (both, only_before, neither)] == ["now", "then", ""]


def test_the_text_is_that_of_after_or_else_of_before():
    new = compared([cell(text="It held.")], [cell(text="It holds.")])
    old = compared([cell(text="It held.")], [cell(text="")])
    none = compared([cell(text="")], [cell(text="")])

    assert [result.changes[0].text for result in (new, old, none)] == ["It holds.", "It held.", ""]


def test_remarks_are_kept_and_there_are_none_otherwise():
    side = comparison.side(report(cell()), "debian:trixie", ("classic",))

    assert comparison.compare(side, side, remarks=["by an older version"]).remarks == ["by an older version"]
    assert list(comparison.compare(side, side).remarks) == []


def test_a_side_has_the_cells_of_its_broker_and_queue_types():
    whole = report(cell(), cell(queue_type="quorum"), cell(broker="other"), cell(broker="other", queue_type="quorum"))

    side = comparison.side(whole, "other", ("quorum",))

    assert (side.broker, side.version) == ("other", "4.0.5")
    assert side.cells == {("a.b", "quorum"): whole["cells"][3]}


@pytest.mark.parametrize("about", [{}, {"debian:trixie": None}])
def test_a_broker_that_never_answered_has_an_unknown_version(about):
    silent = report(cell("unknown")) | {"brokers": about}

    assert comparison.side(silent, "debian:trixie", ("classic",)).version == "unknown version"


def with_brokers(*names):
    return report(*(cell(broker=name) for name in names))


@pytest.mark.parametrize(
    ("there", "before", "after", "chosen"),
    [
        ("one two", None, None, "one two"),
        ("one two", "two", None, "two one"),
        ("one two", "one", None, "one two"),
        ("one two", None, "one", "two one"),
        ("one two", None, "two", "one two"),
        ("one two", "two", "one", "two one"),
        ("one two", "two", "two", "two two"),
        ("one two three", "three", "one", "three one"),
    ],
)
def test_of_two_brokers_the_first_is_before_unless_one_says_otherwise(there, before, after, chosen):
    assert comparison.choose_two(with_brokers(*there.split()), before, after) == tuple(chosen.split())


@pytest.mark.parametrize(
    ("there", "before", "after", "says"),
    [
        (
            "one",
            None,
            None,
            "There is one broker in the report, and nothing to compare it with: give a second report.",
        ),
        (
            "one two three",
            None,
            "one",
            "The report has several brokers; say which with --before-broker. It has: one, two, three.",
        ),
        (
            "one two three",
            "one",
            None,
            "The report has several brokers; say which with --after-broker. It has: one, two, three.",
        ),
        ("one two", "oen", None, "There is no broker 'oen' in the report for --before-broker. It has: one, two."),
        ("one two", None, "tow", "There is no broker 'tow' in the report for --after-broker. It has: one, two."),
    ],
)
def test_a_choice_that_is_not_clear_is_handed_back_with_what_there_is(there, before, after, says):
    with pytest.raises(comparison.CannotChoose) as refusal:
        comparison.choose_two(with_brokers(*there.split()), before, after)

    assert str(refusal.value) == says


def test_the_only_broker_needs_no_name():
    assert comparison.choose(with_brokers("one"), None, "--before-broker") == "one"
    assert comparison.choose(with_brokers("one", "two"), "two", "--before-broker") == "two"


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
