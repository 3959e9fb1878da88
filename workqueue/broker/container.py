"""`container` and `container:IMAGE`: RabbitMQ in a container, started by testcontainers.

Images need the layout of the official one (`/etc/rabbitmq/conf.d`, `rabbitmqctl` on the path), which those
that `workqueue broker image` makes have too. Containers are made in `_launch.py`; here is what is done with
them.
"""

import contextlib
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import docker.errors
from docker.models.images import Image
from testcontainers.core.config import testcontainers_config
from testcontainers.core.docker_client import DockerClient

from workqueue.broker import _engine, _launch
from workqueue.broker._probe import NotReady, wait_until_ready
from workqueue.broker.errors import BrokerError, CtlFailed, SpecError, StartFailed, Unavailable
from workqueue.broker.handle import DEFAULT_CONFIG, About, Broker, Capability, NodeConfig, Source
from workqueue.broker.progress import Progress, silent

DEFAULT_IMAGE = "rabbitmq:4-management"

_START_TIMEOUT = 90.0  # seconds; a busy machine, a cold image
_STOP_TIMEOUT = 60  # seconds until the engine turns a graceful stop into a kill
_KILL_TIMEOUT = 20.0
_KILLED = 137  # the exit code of what SIGKILL ended
_LOG_TAIL = 60  # lines


def available() -> tuple[bool, str]:
    """Tell whether `container` could serve with its default image, and why or why not, within seconds."""
    try:
        client = _engine.connect()
    except Unavailable as error:
        return False, str(error)
    with contextlib.closing(client.client):
        if _engine.find_image(client, DEFAULT_IMAGE) is not None:
            return True, f"a container engine answers and has {DEFAULT_IMAGE}"
        refusal = _engine.can_pull(client, DEFAULT_IMAGE)
    if refusal is None:
        return True, f"a container engine answers and can pull {DEFAULT_IMAGE}"
    return False, f"a container engine answers, but neither has {DEFAULT_IMAGE} nor can pull it ({refusal})"


def source(
    spec: str, *, progress: Progress = silent, restart_command: Sequence[str] | None = None
) -> "ContainerSource":
    """Return the source for `container` or `container:IMAGE`. Raises `SpecError`."""
    del progress, restart_command  # nothing takes long yet; and we restart by ourselves
    _, colon, image = spec.partition(":")
    if colon and (not image or any(character.isspace() for character in image)):
        raise SpecError(f"{spec!r} names no image: write container or container:IMAGE.")
    return ContainerSource(image or DEFAULT_IMAGE)


class ContainerSource(Source):
    """Brokers that a container engine runs from one image."""

    def __init__(self, image: str) -> None:
        self.spec = f"container:{image}"
        self._name = image
        self._image: Image | None = None
        self._no_reaper: str | None = None
        self._has_advanced = False

    def prepare(self, progress: Progress = silent) -> None:
        """Reach the engine and have the image, pulling it if need be. Raises `Unavailable`."""
        if self._image is not None:
            return
        client = _engine.connect()
        with contextlib.closing(client.client):
            try:
                self._image = self._prepare(client, progress)
            except _engine.ENGINE_ERRORS as error:
                raise Unavailable(f"The engine does not let us use {self.spec}: {_engine.explain(error)}.") from error

    def _prepare(self, client: DockerClient, progress: Progress) -> Image:
        image = _engine.find_image(client, self._name)
        if image is None:
            self._name = testcontainers_config.hub_image_name_prefix + self._name
            image = _engine.find_image(client, self._name) or _engine.pull_image(client, self._name, progress)
        self._no_reaper = _engine.start_reaper(client, progress)
        if self._no_reaper is not None:
            progress(f"Going without testcontainers' reaper, the warden is enough ({self._no_reaper})")
        # Somebody's own advanced.config is what they want to see tested: ours must not replace it.
        self._has_advanced = _launch.has_file(client, image, _launch.ADVANCED)
        return image

    def start(self, config: NodeConfig = DEFAULT_CONFIG) -> "ContainerBroker":
        """Create a container and wait until its node serves. Raises `StartFailed` or `Unavailable`."""
        self.prepare()
        assert self._image is not None
        user, password = f"wq-{secrets.token_hex(4)}", secrets.token_urlsafe(18)
        settings = {**config.settings, "default_user": user, "default_pass": password}
        advanced = {} if self._has_advanced else config.advanced
        with contextlib.nullcontext() if self._no_reaper is None else _engine.without_reaper():
            launched = _launch.launch(self._name, self._image, settings, advanced)
        configuration = {**config.settings, **advanced}
        complete = len(advanced) == len(config.advanced)
        return ContainerBroker(self.spec, launched, (user, password), self._image, configuration, complete)


