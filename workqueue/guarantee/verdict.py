"""Verdicts: what a spec's run says of its guarantee, and how that compares with what was expected.

Four verdicts, and the rule that separates them: only a failed *claim* makes a guarantee ``broken``.
Whatever goes wrong in the harness, a process that does not start, a barrier that is not reached, a fault that
cannot be shown to have landed, leaves the verdict ``unknown``.
"""

import ast
import enum
import functools
import traceback
from pathlib import Path


class Verdict(enum.StrEnum):
    """What one run of a spec says of its guarantee."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not-applicable"


class Broken(AssertionError):  # noqa: N818 - a verdict, not an error of the caller's
    """The claim was put to the test and failed. The message says what the broker did instead."""


class Unknown(Exception):  # noqa: N818 - a verdict, not an error of the caller's
    """The harness could not tell: a barrier was missed, or a fault could not be shown to have landed."""


class NotApplicable(Exception):  # noqa: N818 - a verdict, not an error
    """The guarantee says nothing about this broker. The message says why."""


def judge(error: BaseException | None, *, in_call: bool) -> tuple[Verdict, str]:
    """Turn how a spec ended into a verdict and its reason.

    :param error: what the spec or its set-up raised, or None.
    :param in_call: whether the spec's own body raised it. Set-up and tear-down never break a guarantee.
    """
    if error is None:
        return Verdict.HOLDS, ""
    reason = str(error).strip() or type(error).__name__
    if isinstance(error, AssertionError) and in_call and reason.startswith("assert") and (claimed := _claimed(error)):
        # An assertion without words of its own: say what was claimed, not only the values that it met.
        reason = f"`{claimed}` was claimed: {reason}"
    if isinstance(error, NotApplicable):
        return Verdict.NOT_APPLICABLE, reason
    if isinstance(error, AssertionError) and in_call:
        return Verdict.BROKEN, reason
    if not isinstance(error, Unknown):
        reason = f"{type(error).__name__}: {reason}"
    return Verdict.UNKNOWN, reason


def _claimed(error: AssertionError) -> str:
    """What a bare ``assert`` asserted, as it was written; empty if that cannot be told."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        for node in ast.walk(_parsed(frame.filename)):
            if isinstance(node, ast.Assert) and node.lineno <= (frame.lineno or 0) <= (node.end_lineno or 0):
                return ast.unparse(node.test)
    return ""


@functools.cache
def _parsed(path: str) -> ast.Module:
    try:
        return ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def is_surprise(verdict: Verdict, expected: Verdict) -> bool:
    """Whether a verdict contradicts its expectation.

    An ``unknown`` is not a surprise: it says nothing, and is counted on its own. Nor is ``not-applicable``: its
    reason is shown, and nothing was tested.
    """
    if verdict in (Verdict.UNKNOWN, Verdict.NOT_APPLICABLE):
        return False
    return verdict is not expected
