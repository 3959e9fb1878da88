"""Removing containers by label, through the engine's socket where there is one, else through its command."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

_TIMEOUT = 20.0  # an engine under load takes its time to stop a container


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def remove_containers(label: str) -> None:
    """Remove every container with `label` ("key=value"), running or not, with its anonymous volumes.

    Looks until two passes found none, because one whose creation was under way when its client died appears
    late.
    """
    empty = 0
    deadline = time.monotonic() + _TIMEOUT
    while empty < 2 and time.monotonic() < deadline:
        found = False
        for engine in _engines():
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                found |= _remove_by_api(engine, label)
                break
        else:
            found = _remove_by_command(label)
        empty = 0 if found else empty + 1
        if not found:
            time.sleep(0.3)


def _engines() -> list[str]:
    candidates = [os.environ.get("DOCKER_HOST", ""), "unix:///var/run/docker.sock"]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        candidates += [f"unix://{runtime}/docker.sock", f"unix://{runtime}/podman/podman.sock"]
    candidates.append(f"unix://{Path('~/.docker/run/docker.sock').expanduser()}")
    return [url for url in candidates if url]


def _remove_by_api(engine: str, label: str) -> bool:
    parts = urlsplit(engine)
    if parts.scheme == "unix":
        connection: http.client.HTTPConnection = _UnixConnection(parts.path)
    elif parts.scheme in ("tcp", "http") and not os.environ.get("DOCKER_TLS_VERIFY"):
        connection = http.client.HTTPConnection(parts.hostname or "localhost", parts.port or 2375, timeout=_TIMEOUT)
    else:  # ssh and TLS: the command knows how
        raise OSError(f"cannot reach {engine} without the engine's command")
    with contextlib.closing(connection):
        filters = quote(json.dumps({"label": [label]}))
        connection.request("GET", f"/containers/json?all=1&filters={filters}")
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise OSError(f"{engine} answered {answer.status}")
        containers = json.loads(content)
        for container in containers:
            connection.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")
            connection.getresponse().read()
    return bool(containers)


def _remove_by_command(label: str) -> bool:
    found = False
    for command in ("docker", "podman"):
        if not shutil.which(command):
            continue
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            listed = subprocess.run(
                [command, "ps", "--all", "--quiet", "--filter", f"label={label}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            ).stdout.split()
            if listed:
                found = True
                subprocess.run(
                    [command, "rm", "--force", "--volumes", *listed],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=_TIMEOUT,
                    check=False,
                )
    return found
