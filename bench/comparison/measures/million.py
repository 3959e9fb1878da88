"""A million tasks through one worker: does its memory grow? The queue is kept short, for the broker's sake."""

from ..bench import Bench
from ..model import Contender, Figures, Setting

BATCH = 10_000
BACKLOG = 50_000
"""How many tasks may wait. The publisher is given its next batch when there is room."""


def measure(bench: Bench, contender: Contender, setting: Setting) -> Figures:
    """Resident memory after the first tenth and at the end, in MB."""
    tasks = bench.extent.tasks // BATCH * BATCH
    resident: dict[int, int] = {}
    with (
        bench.queue(contender, setting) as queue,
        bench.publisher(contender, queue) as publisher,
        bench.consumer(contender, queue, every=BATCH) as consumer,
    ):
        sent = done = first = last = 0
        while done < tasks:
            if sent < tasks and sent - done < BACKLOG:
                started = publisher.publish(BATCH, setting.size)["started"]
                first = first or started
                sent += BATCH
            while done < sent and (sent == tasks or sent - done >= BACKLOG or consumer.heard()):
                told = consumer.reply()
                done, last = told["calls"], told["at"]
                resident[done] = told["resident"]
    early = resident[max(BATCH, tasks // 10 // BATCH * BATCH)]
    return {
        "early_mb": early / 1e6,
        "end_mb": resident[tasks] / 1e6,
        "ratio": resident[tasks] / early,
        "per_second": tasks / ((last - first) / 1e9),
        "messages": tasks,
    }
