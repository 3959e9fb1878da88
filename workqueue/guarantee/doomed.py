"""Workers that take tasks and die of them: each a process of its own, ended by a SIGKILL before it could ack.

Run as ``python -m workqueue.guarantee.doomed QUEUE PREFETCH``, with the broker's URL in the environment. To start an
interpreter for each of some twenty deaths would take many seconds, so this process forks them, one for each line on
its standard input: the line says how many tasks the worker has to hold when it dies. Each death is told as a JSON line.
"""

import json
import os
import signal
import sys
import time

import pika
import pika.adapters.blocking_connection as blocking

from workqueue.guarantee.actor import URL_VARIABLE, say, task_of
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.programs import Line, Program
from workqueue.guarantee.verdict import Unknown
from workqueue.warden import Warden


class Doomed(Program):
    """Those workers, as a spec sees them."""

    def __init__(self, name: str, url: str, queue: str, prefetch: int, warden: Warden, evidence: Evidence) -> None:
        self.deaths = 0
        """How many have died."""
        self._held: list[list[str]] = []
        self._statuses: list[int] = []
        argv = ["-m", "workqueue.guarantee.doomed", queue, str(prefetch)]
        super().__init__(name, argv, {URL_VARIABLE: url}, warden, evidence)

    def dies(self, *, holding: int = 1) -> list[str]:
        """One more worker takes tasks until it holds so many, and is killed; returns those tasks, in order.

        :raises Unknown: if it does not get that many, or ends in another way.
        """
        self._write(str(holding))
        self.deaths += 1
        self._barrier(f"a worker dies holding {holding}", lambda: len(self._statuses) == self.deaths)
        status = self._statuses[-1]
        if status != -signal.SIGKILL:
            raise Unknown(f"a worker ended with {status}, and not by SIGKILL; {self!r}")
        held = self._held[-1]
        self._evidence.proof(self.name, f"death {self.deaths}: held {held}, its wait status is {status}")
        return held

    def _keep(self, line: Line) -> None:
        try:
            event = json.loads(line.text)
        except ValueError:
            super()._keep(line)  # a traceback, say: worth showing
            return
        if event["event"] == "held":
            self._held.append(event["tasks"])
        else:
            self._statuses.append(event["status"])


def main() -> None:
    """Fork one worker after the other, as told, and see each of them die."""
    url, queue, prefetch = os.environ[URL_VARIABLE], sys.argv[1], int(sys.argv[2])
    for line in sys.stdin:
        owner = os.getpid()
        pid = os.fork()
        if not pid:
            try:
                _take_and_die(url, queue, prefetch, int(line), owner)
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        say("died", status=os.waitstatus_to_exitcode(status))


def _take_and_die(url: str, queue: str, prefetch: int, holding: int, owner: int) -> None:
    held: list[str] = []
    connection = blocking.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=prefetch)
    channel.basic_consume(queue, lambda _, __, ___, body: held.append(task_of(body)))
    while len(held) < holding and os.getppid() == owner:
        connection.process_data_events(time_limit=0.1)
    channel.queue_declare(queue, passive=True)  # all that the queue has sent it by now is here with the answer
    connection.process_data_events(time_limit=0)
    say("held", tasks=held)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # a signal to oneself can take a moment, and nothing may be sent in it


if __name__ == "__main__":
    main()
