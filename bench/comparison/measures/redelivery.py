"""Redelivery: a worker that holds a task is killed; how long until the handler of a waiting one is called?"""

import contextlib
import time

from ..bench import Bench
from ..model import Contender, Figures, Setting
from ..process import first_heard
from .roundtrip import percentiles

_HOLD = 2


def measure(bench: Bench, contender: Contender, setting: Setting) -> Figures:
    """Median and worst, in milliseconds, from before the SIGKILL."""
    latencies = []
    with contextlib.ExitStack() as stack:
        queue = stack.enter_context(bench.queue(contender, setting))
        publisher = stack.enter_context(bench.publisher(contender, queue))
        start = lambda: stack.enter_context(bench.consumer(contender, queue, each=_HOLD))  # noqa: E731
        workers = [start()]
        for _ in range(bench.extent.kills):
            workers.append(start())
            queue.expect_consumers(2)
            publisher.publish(1, setting.size)
            holder = first_heard(workers, bench.extent.timeout)
            holder.reply()
            workers.remove(holder)
            killed = time.monotonic_ns()
            holder.kill()
            latencies.append((workers[0].reply()["at"] - killed) / 1e6)
            holder.close()
            workers[0].say(done=True)
    return percentiles(latencies)
