"""The progress of ``workqueue verify``: bars on a terminal, a line for each verdict elsewhere."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from workqueue.guarantee.conductor import Group
from workqueue.report.document import kind


class Live:
    """Shows on standard error how far each group is."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._console = Console(stderr=True)
        self._bars: Progress | None = None
        self._tasks: dict[Group, TaskID] = {}
        self._done = 0
        self._total = sum(len(group.planned) for group in groups)
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[latest]}", style="dim"),
                console=self._console,
                transient=True,
            )
            for group in groups:
                self._tasks[group] = self._bars.add_task(group.name, total=len(group.planned), latest="")

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def tell(self, group: Group, cell: dict[str, Any]) -> None:
        """Show a verdict."""
        self._done += 1
        if self._bars is not None:
            self._bars.update(self._tasks[group], advance=1, latest=cell["slug"])
            return
        what = f"{cell['outcome']} by {cell['by']}" if group.proves else kind(cell)
        line = f"[{self._done}/{self._total}] {group.name}  {cell['slug']}  {what}  {cell['duration']:.1f} s"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
