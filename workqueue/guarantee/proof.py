"""Proofs: that a spec can fail. It is run against a broker that breaks exactly its promise, and has to say so."""

from dataclasses import dataclass

from packaging.specifiers import SpecifierSet

from workqueue.guarantee.expectation import QUEUE_TYPES, parse_version
from workqueue.guarantee.verdict import Verdict

PROVEN, BLIND, UNKNOWN, NOT_NEEDED = "proven", "blind", "unknown", "not needed"


@dataclass(frozen=True, slots=True)
class Caught:
    """A proof as it is declared: under this liar the spec's verdict is *broken*, and its reason says why.

    :param by: the name of a liar (`workqueue.wire.liars`), or ``mutant:`` and the name of a mutant.
    :param saying: a part of the reason; that the spec fails for another reason proves nothing.
    :param on: the queue types for which that is so.
    :param versions: the RabbitMQ versions on which it is a lie (or a mistake) at all, as a :pep:`440` specifier set.
    """

    by: str
    saying: str
    on: tuple[str, ...] = QUEUE_TYPES
    versions: str = ""

    @property
    def mutant(self) -> str | None:
        """The name of the mutant, if it is one."""
        kind, _, name = self.by.rpartition(":")
        return name if kind == "mutant" else None

    def is_a_lie_on(self, version: str) -> bool:
        """Whether a broker of this version leaves it anything to lie about."""
        return SpecifierSet(self.versions).contains(parse_version(version), prereleases=True)


def caught(by: str, saying: str, *, on: str | None = None, versions: str = "") -> Caught:
    """Declare a proof; see `Caught`."""
    return Caught(by, saying, QUEUE_TYPES if on is None else (on,), versions)


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof as it turned out.

    :param outcome: ``proven`` if the spec was seen to fail for the right reason, ``not needed`` if on this broker it
        fails (or says nothing) without any liar, ``blind`` if the spec failed to see the liar, else ``unknown``.
    :param verdict: the spec's, under the liar.
    :param reason: the spec's reason.
    :param lies: how many the liar told.
    :param why: why it is not proven, or not needed.
    """

    slug: str
    queue_type: str
    broker: str
    by: str
    outcome: str
    verdict: str
    reason: str
    lies: int
    why: str
    duration: float


def judge_proof(declared: Caught, verdict: Verdict, reason: str, lies: int) -> tuple[str, str]:
    """What a run under a liar proves: its outcome, and why it is not ``proven``."""
    if not lies:
        return BLIND, f"{declared.by} found nothing to lie about"
    if verdict is Verdict.HOLDS:
        return BLIND, f"the spec holds, although {declared.by} lied ({lies} times)"
    if verdict is not Verdict.BROKEN:
        return UNKNOWN, f"the verdict is {verdict.value}, which is no proof: {reason}"
    if declared.saying not in reason:
        return BLIND, f"the spec fails, but does not say {declared.saying!r}: {reason}"
    return PROVEN, ""
