"""Verdicts: only a failed claim makes a guarantee broken."""

import pytest

from workqueue.guarantee.verdict import Broken, NotApplicable, Unknown, Verdict, is_surprise, judge


@pytest.mark.parametrize(
    ("error", "in_call", "verdict"),
    [
        (None, True, Verdict.HOLDS),
        (Broken("it was lost"), True, Verdict.BROKEN),
        (AssertionError("it was lost"), True, Verdict.BROKEN),
        (AssertionError("in a fixture"), False, Verdict.UNKNOWN),
        (Broken("in a fixture"), False, Verdict.UNKNOWN),
        (Unknown("no worker"), True, Verdict.UNKNOWN),
        (RuntimeError("a bug of ours"), True, Verdict.UNKNOWN),
        (TimeoutError(), True, Verdict.UNKNOWN),
        (NotApplicable("no such feature"), True, Verdict.NOT_APPLICABLE),
        (NotApplicable("cannot restart it"), False, Verdict.NOT_APPLICABLE),
        (KeyboardInterrupt(), True, Verdict.UNKNOWN),
        (SystemExit(0), True, Verdict.UNKNOWN),
    ],
)
def test_only_a_failed_claim_breaks_a_guarantee(error, in_call, verdict):
    assert judge(error, in_call=in_call)[0] is verdict


def test_what_holds_needs_no_reason():
    assert judge(None, in_call=True) == (Verdict.HOLDS, "")


def test_the_reason_is_what_was_said():
    assert judge(Broken("it was lost"), in_call=True)[1] == "it was lost"


def test_an_error_of_the_harness_is_told_with_its_type():
    assert judge(RuntimeError("oops"), in_call=True)[1] == "RuntimeError: oops"


def test_an_error_without_a_message_still_has_a_reason():
    assert judge(Unknown(), in_call=True)[1] == "Unknown"
    assert judge(Broken("  \n"), in_call=True)[1] == "Broken"
    assert judge(RuntimeError(), in_call=True)[1] == "RuntimeError: RuntimeError"


@pytest.mark.parametrize(
    ("verdict", "expected", "surprise"),
    [
        (Verdict.HOLDS, Verdict.HOLDS, False),
        (Verdict.BROKEN, Verdict.BROKEN, False),
        (Verdict.BROKEN, Verdict.HOLDS, True),
        (Verdict.HOLDS, Verdict.BROKEN, True),
        (Verdict.UNKNOWN, Verdict.HOLDS, False),
        (Verdict.UNKNOWN, Verdict.BROKEN, False),
        (Verdict.NOT_APPLICABLE, Verdict.BROKEN, False),
        (Verdict.NOT_APPLICABLE, Verdict.HOLDS, False),
    ],
)
def test_a_verdict_against_its_expectation_is_a_surprise(verdict, expected, surprise):
    assert is_surprise(verdict, expected) is surprise
