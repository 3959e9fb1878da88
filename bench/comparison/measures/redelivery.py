"""Redelivery: a worker that holds a task is killed; how long until the handler of a waiting one is called?"""

import contextlib
import time

from ..bench import Bench
from ..model import Contender, Figures, Setting
from ..process import Process, first_heard
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
        for number in range(bench.extent.kills):
            workers.append(start())
            queue.expect_consumers(2)
            publisher.publish(1, setting.size, number)
            holder, _ = _holder(workers, number, bench.extent.timeout)
            workers.remove(holder)
            killed = time.monotonic_ns()
            holder.kill()
            waiting, at = _holder(workers, number, bench.extent.timeout)
            latencies.append((at - killed) / 1e6)
            holder.close()
            waiting.say(done=True)
    return percentiles(latencies)


def _holder(workers: list[Process], number: int, timeout: float) -> tuple[Process, int]:
    """Who gets the task with this number, and when. Earlier ones may come back: not every library acks at once."""
    while True:
        worker = first_heard(workers, timeout)
        told = worker.reply()
        if told["number"] == number:
            return worker, told["at"]
        worker.say(done=True)
