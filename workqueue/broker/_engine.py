"""A container engine, as far as we need one: does it answer, which images can it have, the reaper."""

import contextlib
import functools
import queue
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import docker
import docker.errors
from docker.models.images import Image
from docker.utils import parse_repository_tag
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import Reaper
from testcontainers.core.docker_client import DockerClient, get_docker_host
from testcontainers.core.exceptions import ContainerConnectException, ContainerStartException

from workqueue.broker.errors import SpecError, Unavailable
from workqueue.broker.progress import Progress

# What the engine's client raises when the engine is not there, refuses, or breaks off: it lets the errors of
# the libraries under it through, and those are all OSErrors.
ENGINE_ERRORS = (docker.errors.DockerException, OSError)

_DEFAULT_HOST = "npipe:////./pipe/docker_engine" if sys.platform == "win32" else "unix:///var/run/docker.sock"
_ANSWER = 5  # seconds that an engine has to answer a ping
_PATIENCE = 120  # seconds that any other request may take on a busy machine
_FIRST_WORD = 15.0  # seconds until a pull must have begun or failed; engines give a registry as long
_NEXT_WORD = 120.0  # seconds of silence in the middle of a pull, such as the unpacking of a big layer


def connect() -> DockerClient:
    """Return a client of the engine that testcontainers would use. Raises `Unavailable` if none answers."""
    where = get_docker_host() or _DEFAULT_HOST
    try:
        _knock(where)
        client = DockerClient(timeout=_ANSWER)
        client.client.ping()
    except ENGINE_ERRORS as error:
        raise Unavailable(
            f"No container engine answers at {where} ({explain(error)}). Start one (`systemctl start docker`),"
            " set DOCKER_HOST, or take a broker that needs no engine, such as `--broker debian:trixie`."
        ) from error
    client.client.api.timeout = _PATIENCE
    return client


def _knock(where: str) -> None:
    """Raise `OSError` if nobody listens on the socket, which the engine's client takes longer to say."""
    scheme, _, path = where.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_ANSWER)
            probe.connect(path)


def explain(error: BaseException) -> str:
    """Return what an engine or its client said, without the layers of wrapping around it."""
    explanation = getattr(error, "explanation", None)
    text = explanation if isinstance(explanation, str) and explanation else str(error)
    return " ".join(text.split()).rstrip(".")


@functools.cache
def run_label() -> tuple[str, str]:
    """Return the label, as key and value, of every container that this process creates."""
    return "workqueue.run", secrets.token_hex(8)


def find_image(client: DockerClient, name: str) -> Image | None:
    """Return the image called `name` if the engine has it. Raises `SpecError` if no image can be called so."""
    try:
        return client.client.images.get(name)
    except docker.errors.ImageNotFound:
        return None
    except docker.errors.APIError as error:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            raise SpecError(f"{name!r} is no name of an image: {explain(error)}.") from error
        raise


def can_pull(client: DockerClient, name: str) -> str | None:
    """Let the engine ask the registry for `name`. Return None, or why it cannot be pulled, within seconds."""
    api: Any = client.client.api
    timeout, api.timeout = api.timeout, _ANSWER
    try:
        api.inspect_distribution(name)
    except ENGINE_ERRORS as error:
        return explain(error)
    finally:
        api.timeout = timeout
    return None


def pull_image(client: DockerClient, name: str, progress: Progress) -> Image:
    """Pull `name`, telling how far it is. Raises `Unavailable` within seconds when it cannot be had."""
    repository, tag = parse_repository_tag(name)
    layers: dict[str, tuple[int, int]] = {}
    progress(f"Pulling {name}", 0.0)
    try:
        for event in _events(client, repository, tag or "latest"):
            if "error" in event:
                raise docker.errors.DockerException(str(event["error"]))
            detail = event.get("progressDetail") or {}
            if event.get("status") == "Downloading" and detail.get("total"):
                layers[event["id"]] = (detail["current"], detail["total"])
                done, total = (sum(numbers) for numbers in zip(*layers.values(), strict=True))
                progress(f"Pulling {name}", done / total)
        image = find_image(client, name)
    except ENGINE_ERRORS as error:
        raise Unavailable(
            f"The engine has no image {name} and could not pull it: {explain(error)}. Check the name and the "
            "network, or make an image from a Debian release with `workqueue broker image --release trixie` "
            "and take `--broker container:NAME` with the name that it prints."
        ) from error
    if image is None:
        raise Unavailable(f"The engine says that it pulled {name}, but has no such image.")
    progress(f"Pulling {name}", 1.0)
    return image


def _events(client: DockerClient, repository: str, tag: str) -> Iterator[dict[str, Any]]:
    # The engine's client has no time limit for a pull, and an engine behind a silent firewall takes minutes
    # to give up. So a thread listens; where we lose patience it is left to the engine to end it.
    heard: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()

    def listen() -> None:
        try:
            for event in client.client.api.pull(repository, tag=tag, stream=True, decode=True):
                heard.put(event)
            heard.put(None)
        except ENGINE_ERRORS as error:
            heard.put(error)

    threading.Thread(target=listen, name=f"pull {repository}:{tag}", daemon=True).start()
    patience = _FIRST_WORD
    while True:
        try:
            word = heard.get(timeout=patience)
        except queue.Empty:
            raise TimeoutError(f"the engine said nothing for {patience:.0f} s") from None
        if word is None:
            return
        if isinstance(word, BaseException):
            raise word
        yield word
        patience = _NEXT_WORD


def start_reaper(client: DockerClient, progress: Progress) -> str | None:
    """Start testcontainers' reaper if it can be had, and return None; else return why it cannot.

    It is a second net: the warden removes what we create in any case.
    """
    if testcontainers_config.ryuk_disabled:
        return "switched off by TESTCONTAINERS_RYUK_DISABLED"
    image = testcontainers_config.ryuk_image
    try:
        if find_image(client, image) is None:
            pull_image(client, image, progress)
        Reaper.get_instance()
    except Unavailable as error:
        return explain(error.__cause__ or error)
    except (*ENGINE_ERRORS, ContainerStartException, ContainerConnectException) as error:
        return explain(error)
    return None


@contextlib.contextmanager
def without_reaper() -> Iterator[None]:
    """Let testcontainers start a container without its reaper; the rest of the process keeps its own."""
    before = testcontainers_config.ryuk_disabled
    testcontainers_config.ryuk_disabled = True
    try:
        yield
    finally:
        testcontainers_config.ryuk_disabled = before
