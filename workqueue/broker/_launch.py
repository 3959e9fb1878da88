"""Making the container of a broker: where it listens, what is copied into it, how it starts again."""

import contextlib
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from typing import cast

import docker.errors
from docker.models.images import Image
from docker.types import LogConfig, Ulimit
from testcontainers.core.config import ConnectionMode
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from workqueue.broker import _engine
from workqueue.broker.errors import StartFailed
from workqueue.warden import get_warden

ADVANCED = "/etc/rabbitmq/advanced.config"

_SETTINGS = "/etc/rabbitmq/conf.d/90-workqueue.conf"  # the last to be read has the last word
_AMQP = 5672
_LOOPBACK = "127.0.0.1"
_PORT_ATTEMPTS = 10
_PORT_TIMEOUT = 10.0  # seconds for the engine to get the port back that it had
_OPEN_FILES = 4096  # an unlimited number makes Erlang boot for minutes; every kernel grants this one

_ENVIRONMENT = {
    # The node on the container's loopback, so that only AMQP is to be had from outside. Not so its epmd: old
    # ones, told to use IPv4's loopback, insist on that of IPv6 too, which containers lack.
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
        "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
    ),
    "RABBITMQ_LOGS": "-",
    # The node as the container's first process: SIGTERM, the exit code and the end are its own, not a script's.
    "RUNNING_UNDER_SYSTEMD": "true",
    "RABBITMQ_IO_THREAD_POOL_SIZE": "32",  # else 3.8 starts a machine of its own to work it out
}
# The node prefers its environment to its files; an image that sets these would keep us out.
_DEFAULT_USER = ("RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_VHOST")


class Launched:
    """A container that runs, and the address that its AMQP port has for us."""

    def __init__(self, wrapped: DockerContainer, port: "_Port", host: str, number: int) -> None:
        self.wrapped = wrapped
        self.host = host
        self.port = number
        self._port = port

    def start_again(self) -> None:
        """Start it again after it ended. Raises `StartFailed` when the engine cannot."""
        container = self.wrapped.get_wrapped_container()
        deadline = time.monotonic() + _PORT_TIMEOUT
        while True:
            try:
                container.start()
            except _engine.ENGINE_ERRORS as error:
                if not _port_taken(error) or time.monotonic() > deadline:
                    raise StartFailed(
                        f"The engine could not start the container again: {_engine.explain(error)}."
                    ) from error
                self._port.release()
                time.sleep(0.1)
            else:
                return

    def remove(self) -> None:
        """Remove it with its volumes. Harmless when it is gone."""
        with contextlib.suppress(docker.errors.NotFound):
            self.wrapped.stop()
        self._port.release()


class _Port:
    """A port of the loopback interface that stays ours while the container is down.

    On Linux, a socket that is bound with SO_REUSEADDR and never listens keeps the port from being given to
    anybody else, and lets the engine listen on it all the same.
    """

    def __init__(self) -> None:
        self._holder = socket.socket()
        if sys.platform == "linux":
            self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind((_LOOPBACK, 0))
        self.number: int = self._holder.getsockname()[1]
        if sys.platform != "linux":
            self.release()

    def release(self) -> None:
        self._holder.close()


def launch(name: str, image: Image, settings: Mapping[str, str], advanced: Mapping[str, str]) -> Launched:
    """Start a container of the image `name` with that configuration. Raises `StartFailed`."""
    given = [entry.partition("=")[0] for entry in image.attrs.get("Config", {}).get("Env") or []]
    environment = _ENVIRONMENT | {key: "" for key in _DEFAULT_USER if key in given}
    # A name of its own, by which its process can be told from others on the same machine.
    environment["RABBITMQ_NODENAME"] = f"rabbit-{secrets.token_hex(4)}@localhost"
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        port = _Port()
        wrapped = DockerContainer(name, env=dict(environment)).with_kwargs(
            hostname="workqueue",
            labels=_owned_label(),
            ulimits=[Ulimit(name="nofile", soft=_OPEN_FILES, hard=_OPEN_FILES)],
            log_config=LogConfig(type=LogConfig.types.JSON),  # of those that can be read back
        )
        wrapped.image = name  # without the prefix that testcontainers may be told to put before it
        wrapped.with_copy_into_container(_conf(settings), _SETTINGS)
        if advanced:
            wrapped.with_copy_into_container(_advanced_config(advanced), ADVANCED)
        local = _engine_is_local(wrapped.get_docker_client())
        # The engine takes an address too, testcontainers' type does not tell.
        wrapped.ports[f"{_AMQP}/tcp"] = cast("int", (_LOOPBACK if local else "0.0.0.0", port.number))  # noqa: S104
        try:
            wrapped.start()
            if local:
                return Launched(wrapped, port, _LOOPBACK, port.number)
            return Launched(wrapped, port, wrapped.get_container_host_ip(), wrapped.get_exposed_port(_AMQP))
        except (*_engine.ENGINE_ERRORS, RuntimeError) as error:
            with contextlib.suppress(*_engine.ENGINE_ERRORS):  # else the warden removes it
                wrapped.stop()
            port.release()
            if not _port_taken(error) or attempt == _PORT_ATTEMPTS:
                raise StartFailed(
                    f"The engine could not start a container of {name}: {_engine.explain(error)}."
                ) from error
    raise AssertionError("unreachable")


def has_file(client: DockerClient, image: Image, path: str) -> bool:
    """Tell whether `image` has a file at `path` with something in it."""
    assert image.id is not None
    probe = client.client.containers.create(image.id, command=["true"], labels=_owned_label())
    try:
        content, details = probe.get_archive(path)
        for _ in content:  # unread, it would keep its connection open
            pass
        return bool(details and details["size"])
    except docker.errors.NotFound:
        return False
    finally:
        probe.remove(force=True, v=True)


def _owned_label() -> dict[str, str]:
    """Return the label of a container that is about to be made, having told the warden to remove it."""
    key, value = _engine.run_label()
    get_warden().own_containers(f"{key}={value}")
    return {key: value}


def _engine_is_local(client: DockerClient) -> bool:
    """Tell whether what the engine publishes on its loopback interface is on ours."""
    # By the name first: a machine made from an image looks like a container to testcontainers.
    if client.client.info()["Name"] == socket.gethostname():
        return True
    local_hosts = ("localhost", _LOOPBACK)
    return client.get_connection_mode() is ConnectionMode.docker_host and client.host() in local_hosts


def _port_taken(error: BaseException) -> bool:
    text = str(error)
    return "already allocated" in text or "already in use" in text


def _conf(settings: Mapping[str, str]) -> bytes:
    return "".join(f"{key} = {value}\n" for key, value in settings.items()).encode()


def _advanced_config(entries: Mapping[str, str]) -> bytes:
    terms = ", ".join(f"{{{key}, {value}}}" for key, value in entries.items())
    return f"[{{rabbit, [{terms}]}}].\n".encode()
