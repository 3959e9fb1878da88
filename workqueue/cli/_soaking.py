"""The progress of `workqueue soak`: a line that is kept up to date on a terminal, a line now and then elsewhere."""

import time

from rich.console import Console
from rich.text import Text

from workqueue.guarantee.soak.run import Progress

_SECONDS = 1.0  # between two updates on a terminal
_SECONDS_ELSEWHERE = 10.0


class Soaking:
    """Shows on standard error how far a soak is."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._planned = seconds
        self._console = Console(stderr=True)
        self._told_at = 0.0
        self._told = (0, 0.0)
        self._status = self._console.status(Text(name)) if self._console.is_terminal else None
        if self._status is not None:
            self._status.start()

    def tell(self, progress: Progress) -> None:
        """Show it, unless that was done a moment ago."""
        moment = time.monotonic()
        if moment - self._told_at < (_SECONDS if self._status else _SECONDS_ELSEWHERE):
            return
        line = self._line(progress)
        self._told_at = moment
        if self._status is not None:
            self._status.update(Text(line))
        else:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the line away."""
        if self._status is not None:
            self._status.stop()

    def _line(self, progress: Progress) -> str:
        counts = progress.counts
        published, seconds = counts["published"], progress.seconds
        speed = (published - self._told[0]) / max(seconds - self._told[1], 0.001)
        self._told = (published, seconds)
        under_way = max(counts["confirmed"] - counts["acked"], 0)
        parts = [
            f"{self._name} {progress.phase} {seconds:.0f} of {self._planned:.0f} s",
            f"{published:,} published ({speed:,.0f}/s)",
            f"{counts['acked']:,} acked",
            f"{under_way:,} under way",
            f"{progress.landed} faults",
        ]
        if progress.missed:
            parts.append(f"{progress.missed} missed")
        if progress.doing is not None:
            parts.append(f"{progress.doing.fault}: {progress.doing.target}")
        return ", ".join(parts)
