"""Proofs: that a spec can fail. It is run against a broker that breaks exactly its promise, and has to say so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workqueue.guarantee.expectation import QUEUE_TYPES
from workqueue.guarantee.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Caught:
    """A proof as it is declared: under this liar the spec's verdict is *broken*, and its reason says why.

    :param by: the name of a liar (`workqueue.wire.liars`), or ``mutant:`` and the name of a mutant.
    :param saying: a part of the reason; that the spec fails for another reason proves nothing.
    :param on: the queue types for which that is so.
    """

    by: str
    saying: str
    on: tuple[str, ...] = QUEUE_TYPES


def caught(by: str, saying: str, *, on: str | None = None) -> Caught:
    """Declare a proof; see `Caught`."""
    return Caught(by, saying, QUEUE_TYPES if on is None else (on,))


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof as it turned out.

    :param verdict: the spec's, under the liar.
    :param reason: the spec's reason.
    :param lies: how many the liar told.
    :param lacks: why this proves nothing; empty if it proves that the spec can fail.
    """

    slug: str
    queue_type: str
    broker: str
    by: str
    verdict: str
    reason: str
    lies: int
    lacks: str
    duration: float

    @property
    def holds(self) -> bool:
        """Whether the spec was seen to fail, and for the right reason."""
        return not self.lacks


def what_it_lacks(declared: Caught, verdict: Verdict, reason: str, lies: int) -> str:
    """Why a run under a liar proves nothing; empty if it proves that the spec can fail."""
    if not lies:
        return f"{declared.by} found nothing to lie about"
    if verdict is Verdict.HOLDS:
        return f"the spec holds, although {declared.by} lied {lies} times"
    if verdict is not Verdict.BROKEN:
        return f"the verdict is {verdict}, which is no proof: {reason}"
    if declared.saying not in reason:
        return f"the spec fails, but does not say {declared.saying!r}: {reason}"
    return ""


def matrix(proofs: list[Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """The kill matrix: guarantee → liar or mutant → the queue types for which it was caught."""
    found: dict[str, dict[str, list[str]]] = {}
    for proof in proofs:
        if not proof["lacks"]:
            found.setdefault(proof["slug"], {}).setdefault(proof["by"], []).append(proof["queue_type"])
    return found
