"""Results as tables in Markdown, which are aligned so that a terminal shows them well, too."""

import collections
from collections.abc import Callable, Sequence

from .model import Contender, Setting
from .registry import REFERENCE
from .summary import MAIN_FIGURE, Cell, Summary
from .targets import judged, met

_TITLES = {
    "publish": "Publishing: messages/s, every one confirmed",
    "consume": "Consuming: messages/s, manual acks, no-op handler",
    "roundtrip": "Round trip, one at a time: median / p99 in ms",
    "memory": "Peak memory of the process: publishing / consuming, MB",
    "redelivery": "SIGKILL of a worker to the next worker's handler: median / worst in ms",
    "million": "One worker, many tasks: resident MB after a tenth → at the end (ratio), tasks/s",
}


def tables(summary: Summary, contenders: Sequence[Contender]) -> str:
    """A table a measure, then the targets, then what failed."""
    parts = [_measure(summary, measure, contenders) for measure in summary.measures()]
    parts += [each for each in (_targets(summary), _came_back(summary), _failures(summary)) if each]
    return "\n\n".join(parts) + "\n"


def _measure(summary: Summary, measure: str, contenders: Sequence[Contender]) -> str:
    settings = summary.settings(measure)
    rows = [["contender", *map(str, settings), *(["how"] if measure in _HOW else [])]]
    for each in contenders:
        if each.name in summary.contenders(measure):
            cells = [_text(summary, measure, setting, each.name) for setting in settings]
            rows.append([each.name, *cells, *([_HOW[measure](each)] if measure in _HOW else [])])
    note = f"\n\nn× is relative to {REFERENCE}, ± half the distance between the extreme repeats."
    return f"### {_TITLES[measure]}\n\n{markdown(rows)}{note if measure in ('publish', 'consume') else ''}"


def _text(summary: Summary, measure: str, setting: Setting, name: str) -> str:
    cell = summary.cell(measure, setting, name)
    if cell is None:
        return "–"
    if not cell.ok:
        return "FAILED"
    ratio = summary.ratio(measure, setting, name, REFERENCE)
    return _FORMATS[measure](cell) + (f" ({ratio:.2f}×)" if ratio is not None and measure in _RATES else "")


def _rate(cell: Cell) -> str:
    spread = f" ±{cell.spread('per_second'):.0%}" if cell.repeats > 1 else ""
    return f"{cell.medians['per_second']:,.0f}{spread}"


def _memory(cell: Cell) -> str:
    consuming = cell.medians.get("consume_mb")
    return f"{cell.medians['publish_mb']:.1f} / {'–' if consuming is None else f'{consuming:.1f}'}"


def _latency(far: str) -> Callable[[Cell], str]:
    return lambda cell: f"{cell.medians['median_ms']:.2f} / {cell.medians[far]:.2f}"


def _million(cell: Cell) -> str:
    found = cell.medians
    grown = f"{found['early_mb']:.1f} → {found['end_mb']:.1f} ({found['ratio']:.3f})"
    return f"{grown}, {found['messages']:,.0f} tasks at {found['per_second']:,.0f}/s"


_HOW: dict[str, Callable[[Contender], str]] = {
    "publish": lambda contender: contender.publishes,
    "consume": lambda contender: contender.consumes,
    "redelivery": lambda contender: contender.consumes,
}
_RATES = ("publish", "consume")
_FORMATS: dict[str, Callable[[Cell], str]] = {
    "publish": _rate,
    "consume": _rate,
    "roundtrip": _latency("p99_ms"),
    "memory": _memory,
    "redelivery": _latency("worst_ms"),
    "million": _million,
}
assert _FORMATS.keys() == MAIN_FIGURE.keys()


def _targets(summary: Summary) -> str:
    found = list(judged(summary))
    settings = list(dict.fromkeys(setting for _, ratios in found for setting in ratios))
    if not settings:
        return ""
    rows = [["target", *map(str, settings), "met"]]
    for target, ratios in found:
        answers = [met(target, ratio) for ratio in ratios.values()]
        verdict = "unknown" if None in answers else "yes" if all(answers) else "NO"
        cells = [_answer(met(target, ratios.get(each)), ratios.get(each)) for each in settings]
        rows.append([str(target), *cells, verdict])
    return f"### Targets, from medians\n\n{markdown(rows)}"


def _answer(answer: bool | None, ratio: float | None) -> str:
    return "not measured" if ratio is None else f"{'yes' if answer else 'NO'} ({ratio:.2f}×)"


def _came_back(summary: Summary) -> str:
    lines = []
    for setting in summary.settings("consume"):
        for name in sorted(summary.contenders("consume")):
            cell = summary.cell("consume", setting, name)
            if cell and cell.ok and cell.highest["came_back"]:
                lines.append(f"* {name}, {setting}: up to {cell.highest['came_back']:.0f}")
    if not lines:
        return ""
    return "\n".join(["### Handled, but not acked half a second later: these messages came back", "", *lines])


def _failures(summary: Summary) -> str:
    times = collections.Counter(summary.failures())
    lines = [f"* {measure}, {setting}, {name}: {error} ({n}×)" for (measure, setting, name, error), n in times.items()]
    return "\n".join(["### Failed", "", *lines]) if lines else ""


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """An aligned table; the first row is its head."""
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in padded]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])
