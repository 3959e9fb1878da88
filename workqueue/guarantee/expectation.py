"""Expectations as data: on which brokers and queue types a guarantee is known not to hold, and who says so.

A guarantee holds everywhere unless a :class:`BrokenOn` says otherwise. Nothing is ever skipped for its
version: the spec runs, and its verdict is compared with what is expected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from workqueue.guarantee.sources import Source
from workqueue.guarantee.verdict import Verdict

CLASSIC = "classic"
QUORUM = "quorum"
QUEUE_TYPES = (CLASSIC, QUORUM)


@dataclass(frozen=True, slots=True)
class BrokenOn:
    """Where a guarantee is known to be broken.

    :param queue_type: ``classic`` or ``quorum``.
    :param versions: RabbitMQ versions, as a :pep:`440` specifier set such as ``">=3.8.15,<4.3"``; empty for all.
    :param because: what the broker does instead, in a sentence.
    :param source: the release note, documentation or source file that says so.
    :param configured: facts of the broker's configuration that must hold too, such as
        ``{"permit.transient_nonexcl_queues": "false"}``.
    """

    queue_type: str
    versions: str
    because: str
    source: Source
    configured: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.queue_type not in QUEUE_TYPES:
            raise ValueError(f"unknown queue type {self.queue_type!r}; known: {', '.join(QUEUE_TYPES)}")
        SpecifierSet(self.versions)

    def covers(self, queue_type: str, version: Version, configuration: Mapping[str, str]) -> bool:
        """Whether this exception speaks of such a broker and queue."""
        return (
            queue_type == self.queue_type
            and SpecifierSet(self.versions).contains(version, prereleases=True)
            and all(configuration.get(key) == value for key, value in self.configured.items())
        )


def parse_version(text: str) -> Version:
    """Read a broker's version; what a packager or pre-release build appended to it does not matter here.

    :raises ValueError: if no version can be found in it.
    """
    candidate = text.strip()
    while candidate:
        try:
            return Version(candidate)
        except InvalidVersion:
            # "4.3.6+dfsg~1" or "4.1.0-rc.1-12-gabcdef": drop the last separated part and try again.
            shorter = max(candidate.rfind(mark) for mark in "-+~.")
            candidate = candidate[: max(shorter, 0)]
    raise ValueError(f"the broker calls its version {text!r}, which names no version")


def expected(
    exceptions: Sequence[BrokenOn], queue_type: str, version: str, configuration: Mapping[str, str]
) -> tuple[Verdict, BrokenOn | None]:
    """What verdict to expect on a broker, and the exception that says so if it is not ``holds``."""
    parsed = parse_version(version)
    for exception in exceptions:
        if exception.covers(queue_type, parsed, configuration):
            return Verdict.BROKEN, exception
    return Verdict.HOLDS, None
