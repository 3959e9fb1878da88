"""What a contender's process runs: a job comes as a line of JSON, and what happens is told as lines of JSON.

A publisher says ``ready``, then publishes as often as it is told to, until its input ends. A consumer consumes
until it is killed; ``tell`` in its job says of which calls of the handler it tells.
"""

import importlib
import itertools
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from comparison.model import Consume, Endpoint, Handler, Publisher


class Voice:
    """The lines that go to the parent. What a library prints must not get between them."""

    def __init__(self) -> None:
        self._stream: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def tell(self, **facts: object) -> None:
        """Tell it."""
        self._stream.write(json.dumps(facts) + "\n")


def peak_memory() -> int:
    """The most memory that was resident, in bytes.

    Not ``ru_maxrss`` where the kernel has something better: it counts what the process was before its exec, too.
    """
    return _status("VmHWM:") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _status(key: str) -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0


def publisher(voice: Voice, found: Any, endpoint: Endpoint) -> None:
    """Publish what the parent asks for."""
    client: Publisher = found(endpoint)
    voice.tell(ready=True)
    for line in sys.stdin:
        order = json.loads(line)
        body = b"%0*d" % (order["size"], order["number"])
        started = time.monotonic_ns()
        client.publish(body, order["publish"])
        voice.tell(started=started, ended=time.monotonic_ns(), peak=peak_memory())
    client.close()


def handler(voice: Voice, tell: dict[str, int]) -> Handler:
    """What is called for each message.

    * ``span``: tell when the first call was, and the one with this number.
    * ``each``: tell of each call; if it is 2, return only when the parent says so.
    * ``every``: tell the memory that is resident at every so many calls.
    """
    calls = itertools.count(1)  # threads may share it
    first = 0

    def span(_body: bytes | str) -> None:
        nonlocal first
        call = next(calls)
        if call == 1:
            first = time.monotonic_ns()
        elif call == tell["span"]:
            voice.tell(first=first, last=time.monotonic_ns(), peak=peak_memory())

    def each(body: bytes | str) -> None:
        voice.tell(at=time.monotonic_ns(), number=int(body))
        if tell["each"] == 2:
            sys.stdin.readline()

    def every(_body: bytes | str) -> None:
        call = next(calls)
        if call % tell["every"] == 0:
            voice.tell(at=time.monotonic_ns(), calls=call, resident=_status("VmRSS:"), peak=peak_memory())

    return span if "span" in tell else each if "each" in tell else every


def main() -> None:
    """Do the job."""
    voice = Voice()
    job = json.loads(sys.stdin.readline())
    try:
        module, _, attribute = job["entry"].partition(":")
        found = getattr(importlib.import_module(f"comparison.contenders.{module}"), attribute)
        endpoint = Endpoint(**job["endpoint"])
        if job["tell"] is None:
            publisher(voice, found, endpoint)
        else:
            consume: Consume = found
            consume(endpoint, job["prefetch"], handler(voice, job["tell"]))
            raise ConnectionError("it stopped consuming")
    except BaseException as error:
        voice.tell(error=f"{type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    main()
