"""Telling on standard error what takes time: a bar on a terminal, a line for each step elsewhere."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from workqueue.broker.progress import Progress


@contextlib.contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """Yield a `Progress` to hand to a provider; the bar is gone afterwards."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    with Bar(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("", total=None)

        def show(message: str, fraction: float | None = None) -> None:
            bar.update(task, description=message, total=None if fraction is None else 1.0, completed=fraction or 0)

        yield show


def _lines(console: Console) -> Progress:
    told: list[str] = []

    def tell(message: str, fraction: float | None = None) -> None:  # noqa: ARG001 - a step is told once
        if message not in told[-1:]:
            told.append(message)
            console.print(message, markup=False, highlight=False, soft_wrap=True)

    return tell
