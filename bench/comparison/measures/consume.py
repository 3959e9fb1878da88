"""Consuming a queue that was filled beforehand: from the first call of a no-op handler to the last one.

Acks need not be waited for: the broker sends message n only when all but `prefetch` of those before it are acked.
"""

import time

from ..bench import Bench
from ..model import Contender, Figures, Setting

SEEDS = 100
"""Messages that the contender publishes itself. The queue is filled with copies of them, which takes less time."""

SETTLING = 0.5
"""Seconds from the last call of the handler until the consumer is killed, for it to write its last acks."""


def measure(bench: Bench, contender: Contender, setting: Setting) -> Figures:
    """Messages a second, and how many were not acked after all and came back."""
    return consume(bench, contender, setting, bench.extent.messages)


def consume(bench: Bench, contender: Contender, setting: Setting, count: int) -> Figures:
    """Consume so many messages."""
    with bench.queue(contender, setting) as queue:
        with bench.publisher(contender, queue) as process:
            process.publish(SEEDS, setting.size)
            process.finish()
        queue.expect_messages(SEEDS)
        queue.fill(count)
        with bench.consumer(contender, queue, span=count) as process:
            told = process.reply()
            time.sleep(SETTLING)
        left = queue.left()
    seconds = (told["last"] - told["first"]) / 1e9
    return {"per_second": (count - 1) / seconds, "messages": count, "came_back": left, "peak": told["peak"]}
