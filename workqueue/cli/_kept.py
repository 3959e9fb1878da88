"""Brokers that `workqueue broker run` keeps, and how other commands reach them.

Each has a folder that its warden removes, with `broker.json` (its URL, so for this user alone) and the socket `ctl`, on
which the keeper runs rabbitmqctl for others: it alone knows how to, whatever the provider.
"""

import contextlib
import json
import os
import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workqueue.broker.errors import BrokerError, CtlFailed
from workqueue.broker.handle import Broker
from workqueue.warden import get_warden

_TIMEOUT = 90.0  # seconds for one command; more than the keeper gives it
_DESCRIPTORS = Path("/proc/self/fd")  # where the system has it


@dataclass(frozen=True)
class Kept:
    """A broker that some `workqueue broker run` keeps."""

    spec: str
    url: str
    safe_url: str
    folder: Path

    def ctl(self, *args: str) -> str:
        """Run rabbitmqctl on it. Raises `CtlFailed`, and `BrokerError` when its keeper is gone."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(_TIMEOUT)
                with _address(self.folder) as address:
                    client.connect(address)
                client.sendall(json.dumps(args).encode())
                client.shutdown(socket.SHUT_WR)
                with client.makefile("rb") as stream:
                    answer = json.loads(stream.read())
        except (OSError, ValueError) as error:
            raise BrokerError(f"The `workqueue broker run` that keeps {self.spec} does not answer.") from error
        if "error" in answer:
            raise BrokerError(answer["error"])
        if answer["status"]:
            raise CtlFailed(args, answer["status"], answer["output"])
        output: str = answer["output"]
        return output


def kept_brokers() -> list[Kept]:
    """Return the brokers of this user that are kept now, the newest last."""
    found = []
    for file in sorted(Path(tempfile.gettempdir()).glob(f"{_prefix()}*/broker.json"), key=_age):
        with contextlib.suppress(OSError, ValueError, KeyError):  # it went meanwhile
            if file.parent.lstat().st_uid != os.getuid():
                continue  # anybody may make a folder of that name
            content = json.loads(file.read_text())
            kept = Kept(content["spec"], content["url"], content["safe_url"], file.parent)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, _address(kept.folder) as address:
                client.connect(address)  # else nobody keeps it any more
            found.append(kept)
    return found


@contextlib.contextmanager
def keep(broker: Broker) -> Iterator[None]:
    """Let other commands of this user reach `broker`."""
    warden = get_warden()
    folder = warden.directory(_prefix(), parent=Path(tempfile.gettempdir()))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            args = json.loads(self.rfile.read() or b"[]")
            if args:
                with contextlib.suppress(BrokenPipeError):
                    self.wfile.write(json.dumps(_run(broker, args)).encode())

    try:
        with _serve(folder, Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True, name="ctl").start()
            content = {"spec": broker.spec, "url": broker.url, "safe_url": broker.safe_url}
            new = folder / "new"
            new.touch(mode=0o600)
            new.write_text(json.dumps(content))
            new.rename(folder / "broker.json")
            try:
                yield
            finally:
                server.shutdown()
    finally:
        warden.remove(folder)


def _serve(folder: Path, handler: type[socketserver.BaseRequestHandler]) -> "_Server":
    try:
        with _address(folder) as address:
            return _Server(address, handler)
    except OSError as error:
        raise BrokerError(
            f"Other commands would reach the broker by a socket in {folder}, which cannot be made ({error}). "
            "Set TMPDIR to a local folder with a short path."
        ) from error


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """Give the address of the socket in `folder`, to bind or to connect to."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # About a hundred characters is all that such a path may have; through the descriptor it is always short.
        short = _DESCRIPTORS / str(descriptor)
        yield str((short if short.exists() else folder) / "ctl")
    finally:
        os.close(descriptor)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def _run(broker: Broker, args: list[str]) -> dict[str, object]:
    try:
        return {"status": 0, "output": broker.ctl(*args)}
    except (BrokerError, NotImplementedError) as error:
        if how := broker.ended():  # else rabbitmqctl would say in thirty lines that it does not find it
            return {"error": f"The node of {broker.spec} has ended: {how}."}
        if isinstance(error, CtlFailed):
            return {"status": error.status, "output": error.output}
        return {"error": str(error)}


def _prefix() -> str:
    return f"workqueue-broker-{os.getuid()}-"


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
