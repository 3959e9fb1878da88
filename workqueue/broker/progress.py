"""How a provider tells what it is doing while the user waits."""

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done now, and how far that is (0 to 1) where that is known."""

    def __call__(self, message: str, fraction: float | None = None) -> None:
        """Tell it."""


def silent(message: str, fraction: float | None = None) -> None:
    """Tell nobody."""
