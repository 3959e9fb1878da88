"""What a broker answers to publishes: returns and confirms."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Returned:
    """A mandatory message that the broker sent back."""

    task: str
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker's answer to a publish: ``basic.ack`` or, with ``ok=False``, ``basic.nack``.

    :param at: :func:`time.monotonic` reading when it came.
    """

    tag: int
    ok: bool
    multiple: bool
    at: float = field(compare=False)


def answered(confirms: Sequence[Confirmed], count: int) -> list[int]:
    """The numbers of the first `count` publishes of a channel that were answered, each as often as it was."""
    outstanding, numbers = set(range(1, count + 1)), list[int]()
    for confirm in confirms:
        # With multiple, an answer is for all that are outstanding up to its tag, and for that one in any case.
        covered = {number for number in outstanding if confirm.multiple and number < confirm.tag} | {confirm.tag}
        outstanding -= covered
        numbers += covered
    return numbers
