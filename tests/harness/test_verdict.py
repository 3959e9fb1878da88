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


def reason_of(assertion, *arguments):
    with pytest.raises(AssertionError) as failure:
        assertion(*arguments)
    return judge(failure.value, in_call=True)[1]


def one_line(tasks):
    assert tasks == ["second"]


def several_lines(tasks, others):
    assert tasks and others  # it holds: the other one is meant
    assert sorted(tasks) == sorted(
        others,
    )


def in_a_helper(tasks):
    one_line(tasks)


def with_words(tasks):
    assert tasks == ["second"], "a task was lost"


def test_a_bare_assertion_says_what_was_claimed():
    values = "assert ['first'] == ['second']"
    assert reason_of(one_line, ["first"]).startswith(f"`tasks == ['second']` was claimed: {values}")
    assert reason_of(several_lines, ["first"], ["second"]).startswith(
        f"`sorted(tasks) == sorted(others)` was claimed: {values}"
    )


def test_the_innermost_assertion_is_the_one_that_failed():
    assert reason_of(in_a_helper, ["first"]).startswith("`tasks == ['second']` was claimed: ")


def test_an_assertion_with_words_of_its_own_is_told_in_them():
    assert reason_of(with_words, ["first"]).startswith("a task was lost\n")


def test_an_assertion_from_nowhere_is_told_as_it_is(tmp_path):
    never_raised = AssertionError("assert 1 == 2")
    assert judge(never_raised, in_call=True)[1] == "assert 1 == 2"

    for source in ("<string>", str(tmp_path), str(tmp_path / "gone.py")):
        with pytest.raises(AssertionError) as failure:
            exec(compile("raise AssertionError('assert 1 == 2')", source, "exec"))
        # The frame that counts is the one in the text that nobody can read; this file's have no assertion there.
        assert judge(failure.value, in_call=True)[1] == "assert 1 == 2"


def test_where_nothing_was_tested_nothing_was_claimed():
    with pytest.raises(AssertionError) as failure:
        one_line(["first"])
    verdict, reason = judge(failure.value, in_call=False)

    assert verdict is Verdict.UNKNOWN
    assert "was claimed" not in reason
