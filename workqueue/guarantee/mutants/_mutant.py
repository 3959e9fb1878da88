"""What a mutant is, and how a method is replaced."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: The environment variable that names the file in which mistakes are counted.
MISTAKES_VARIABLE = "WORKQUEUE_MISTAKES"

#: To be called each time that the mistake is made.
Made = Callable[[], None]
Method = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One classic mistake.

    :param name: how it is asked for.
    :param mistake: what is wrong, as a sentence.
    :param apply: makes the mistake in this process, before the core is used.
    """

    name: str
    mistake: str
    apply: Callable[[Made], None]


def replace(owner: Any, name: str, around: Callable[[Method], Method]) -> None:
    """Replace a method (or a module's name) by what ``around`` makes of it."""
    setattr(owner, name, around(getattr(owner, name)))
