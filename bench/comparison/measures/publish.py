"""Publishing: from before the first message is given to the library until the last one is confirmed."""

from ..bench import Bench
from ..model import Contender, Figures, Setting

WARM_UP = 100
"""Messages before. Some libraries connect, or declare, when they are first used."""


def measure(bench: Bench, contender: Contender, setting: Setting) -> Figures:
    """Messages a second; the broker has to have every one of them in the end."""
    return publish(bench, contender, setting, bench.extent.messages // contender.share)


def publish(bench: Bench, contender: Contender, setting: Setting, count: int) -> Figures:
    """Publish so many messages."""
    with bench.queue(contender, setting) as queue, bench.publisher(contender, queue) as process:
        process.publish(WARM_UP, setting.size)
        told = process.publish(count, setting.size)
        process.finish()
        queue.expect_messages(WARM_UP + count)
    seconds = (told["ended"] - told["started"]) / 1e9
    return {"per_second": count / seconds, "messages": count, "peak": told["peak"]}
