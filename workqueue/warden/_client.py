"""The client's side: ask the warden, and wait for a child through the pipe that tells its end."""

import array
import atexit
import contextlib
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

_CLOSING = 30.0
"""Seconds to wait for the warden to clear up; containers and foreign brokers are what can take long."""


class WardenError(RuntimeError):
    """The warden is gone, or could not be started."""


class Child:
    """A process that the warden started for us: a session of its own.

    When it ends, whatever else is in its session is killed before its end is told.
    """

    def __init__(self, warden: "Warden", pid: int, argv: Sequence[str], exit_pipe: int) -> None:
        self.pid = pid
        self.argv = tuple(argv)
        self.returncode: int | None = None
        """Exit status once it ended and `poll` or `wait` saw it; negative: the signal that ended it."""
        self._warden = warden
        self._exit_pipe = exit_pipe
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        with contextlib.suppress(TimeoutError):
            return self.wait(timeout=0)
        return None

    def wait(self, timeout: float) -> int:
        """Wait for its end for at most `timeout` seconds; raises `TimeoutError` if it still runs."""
        if self.returncode is None:
            poller = select.poll()  # unlike select.select, works with high descriptors
            poller.register(self._exit_pipe, select.POLLIN)
            if not poller.poll(max(0, timeout) * 1000):
                raise TimeoutError(f"process {self.pid} ({self.argv[0]}) still runs after {timeout:g} s")
            self._collect()
        if self.returncode is None:
            raise WardenError(f"the warden was killed, so nobody knows how process {self.pid} ended")
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process itself. One that ended is left alone, whoever has its number now."""
        self._warden._request("signal", pid=self.pid, number=int(number))

    def _collect(self) -> None:
        with self._lock:
            if self.returncode is None and self._exit_pipe >= 0:
                status = os.read(self._exit_pipe, 32)
                if status:
                    self.returncode = int(status)
                    self._close()

    def _close(self) -> None:
        pipe, self._exit_pipe = self._exit_pipe, -1
        if pipe >= 0:
            os.close(pipe)

    def __del__(self) -> None:
        self._close()

    def __repr__(self) -> str:
        state = "running" if self.returncode is None else f"ended with {self.returncode}"
        return f"<Child {self.pid} {self.argv[0]} {state}>"


class Warden:
    """The helper process. Everything it made or was told of ends with it, and it ends with us.

    Safe to be used by several threads. All but `close` raise `WardenError` when it is gone.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("_main.py"))],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        self._socket = ours
        self._lock = threading.Lock()
        self._buffer = b""
        self._requests = 0

    @property
    def pid(self) -> int:
        """Process id of the warden."""
        return self._process.pid

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> Child:
        """Start a process. Streams are descriptors, None is /dev/null. Raises `OSError` as Popen does."""
        exit_read, exit_write = os.pipe()
        try:
            streams = (stdin, stdout, stderr)
            answer = self._request(
                "spawn",
                [exit_write, *(fd for fd in streams if fd is not None)],
                argv=list(argv),
                env=dict(os.environ if env is None else env),
                cwd=os.fspath(cwd if cwd is not None else Path.cwd()),
                given=[fd is not None for fd in streams],
            )
        except BaseException:
            os.close(exit_read)
            raise
        finally:
            os.close(exit_write)
        return Child(self, cast("int", answer), argv, exit_read)

    def directory(self, prefix: str, parent: Path | None = None) -> Path:
        """Make a directory for us alone, with a random name; it is removed when we end."""
        folder = Path(tempfile.gettempdir() if parent is None else parent).absolute()
        path = folder / f"{prefix}{secrets.token_hex(6)}"
        self._request("directory", path=str(path))
        return path

    def remove(self, path: Path) -> None:
        """Remove a directory that `directory` made, now."""
        self._request("remove", path=str(path))

    def own_containers(self, label: str) -> None:
        """Remove every container with this label ("key=value") when we end; call it before the first is."""
        self._request("own_containers", label=label)

    def own_queue(self, url: str, name: str) -> None:
        """Delete this queue of a broker that is not ours when we end; call it before the declaration."""
        self._request("own_queue", url=url, name=name)

    def disown_queue(self, url: str, name: str) -> None:
        """Forget a queue that `own_queue` named: it was deleted, or shall stay."""
        self._request("disown_queue", url=url, name=name)

    def close(self) -> None:
        """End everything it owns, and wait for that. Closing twice is harmless."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSING)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, operation: str, fds: Sequence[int] = (), **arguments: object) -> object:
        with self._lock:
            self._requests += 1
            request = {"id": self._requests, "do": operation, "with": arguments}
            # The first newline ends what an interrupted request may have left behind.
            data = b"\n" + json.dumps(request).encode() + b"\n"
            try:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
                sent = self._socket.sendmsg([data], rights)
                self._socket.sendall(data[sent:])
                answer = self._answer_to(self._requests)
            except OSError as error:
                raise WardenError("the warden is gone; nothing can be started under its guard any more") from error
        if "error" in answer:
            number, text, filename = answer["error"]
            raise OSError(number, text, filename)
        result: object = answer["ok"]
        return result

    def _answer_to(self, request: int) -> dict[str, Any]:
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if not newline:
                data = self._socket.recv(1 << 16)
                if not data:
                    raise ConnectionResetError("the warden closed the connection")
                self._buffer += data
                continue
            self._buffer = rest
            answer: dict[str, Any] = json.loads(line)
            if answer["id"] == 0:
                raise WardenError(f"the warden could not start: {answer['error'][1]}")
            if answer["id"] == request:  # else it belongs to a request that a signal interrupted
                return answer

    def _abandon(self) -> None:
        """In a forked child: let go of the socket, so that the parent's end is still the warden's end."""
        self._socket.close()
        self._process.returncode = 0  # not ours to wait for


_singleton: Warden | None = None
_singleton_lock = threading.Lock()


def get_warden() -> Warden:
    """Return this process's warden; it is started by the first call and closed when the interpreter exits."""
    global _singleton
    with _singleton_lock:
        if _singleton is None:
            _singleton = Warden()
            atexit.register(_close_singleton)
        return _singleton


def _close_singleton() -> None:
    if _singleton is not None:
        _singleton.close()


def _forked() -> None:
    global _singleton, _singleton_lock
    _singleton_lock = threading.Lock()
    if _singleton is not None:
        _singleton._abandon()
        _singleton = None


os.register_at_fork(after_in_child=_forked)
