"""Proofs: what counts as one, what a report says of them, and that every guarantee and every liar has its own."""

import io

import pytest
from rich.console import Console

from workqueue.guarantee import catalogue, conductor
from workqueue.guarantee.catalogue import Guarantee
from workqueue.guarantee.mutants import MUTANTS
from workqueue.guarantee.proof import Caught, caught, judge_proof
from workqueue.guarantee.sources import Source
from workqueue.guarantee.verdict import Verdict
from workqueue.report import proofs, terminal
from workqueue.wire.liars import LIARS

SOURCE = Source("a page", "https://example.org")
PROVEN = Guarantee("a.proven", "It holds.", SOURCE, proved_by=(caught("swallows-acks", "came back"),))
UNPROVEN = Guarantee("a.unproven", "It holds.", SOURCE, unproven="nobody can lie about it")
DECLARED = caught("swallows-acks", "came back")


@pytest.fixture(scope="module")
def known():
    return catalogue.load()


@pytest.mark.parametrize(
    ("verdict", "reason", "lies", "outcome"),
    [
        (Verdict.BROKEN, "the task came back", 1, "proven"),
        (Verdict.BROKEN, "the task came back", 0, "blind"),  # by chance, then
        (Verdict.BROKEN, "something else", 1, "blind"),
        (Verdict.HOLDS, "", 1, "blind"),
        (Verdict.UNKNOWN, "the task came back", 1, "unknown"),
    ],
)
def test_only_a_broken_verdict_for_the_right_reason_is_a_proof(verdict, reason, lies, outcome):
    found, why = judge_proof(DECLARED, verdict, reason, lies)

    assert found == outcome
    assert (why == "") is (outcome == "proven")


@pytest.mark.parametrize(
    ("verdict", "reason", "lies", "why"),
    [
        (Verdict.HOLDS, "", 3, "the spec holds, although swallows-acks lied (3 times)"),
        (Verdict.HOLDS, "", 0, "swallows-acks found nothing to lie about"),
        (Verdict.UNKNOWN, "no worker", 1, "the verdict is unknown, which is no proof: no worker"),
        (Verdict.BROKEN, "all is lost", 1, "the spec fails, but does not say 'came back': all is lost"),
    ],
)
def test_why_a_run_proves_nothing_is_told(verdict, reason, lies, why):
    assert judge_proof(DECLARED, verdict, reason, lies)[1] == why


def test_a_proof_speaks_of_both_queue_types_and_all_versions_unless_it_says_otherwise():
    everywhere, somewhere = caught("auto-acks", "gone"), caught("auto-acks", "gone", on="quorum", versions=">=4")

    assert everywhere == Caught("auto-acks", "gone", ("classic", "quorum"), "")
    assert somewhere == Caught("auto-acks", "gone", ("quorum",), ">=4")
    assert everywhere.mutant is None
    assert [somewhere.is_a_lie_on(version) for version in ("3.13.7", "4.0.5", "4.1.0-rc.1")] == [False, True, True]
    assert everywhere.is_a_lie_on("4.3.0-beta.1")


def test_the_matrix_is_in_the_report_where_proofs_were_asked_for():
    asked = proofs.section([PROVEN], [run("proven")], {})

    assert asked["runs"] == [run("proven")]
    assert asked["matrix"] == {"a.proven": {"swallows-acks": ["debian:forky classic"]}}


def test_a_report_without_proofs_is_no_surprise():
    assert proofs.exit_code(proofs.section([UNPROVEN], None, {})) == 0


def test_one_failed_proof_of_several_leaves_it_proven_there():
    runs = [run("unknown", by="auto-acks", queue_type="quorum"), run("proven"), run("blind", by="auto-acks")]
    runs.append(run("not needed", slug="a.not-needed"))

    assert proofs.section([PROVEN], runs, {})["unproven"] == {"a.proven": "on debian:forky, quorum: ."}


def run(outcome, *, slug="a.proven", by="swallows-acks", queue_type="classic"):
    return {"slug": slug, "broker": "debian:forky", "queue_type": queue_type, "by": by, "outcome": outcome, "why": "."}


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [([], 0), (["proven", "not needed"], 0), (["proven", "unknown"], 2), (["unknown", "blind"], 1)],
)
def test_a_spec_that_sees_nothing_is_a_surprise_and_no_answer_is_unknown(outcomes, code):
    assert proofs.exit_code(proofs.section([], [run(each) for each in outcomes], {})) == code


def test_a_guarantee_without_a_proof_is_unproven_in_every_report():
    assert proofs.section([PROVEN, UNPROVEN], None, {}) == {"unproven": {"a.unproven": "nobody can lie about it"}}


def test_a_guarantee_whose_proof_failed_or_did_not_run_is_unproven_where_proofs_were_asked_for():
    failed = proofs.section([PROVEN], [run("proven"), run("blind", queue_type="quorum")], {})
    not_run = proofs.section([PROVEN], [], {"a.proven": "the broker was lost"})

    assert failed["unproven"] == {"a.proven": "on debian:forky, quorum: ."}
    assert not_run["unproven"] == {"a.proven": "the broker was lost"}


def test_the_kill_matrix_tells_which_liar_is_caught_by_which_guarantee_and_where():
    runs = [run("proven"), run("proven", queue_type="quorum"), run("proven", by="auto-acks"), run("blind", slug="a.b")]

    assert proofs.matrix(runs) == {
        "a.proven": {
            "swallows-acks": ["debian:forky classic", "debian:forky quorum"],
            "auto-acks": ["debian:forky classic"],
        }
    }


def test_the_terminal_tells_what_is_not_proven_and_why():
    shown = io.StringIO()
    terminal.show_proofs(proofs.section([UNPROVEN], [run("blind")], {}), Console(file=shown, width=120))

    assert "Not proven: a.proven on debian:forky, classic, by swallows-acks" in shown.getvalue()
    assert "a.unproven: nobody can lie about it" in shown.getvalue()


def test_proofs_are_planned_beside_the_specs():
    groups = conductor.plan({"one": "one"}, ["classic", "quorum"], [PROVEN, UNPROVEN], prove=True)

    assert [(group.name, group.planned) for group in groups if group.proves] == [
        ("one classic proofs", [("a.proven", "classic", "swallows-acks")]),
        ("one quorum proofs", [("a.proven", "quorum", "swallows-acks")]),
    ]


def test_a_mistake_that_is_none_on_a_version_is_known():
    mutant = Caught("mutant:nack-where-reject-is-due", "", versions=">=4.3")

    assert mutant.mutant == "nack-where-reject-is-due"
    assert (mutant.is_a_lie_on("4.3.6"), mutant.is_a_lie_on("4.0.5+dfsg")) == (True, False)


def test_every_guarantee_is_proven_or_says_why_not(known):
    assert [entry.slug for entry in known.values() if bool(entry.proved_by) == bool(entry.unproven)] == []


def test_every_proof_names_a_liar_or_a_mutant_and_what_the_spec_says_then(known):
    declared = {(entry.slug, each.by, each.saying) for entry in known.values() for each in entry.proved_by}

    assert [each for each in declared if each[1] not in LIARS and each[1].removeprefix("mutant:") not in MUTANTS] == []
    assert [each for each in declared if len(each[2]) < 8] == []


def test_every_liar_and_every_mutant_is_caught_by_some_spec(known):
    caught_by_some = {each.by for entry in known.values() for each in entry.proved_by}

    assert set(LIARS) | {f"mutant:{name}" for name in MUTANTS} == caught_by_some
