"""Memory: the peak of a process that publishes, and of one that consumes, the same number for each contender."""

from ..bench import Bench
from ..model import Contender, Figures, Setting
from . import consume, publish


def measure(bench: Bench, contender: Contender, setting: Setting) -> Figures:
    """Peaks in MB, of a whole process with its interpreter."""
    published = publish.publish(bench, contender, setting, bench.extent.remembered)
    figures = {"publish_mb": published["peak"] / 1e6, "messages": published["messages"]}
    if contender.consumer:
        figures["consume_mb"] = consume.consume(bench, contender, setting, bench.extent.remembered)["peak"] / 1e6
    return figures
