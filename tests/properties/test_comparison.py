"""Comparing reports: nothing is counted twice or left out, and the way back mirrors the way there."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from workqueue.guarantee.verdict import Verdict, is_surprise
from workqueue.report.comparison import Kind, Side, compare

NOTE = {"title": "release notes", "url": "https://example.org/"}
SLUGS = tuple(f"chapter.{name}" for name in ("one", "two", "three"))
HAZARDS = (SLUGS[0],)  # what is a hazard is one everywhere
TOLD = (Verdict.HOLDS, Verdict.BROKEN)


def all_cells(verdicts):
    for verdict, expected, text, reason in itertools.product(verdicts, TOLD, ("", "It holds."), ("", "1 was lost")):
        cell = {"verdict": verdict.value, "expected": expected.value, "text": text, "reason": reason}
        cell |= {"surprise": is_surprise(verdict, expected), "because": "", "because_source": None}
        if expected is Verdict.HOLDS:
            yield cell
        else:
            for because, source in itertools.product(("it is gone", "it is late"), (NOTE, None)):
                yield cell | {"because": because, "because_source": source}


def sides(verdicts=tuple(Verdict)):
    keys = st.tuples(st.sampled_from(SLUGS), st.sampled_from(["classic", "quorum"]))
    return st.dictionaries(keys, st.sampled_from(list(all_cells(verdicts)))).map(a_side)


def a_side(cells):
    made = {
        (slug, queue_type): cell
        | {"slug": slug, "queue_type": queue_type, "kind": "hazard" if slug in HAZARDS else "guarantee"}
        for (slug, queue_type), cell in cells.items()
    }
    return Side("debian:trixie", "4.0.5", made)


def keys_of(changes):
    return sorted((change.slug, change.queue_type) for change in changes)


@given(sides())
def test_a_report_compared_with_itself_has_not_changed(side):
    comparison = compare(side, side)

    for change in comparison.changes:
        unknown = side.cells[change.slug, change.queue_type]["verdict"] == "unknown"
        assert change.kind is (Kind.UNKNOWN if unknown else Kind.SAME)
    assert comparison.exit_code == (2 if comparison.of(Kind.UNKNOWN) else 0)


@given(sides(), sides())
def test_every_cell_of_either_report_is_in_exactly_one_class(before, after):
    comparison = compare(before, after)

    assert keys_of(comparison.changes) == sorted({*before.cells, *after.cells})
    assert keys_of(change for kind in Kind for change in comparison.of(kind)) == keys_of(comparison.changes)


@given(sides(TOLD), sides(TOLD))
def test_what_is_lost_on_the_way_there_is_gained_on_the_way_back(before, after):
    there, back = compare(before, after), compare(after, before)

    mirrored = {Kind.LOST: Kind.GAINED, Kind.GAINED: Kind.LOST, Kind.ADDED: Kind.REMOVED, Kind.REMOVED: Kind.ADDED}
    for kind in Kind:
        assert keys_of(there.of(kind)) == keys_of(back.of(mirrored.get(kind, kind))), kind
    assert {keys_of([change])[0]: change.documented for change in there.changes} == {
        keys_of([change])[0]: change.documented for change in back.changes
    }


@given(sides(), sides())
def test_what_was_there_before_and_after_is_told_as_it_was(before, after):
    for change in compare(before, after).changes:
        key = change.slug, change.queue_type
        for side, told in ((before, change.before), (after, change.after)):
            assert told == (side.cells[key]["verdict"] if key in side.cells else "-")
        assert change.hazard == (change.slug in HAZARDS)


@given(sides(), sides())
def test_a_documented_change_has_no_surprise_and_a_surprise_keeps_its_reason(before, after):
    for change in compare(before, after).changes:
        there = [side.cells[key] for side in (after, before) if (key := (change.slug, change.queue_type)) in side.cells]
        if change.documented:
            assert change.kind in (Kind.LOST, Kind.GAINED, Kind.CHANGED)
            assert not any(cell["surprise"] for cell in there)
            assert change.because in [cell["because"] for cell in there]
            assert change.because
            assert not change.reason
        else:
            assert not change.because
            assert change.read is None


def a_loss(before, after, slug):
    """What one would call so: a guarantee that held is broken, or a hazard that was not there is (it "holds")."""
    gone = ("broken", "holds") if slug in HAZARDS else ("holds", "broken")
    return (before["verdict"], after["verdict"]) == gone


@given(sides(), sides())
def test_no_loss_goes_unseen(before, after):
    comparison = compare(before, after)
    both = before.cells.keys() & after.cells.keys()
    losses = [key for key in both if a_loss(before.cells[key], after.cells[key], key[0])]

    assert keys_of(comparison.lost) == sorted(losses)
    if losses:
        assert comparison.exit_code == 1


@given(sides(), sides())
def test_without_an_exit_code_nothing_that_was_good_is_worse_or_untold(before, after):
    if compare(before, after).exit_code == 0:
        for (slug, queue_type), cell in before.cells.items():
            good = "broken" if slug in HAZARDS else "holds"
            if cell["verdict"] == good:
                assert after.cells[slug, queue_type]["verdict"] == good


@given(sides(), sides(), st.frozensets(st.sampled_from((*SLUGS, "chapter.gone"))))
def test_what_is_allowed_is_not_told_and_what_is_allowed_in_vain_is(before, after, allowed):
    strict, lenient = compare(before, after), compare(before, after, allowed=allowed)

    told = {change.slug for change in [*strict.lost, *strict.untold]}
    assert lenient.stale == sorted(allowed - told)
    assert {change.slug for change in [*lenient.lost, *lenient.untold]} == told - allowed
    assert lenient.changes == strict.changes
    assert compare(before, after, allowed=told).exit_code == 0
