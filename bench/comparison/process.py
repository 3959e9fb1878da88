"""Our end of a contender's process. It is started through the warden, so it ends when we do, however that is."""

import dataclasses
import json
import os
import select
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from workqueue.warden import get_warden

from .model import Contender, Endpoint

_ROOT = Path(__file__).parents[1]
_TAIL = 300  # characters of what a process wrote to stderr


class ContenderError(Exception):
    """A contender failed, or took too long."""


class Process:
    """A contender at work."""

    def __init__(
        self,
        contender: Contender,
        endpoint: Endpoint,
        *,
        timeout: float,
        tell: dict[str, int] | None = None,
        prefetch: int = 100,
    ) -> None:
        self._timeout = timeout
        self._buffer = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        their_input, self._input = os.pipe()
        self._output, their_output = os.pipe()
        argv = [sys.executable, "-m", "comparison.child"]
        try:
            self._child = get_warden().spawn(
                argv, cwd=_ROOT, stdin=their_input, stdout=their_output, stderr=self._errors.fileno()
            )
        finally:
            os.close(their_input)
            os.close(their_output)
        entry = contender.publisher if tell is None else contender.consumer
        self.say(entry=entry, endpoint=dataclasses.asdict(endpoint), tell=tell, prefetch=prefetch)

    @classmethod
    def publisher(cls, contender: Contender, endpoint: Endpoint, timeout: float) -> Self:
        """Start one that publishes; it has connected when this returns."""
        process = cls(contender, endpoint, timeout=timeout)
        try:
            process.reply()
        except BaseException:
            process.close()
            raise
        return process

    def publish(self, count: int, size: int, number: int = 0) -> dict[str, Any]:
        """Have it publish so many bodies of this size with a number in them, all confirmed."""
        self.say(publish=count, size=size, number=number)
        return self.reply()

    def say(self, **words: object) -> None:
        """Send it a line."""
        try:
            os.write(self._input, json.dumps(words).encode() + b"\n")
        except BrokenPipeError:
            raise ContenderError(f"it ended: {self._last_words()}") from None

    def reply(self) -> dict[str, Any]:
        """Wait for a line from it. Raises ContenderError."""
        deadline = time.monotonic() + self._timeout
        while b"\n" not in self._buffer:
            if not select.select([self._output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise ContenderError(f"nothing came from it for {self._timeout:g} s")
            data = os.read(self._output, 1 << 16)
            if not data:
                raise ContenderError(f"it ended: {self._last_words()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        facts: dict[str, Any] = json.loads(line)
        if "error" in facts:
            raise ContenderError(facts["error"])
        return facts

    def heard(self) -> bool:
        """Whether it has said something that `reply` has not returned yet."""
        return b"\n" in self._buffer or bool(select.select([self._output], [], [], 0)[0])

    def finish(self) -> None:
        """Have a publisher close its connection and end."""
        os.close(self._input)
        self._input = -1
        try:
            status = self._child.wait(self._timeout)
        except TimeoutError:
            raise ContenderError("it did not end") from None
        if status:
            raise ContenderError(f"it ended with {status}: {self._last_words()}")

    def kill(self) -> None:
        """Send it SIGKILL."""
        self._child.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End it, if it runs still."""
        self.kill()
        self._child.wait(self._timeout)
        for end in (self._input, self._output):
            if end >= 0:
                os.close(end)
        self._input = self._output = -1
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip()
        return " ".join(words[-_TAIL:].split()) or "it said nothing"


def first_heard(processes: list[Process], timeout: float) -> Process:
    """Wait until one of them says something."""
    deadline = time.monotonic() + timeout
    while True:
        for each in processes:
            if each.heard():
                return each
        outputs = [each._output for each in processes]
        if not select.select(outputs, [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise ContenderError(f"nothing came from any of them for {timeout:g} s")
