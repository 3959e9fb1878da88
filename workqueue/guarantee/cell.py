"""A cell of the matrix: what one guarantee did on one broker with one queue type, as plain data."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from workqueue.broker import About
from workqueue.guarantee.catalogue import Guarantee
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.expectation import expected
from workqueue.guarantee.verdict import Verdict, is_surprise


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run of a spec ended.

    :param verdict: see `workqueue.guarantee.verdict`.
    :param reason: why, if it does not simply hold.
    :param duration: seconds, set-up and tear-down included.
    """

    verdict: Verdict
    reason: str
    duration: float


def cell(
    guarantee: Guarantee, queue_type: str, spec: str, about: About | None, outcome: Outcome, evidence: Evidence
) -> dict[str, Any]:
    """Put together what the report needs of one run; JSON can hold it.

    :param spec: the broker spec, without password.
    :param about: the broker, or None if it never answered.
    """
    wanted, exception = Verdict.HOLDS, None
    if about is not None:
        wanted, exception = expected(guarantee.broken_on, queue_type, about.version, about.configuration)
    return {
        "slug": guarantee.slug,
        "chapter": guarantee.chapter,
        "kind": guarantee.kind,
        "text": guarantee.text,
        "source": dataclasses.asdict(guarantee.source),
        "broker": spec,
        "about": None if about is None else dataclasses.asdict(about) | {"configuration": dict(about.configuration)},
        "queue_type": queue_type,
        "verdict": outcome.verdict.value,
        "expected": wanted.value,
        "because": "" if exception is None else f"{exception.because} ({exception.source.title})",
        "because_source": None if exception is None else dataclasses.asdict(exception.source),
        "surprise": is_surprise(outcome.verdict, wanted),
        "reason": outcome.reason,
        "trials": 1,
        "duration": round(outcome.duration, 3),
        "evidence": [f"{note.who}: {note.what}" for note in evidence.notes if note.proves],
        "timeline": [dataclasses.asdict(note) for note in evidence.timeline()],
    }
