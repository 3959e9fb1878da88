"""The warden's loop: do what the client asks; when the client is gone, end all that it owned."""

import contextlib
import errno
import json
import os
import selectors
import signal
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

from workqueue.warden._ledger import Ledger, live_wardens, orphaned, remove_tree
from workqueue.warden._processes import (
    Process,
    adopt_orphans,
    descendants,
    die_with_parent,
    kill_until_gone,
    process_table,
)

_MAX_FDS = 8
_SWEEP = 5.0
"""Seconds in which a killed session must be gone; only uninterruptible sleep can take long."""
_NESTED = 20.0
"""Seconds for the wardens of our children to clear up; what they leave is then cleared up here."""


class _Child:
    def __init__(self, process: subprocess.Popen[bytes], exit_pipe: int) -> None:
        self.process = process
        self.exit_pipe = exit_pipe


class _Server:
    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._buffer = b""
        self._fds: list[int] = []
        self._children: dict[int, _Child] = {}
        self._queues: set[tuple[str, str]] = set()
        self._ledger = Ledger()

    def run(self) -> None:
        """Serve until the client is gone."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        # Handlers, not SIG_IGN, which children would inherit. Only the client's going ends us.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, lambda _number, _frame: None)
        selector = selectors.DefaultSelector()
        selector.register(self._client, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                self._reap()
            if self._client in ready and not self._receive():
                return

    def clear_up(self) -> None:
        """End everything that the client owned."""
        leaders = set(self._children)
        ours = os.getpid()

        def everything(table: list[Process]) -> set[int]:
            in_sessions = {process.pid for process in table if process.session in leaders}
            return in_sessions | descendants(table, ours)

        def all_but_wardens(table: list[Process]) -> set[int]:
            # A child of ours may have a warden of its own. That loses its client now, and clears up itself.
            wardens = live_wardens() - {ours}
            theirs = set[int]().union(*(descendants(table, warden) for warden in wardens))
            return everything(table) - wardens - theirs

        reap = partial(self._reap, sweep=False)
        kill_until_gone(all_but_wardens, reap, _SWEEP)
        deadline = time.monotonic() + _NESTED
        while everything(process_table()) & live_wardens() and time.monotonic() < deadline:
            reap()
            time.sleep(0.02)
        kill_until_gone(everything, reap, _SWEEP)
        self.clear_up_after_others()
        self._remove_containers(self._ledger.labels)
        for directory in self._ledger.directories:
            remove_tree(directory)
        for url in {url for url, _ in self._queues}:
            self._delete_queues(url)
        self._ledger.close()

    def clear_up_after_others(self) -> None:
        """Clear up what wardens that were themselves killed have left."""
        for ledger in orphaned():
            self._remove_containers(set(ledger.get("labels", ())))

    # Requests

    def _receive(self) -> bool:
        """Handle what the client sent; False when it is gone."""
        try:
            data, fds, _flags, _address = socket.recv_fds(self._client, 1 << 16, _MAX_FDS)
        except OSError:
            return False
        if not data:
            return False
        for fd in fds:
            os.set_inheritable(fd, False)
        self._fds += fds
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if line:
                self._handle(line)
        return True

    def _handle(self, line: bytes) -> None:
        fds, self._fds = self._fds, []
        try:
            request = json.loads(line)
            operation = getattr(self, f"_do_{request['do']}")
        except (ValueError, KeyError, AttributeError):  # a line that the client was interrupted in
            _close(fds)
            return
        answer: dict[str, Any]
        try:
            answer = {"id": request["id"], "ok": operation(fds, **request["with"])}
        except OSError as error:
            details = [error.errno or errno.EIO, error.strerror or str(error), error.filename]
            answer = {"id": request["id"], "error": details}
        except (TypeError, ValueError, subprocess.SubprocessError) as error:
            answer = {"id": request["id"], "error": [errno.EINVAL, str(error), None]}
        finally:
            _close(fds)
        with contextlib.suppress(OSError):  # it went meanwhile: the next read tells
            self._client.sendall(json.dumps(answer).encode() + b"\n")

    def _do_spawn(
        self, fds: list[int], argv: list[str], env: dict[str, str] | None, cwd: str | None, given: list[bool]
    ) -> int:
        exit_pipe, *rest = fds
        streams = [rest.pop(0) if is_given else subprocess.DEVNULL for is_given in given]
        process = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            start_new_session=True,
            # Safe here: this process has one thread.
            preexec_fn=die_with_parent,
        )
        fds.remove(exit_pipe)  # kept until the child ends
        self._children[process.pid] = _Child(process, exit_pipe)
        started = [p.started for p in process_table() if p.pid == process.pid]
        self._ledger.children[process.pid] = started[0] if started else ""
        self._ledger.save()
        return process.pid

    def _do_signal(self, _fds: list[int], pid: int, number: int) -> bool:
        if pid not in self._children:  # reaped: the number may be somebody else's by now
            return False
        os.kill(pid, number)
        return True

    def _do_directory(self, _fds: list[int], path: str) -> None:
        self._ledger.directories.add(path)
        self._ledger.save()
        try:
            Path(path).mkdir(mode=0o700)
        except OSError:
            self._ledger.directories.discard(path)
            raise

    def _do_remove(self, _fds: list[int], path: str) -> None:
        if path not in self._ledger.directories:
            raise OSError(errno.EPERM, "not a directory of this warden", path)
        remove_tree(path)
        self._ledger.directories.discard(path)
        self._ledger.save()

    def _do_own_containers(self, _fds: list[int], label: str) -> None:
        self._ledger.labels.add(label)
        self._ledger.save()

    def _do_own_queue(self, _fds: list[int], url: str, name: str) -> None:
        self._queues.add((url, name))

    def _do_disown_queue(self, _fds: list[int], url: str, name: str) -> None:
        self._queues.discard((url, name))

    # Children

    def _reap(self, sweep: bool = True) -> None:
        """Tell the client of children that ended, once nothing of their session is left."""
        while (ended := self._next_ended()) is not None:
            pid, status = ended
            if sweep and pid in self._children:
                kill_until_gone(partial(_in_session, pid), lambda: None, _SWEEP)
            if status is None:
                _, status = os.waitpid(pid, 0)
            self._report(pid, status)

    def _next_ended(self) -> tuple[int, int | None] | None:
        """Return a child that ended, and its status if it had to be collected to know."""
        if hasattr(os, "waitid"):
            # Leaves it uncollected, so that its number cannot become another session's before we swept.
            try:
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return None
            return (info.si_pid, None) if info else None
        for pid in self._children:  # macOS before Python 3.13
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return pid, status
        return None

    def _report(self, pid: int, status: int) -> None:
        child = self._children.pop(pid, None)
        if child is None:  # an orphan that we adopted
            return
        child.process.returncode = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError):
            os.write(child.exit_pipe, str(child.process.returncode).encode())
        os.close(child.exit_pipe)
        self._ledger.children.pop(pid, None)
        self._ledger.save()

    # What is not a process

    def _remove_containers(self, labels: set[str]) -> None:
        if labels:
            from workqueue.warden._containers import remove_containers  # rarely needed

            for label in labels:
                remove_containers(label)

    def _delete_queues(self, url: str) -> None:
        from workqueue.warden._amqp import AmqpError, Connection  # rarely needed

        for name in sorted(name for owner, name in self._queues if owner == url):
            # A refusal closes the connection, so each queue has its own.
            with contextlib.suppress(OSError, AmqpError), Connection(url) as connection:
                connection.delete_queue(name)


def _in_session(session: int, table: list[Process]) -> set[int]:
    return {process.pid for process in table if process.session == session}


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def serve(client_fd: int) -> None:
    """Serve the client behind `client_fd` until it is gone, then clear up."""
    client = socket.socket(fileno=client_fd)
    adopt_orphans()
    try:
        server = _Server(client)
    except OSError as error:
        client.sendall(json.dumps({"id": 0, "error": [error.errno, str(error), None]}).encode() + b"\n")
        return
    try:
        server.clear_up_after_others()
        server.run()
    finally:
        server.clear_up()
