"""Round trips, one at a time: from before a message is given to one process until the handler of another is called."""

import statistics

from ..bench import Bench
from ..model import Contender, Figures, Setting

WARM_UP = 20


def measure(bench: Bench, contender: Contender, setting: Setting) -> Figures:
    """Median and 99th percentile, in milliseconds."""
    latencies = []
    with (
        bench.queue(contender, setting) as queue,
        bench.publisher(contender, queue) as publisher,
        bench.consumer(contender, queue, each=1) as consumer,
    ):
        queue.expect_consumers(1)
        for _ in range(WARM_UP + bench.extent.rounds):
            started = publisher.publish(1, setting.size)["started"]
            latencies.append((consumer.reply()["at"] - started) / 1e6)
    return percentiles(latencies[WARM_UP:])


def percentiles(latencies: list[float]) -> Figures:
    """What is said of a number of latencies."""
    ordered = sorted(latencies)
    return {
        "median_ms": statistics.median(ordered),
        "p99_ms": ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))],
        "worst_ms": ordered[-1],
        "rounds": len(ordered),
    }