class ContainerBroker(Broker):
    """A broker in a container, which is kept over stop, kill and start, and its data and its port with it."""

    def __init__(
        self,
        spec: str,
        launched: _launch.Launched,
        credentials: tuple[str, str],
        image: Image,
        configuration: Mapping[str, str],
        configured: bool,
    ) -> None:
        user, password = credentials
        self.spec = spec
        self.url = f"amqp://{user}:{quote(password)}@{launched.host}:{launched.port}/%2F"
        self.safe_url = f"amqp://{user}:***@{launched.host}:{launched.port}/%2F"
        self.capabilities = frozenset(Capability) - (frozenset() if configured else {Capability.CONFIGURE})
        self._launched = launched
        self._container = launched.wrapped.get_wrapped_container()
        try:
            properties = self._wait_until_ready()
        except BaseException:
            self.close()
            raise
        digests = image.attrs.get("RepoDigests") or [image.id]
        self.about = About(
            spec=spec,
            provider="container",
            product=_text(properties.get("product")),
            version=_text(properties.get("version")),
            erlang=_text(properties.get("platform")).removeprefix("Erlang/OTP "),
            package=digests[0],
            configuration=configuration,
        )

    def stop(self) -> None:
        """Stop the node gracefully. Raises `BrokerError` when it had to be killed instead."""
        if not self._state()["Running"]:
            return
        self._container.stop(timeout=_STOP_TIMEOUT)
        if self._state()["ExitCode"] == _KILLED:
            raise BrokerError(f"{self.spec} did not stop within {_STOP_TIMEOUT} s of SIGTERM and was killed.")

    def kill(self) -> None:
        """Kill the node and all else in its container. Raises `BrokerError` when it cannot be proven gone."""
        if not self._state()["Running"]:
            return
        try:
            self._container.kill(signal="SIGKILL")
        except docker.errors.APIError as error:
            raise BrokerError(f"{self.spec} could not be killed: {_engine.explain(error)}.") from error
        deadline = time.monotonic() + _KILL_TIMEOUT
        while (state := self._state())["Running"] or state["Pid"]:
            if time.monotonic() > deadline:
                raise BrokerError(f"{self.spec} is still there {_KILL_TIMEOUT:.0f} s after SIGKILL: {state}.")
            time.sleep(0.02)
        if state["ExitCode"] != _KILLED:
            raise BrokerError(f"{self.spec} ended by itself before SIGKILL: {state}.")

    def start(self) -> None:
        """Start the same container again, on the same port and data. Raises `StartFailed`."""
        if not self._state()["Running"]:
            self._launched.start_again()
            self._wait_until_ready()

    def ended(self) -> str | None:
        """Tell in words how its container has ended; None while it runs, or when the engine does not answer."""
        try:
            state = self._state()
        except docker.errors.NotFound:
            return "its container was removed"
        except _engine.ENGINE_ERRORS:
            return None
        return None if state["Running"] else f"it exited with status {state['ExitCode']}"

    def ctl(self, *args: str) -> str:
        """Run rabbitmqctl in the container."""
        argv = ["rabbitmqctl", "--quiet", *args]
        try:
            status, streams = self._container.exec_run(argv, demux=True)
        except docker.errors.APIError as error:  # it does not run
            raise CtlFailed(args, 1, _engine.explain(error)) from error
        output, errors = map(_text, streams)
        if status:
            raise CtlFailed(args, status, errors + output)
        return output

    def mark(self) -> int:
        """Return how much the container has logged so far, in bytes."""
        return len(self._container.logs())

    def log_since(self, mark: int) -> str:
        """Return what the container logged since `mark`."""
        return _text(self._container.logs()[mark:])

    def close(self) -> None:
        """Remove the container and its volumes."""
        self._launched.remove()

    def _wait_until_ready(self) -> Mapping[str, Any]:
        try:
            return wait_until_ready(self.url, _START_TIMEOUT, self.ended)
        except NotReady as reason:
            tail = "\n".join(self.log_since(0).splitlines()[-_LOG_TAIL:])
            raise StartFailed(f"The broker {self.spec} did not start: {reason}.", tail) from None

    def _state(self) -> Mapping[str, Any]:
        self._container.reload()
        state: Mapping[str, Any] = self._container.attrs["State"]
        return state


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
