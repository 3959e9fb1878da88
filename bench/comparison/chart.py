"""Results as a picture: a panel a measure and size, a pair of bars a contender."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .model import Contender
from .summary import Summary

_PANELS = {
    "publish": "publishing, messages/s",
    "consume": "consuming, messages/s",
    "roundtrip": "round trip, median ms",
    "redelivery": "redelivery after SIGKILL, median ms",
}
_COLOURS = {"classic": "#9db4c0", "quorum": "#5c6b73"}
_OURS = {"classic": "#f4a259", "quorum": "#bc4b51"}


def draw(summary: Summary, contenders: Sequence[Contender], title: str, path: Path) -> None:
    """Write it; the suffix says whether as SVG or PNG. Raises ImportError if matplotlib is not installed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = [
        (measure, size)
        for measure in summary.measures()
        if measure in _PANELS
        for size in dict.fromkeys(each.size for each in summary.settings(measure))
    ]
    if not panels:
        return
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(8 * columns, 4.6 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (measure, size) in zip(axes.flat, panels, strict=False):
        _panel(axis, summary, measure, size, contenders)
    figure.suptitle(title)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _panel(axis: Any, summary: Summary, measure: str, size: int, contenders: Sequence[Contender]) -> None:
    names = [each.name for each in contenders if each.name in summary.contenders(measure)]
    settings = [each for each in summary.settings(measure) if each.size == size]
    height = 0.8 / len(settings)
    for offset, setting in enumerate(settings):
        found = [summary.median(measure, setting, name) for name in names]
        places = [place + (offset - (len(settings) - 1) / 2) * height for place in range(len(names))]
        colours = [(_OURS if name.startswith("workqueue") else _COLOURS)[setting.queue_type] for name in names]
        bars = axis.barh(places, [value or 0.0 for value in found], height, color=colours, label=setting.queue_type)
        axis.bar_label(bars, [_text(value) for value in found], padding=2, size=7)
    labels = [f"{each.name} (UNCONFIRMED)" if each.name.endswith("unconfirmed") else each.name for each in contenders]
    axis.set_yticks(range(len(names)), [label for label in labels if label.split()[0] in names])
    axis.invert_yaxis()
    axis.margins(x=0.12)
    label = str(settings[0]).removeprefix(f"{settings[0].queue_type} ")
    axis.set_title(f"{_PANELS[measure]}, {label} (of each pair: {', '.join(s.queue_type for s in settings)})", size=9)
    axis.spines[["top", "right"]].set_visible(False)


def _text(value: float | None) -> str:
    return "failed" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
