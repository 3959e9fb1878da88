"""Containers, on the engine of this machine.

Without an engine these are skipped, unless WORKQUEUE_REQUIRE_CONTAINER=1 says that there has to be one.
"""

import contextlib
import io
import os
import secrets
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pika
import psutil
import pytest
from testcontainers.core.config import testcontainers_config

from workqueue.broker import Broker, Capability, NodeConfig, errors, resolve
from workqueue.broker._engine import connect
from workqueue.broker.container import available

GRACE = 10.0  # seconds in which what was left behind must be gone
PERSISTENT = pika.BasicProperties(delivery_mode=2)


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = connect().client
    except errors.Unavailable as error:
        if os.environ.get("WORKQUEUE_REQUIRE_CONTAINER") == "1":
            pytest.fail(f"WORKQUEUE_REQUIRE_CONTAINER=1, but: {error}")
        pytest.skip(str(error))
    with contextlib.closing(client):
        yield client


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient) -> Iterator[str]:
    """The image that `workqueue broker image` makes."""
    name = f"workqueue-rabbitmq:test-{secrets.token_hex(4)}"
    made = subprocess.run(
        [Path(sys.executable).with_name("workqueue"), "broker", "image", "--release", "trixie", "--tag", name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout == f"{name}\n"
    yield name
    engine.images.remove(name, force=True)


@pytest.fixture(scope="module")
def broker(image: str) -> Iterator[Broker]:
    config = NodeConfig(settings={"channel_max": "77"})
    with resolve(f"container:{image}").start(config) as started:
        yield started


@pytest.fixture
def container(engine: docker.DockerClient, broker: Broker) -> docker.models.containers.Container:
    port = broker.url.rpartition(":")[2].partition("/")[0]
    return next(
        found
        for found in engine.containers.list(all=True, filters={"label": "workqueue.run"})
        if [binding["HostPort"] for binding in bindings(found)] == [port]
    )


def bindings(container: docker.models.containers.Container) -> list[dict[str, str]]:
    return container.attrs["HostConfig"]["PortBindings"].get("5672/tcp", [])


@contextlib.contextmanager
def channel(url: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        opened = connection.channel()
        opened.confirm_delivery()
        yield opened


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_tasks_outlive_the_container_on_the_same_port(
    broker: Broker, container: docker.models.containers.Container, queue_type: str
) -> None:
    url = broker.url
    with channel(url) as declaring:
        declaring.queue_declare(queue_type, durable=True, arguments={"x-queue-type": queue_type})

    # Stopped first: a quorum queue that is younger than half a second may not come back after a kill.
    for end, exits_with in ((broker.stop, 0), (broker.kill, 137)):
        # Given a persistent task that the broker confirmed
        with channel(url) as before:
            before.basic_publish("", queue_type, end.__name__.encode(), PERSISTENT)

        # When the broker ends, and is started again
        end()
        container.reload()
        assert (container.status, container.attrs["State"]["ExitCode"]) == ("exited", exits_with)
        broker.start()

        # Then the task is there, at the same address
        assert broker.url == url
        with channel(url) as after:
            _, _, body = next(after.consume(queue_type, auto_ack=True, inactivity_timeout=10))
        assert body == end.__name__.encode()


def test_only_the_loopback_interface_listens(broker: Broker, container: docker.models.containers.Container) -> None:
    assert [binding["HostIp"] for binding in bindings(container)] == ["127.0.0.1"]
    port = pika.URLParameters(broker.url).port
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family is socket.AF_INET and not address.address.startswith("127."):
                with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
                    socket.create_connection((address.address, port), timeout=1)


def test_the_handle_says_what_it_is(broker: Broker, engine: docker.DockerClient, image: str) -> None:
    assert broker.about.provider == "container"
    assert broker.about.product == "RabbitMQ"
    assert broker.about.version.startswith("4.0.")
    assert broker.about.erlang.startswith("27.")
    assert broker.about.package == engine.images.get(image).id
    assert broker.about.configuration["channel_max"] == "77"
    assert broker.capabilities == frozenset(Capability)
    password = pika.URLParameters(broker.url).credentials.password
    assert password not in repr(broker) + broker.safe_url + broker.spec


def test_the_configuration_takes_effect(broker: Broker) -> None:
    assert broker.ctl("eval", "application:get_env(rabbit, channel_max).").strip() == "{ok,77}"
    assert broker.ctl("eval", "application:get_env(rabbit, channel_tick_interval).").strip() == "{ok,1000}"


def test_rabbitmqctl_tells_its_status(broker: Broker) -> None:
    with pytest.raises(errors.CtlFailed, match="no_such_command") as failed:
        broker.ctl("no_such_command")
    assert failed.value.status != 0


def test_the_log_is_read_from_a_mark(broker: Broker) -> None:
    mark = broker.mark()
    with channel(broker.url):
        pass
    assert "connection" in broker.log_since(mark)
    assert "Starting RabbitMQ" not in broker.log_since(mark)
    assert "Starting RabbitMQ" in broker.log_since(0)


def test_an_advanced_config_of_the_image_is_left_alone(engine: docker.DockerClient, image: str) -> None:
    # Given an image with a configuration of its own
    archive, content = io.BytesIO(), b"[{rabbit, [{consumer_timeout, 4242}]}].\n"
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("etc/rabbitmq/advanced.config")
        member.size, member.mode = len(content), 0o644
        tar.addfile(member, io.BytesIO(content))
    template = engine.containers.create(image)
    template.put_archive("/", archive.getvalue())
    name = f"{image}-advanced"
    template.commit(*name.split(":"))
    template.remove()

    # When a broker is started from it
    try:
        with resolve(f"container:{name}").start() as started:
            # Then its setting is there, and the handle does not claim that ours are
            assert started.ctl("eval", "application:get_env(rabbit, consumer_timeout).").strip() == "{ok,4242}"
            assert Capability.CONFIGURE not in started.capabilities
            assert "channel_tick_interval" not in started.about.configuration
    finally:
        engine.images.remove(name, force=True)


@pytest.mark.parametrize(
    "credentials", [{}, {"username": "producer", "password": "s3cret", "vhost": "tasks"}], ids=["guest", "own"]
)
@pytest.mark.filterwarnings("ignore:The @wait_container_is_ready decorator:DeprecationWarning")  # its own use of it
def test_testcontainers_runs_the_image(
    monkeypatch: pytest.MonkeyPatch, image: str, credentials: dict[str, str]
) -> None:
    from testcontainers.community.rabbitmq import RabbitMqContainer  # not at the top: it warns

    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    with (
        RabbitMqContainer(image, **credentials) as container,
        pika.BlockingConnection(container.get_connection_params()) as connection,
    ):
        opened = connection.channel()
        opened.queue_declare("task_queue", durable=True, arguments={"x-queue-type": "quorum"})
        opened.basic_publish("", "task_queue", b"Hello World!", PERSISTENT)
        _, _, body = next(opened.consume("task_queue", inactivity_timeout=10))
    assert body == b"Hello World!"


def test_no_such_image(engine: docker.DockerClient) -> None:
    began = time.monotonic()
    with pytest.raises(errors.Unavailable, match=r"no image workqueue/no-such-image:1 .*workqueue broker image"):
        resolve("container:workqueue/no-such-image:1").prepare()
    assert time.monotonic() - began < 20


def test_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(errors.Unavailable, match=r"No container engine answers at unix://.*--broker debian"):
        resolve("container:rabbitmq:4").prepare()
    serves, why = available()
    assert not serves
    assert "No container engine answers" in why


def test_an_image_that_is_no_broker(image: str, engine: docker.DockerClient) -> None:
    template = engine.containers.create(image)
    name = f"{image}-broken"
    template.commit(*name.split(":"), changes='CMD ["sh", "-c", "echo out of order; exit 5"]')
    template.remove()
    try:
        with pytest.raises(errors.StartFailed, match=r"(?s)exited with status 5.*out of order"):
            resolve(f"container:{name}").start()
    finally:
        engine.images.remove(name, force=True)


def test_what_is_no_name_of_an_image(engine: docker.DockerClient) -> None:
    with pytest.raises(errors.SpecError, match="'No:Such:Name' is no name of an image"):
        resolve("container:No:Such:Name").prepare()


@pytest.mark.parametrize("spec", ["container:", "container:two words"])
def test_a_malformed_spec(spec: str) -> None:
    with pytest.raises(errors.SpecError, match="container:IMAGE"):
        resolve(spec)


def owner(image: str, does: str) -> tuple[subprocess.Popen[str], str]:
    """Start a process that has containers, and return it with the label of those."""
    code = """
        import signal, sys
        from workqueue.broker import resolve
        from workqueue.broker._engine import run_label
        print("=".join(run_label()), flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code) + textwrap.dedent(does), f"container:{image}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def wait_until_gone(engine: docker.DockerClient, label: str, *, for_good: float = 0) -> None:
    """Wait until there is no container with `label`, and none comes for `for_good` seconds."""
    began = since = time.monotonic()
    while True:
        left = engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        now = time.monotonic()
        if left:
            since = now
        elif now - since >= for_good:
            return
        assert now - began < GRACE + for_good, f"left behind: {left}"
        time.sleep(0.1)


def test_no_container_outlives_its_owner_killed(engine: docker.DockerClient, image: str) -> None:
    # Given a process with a broker in a container
    process, label = owner(image, "broker = resolve(sys.argv[1]).start(); print('up', flush=True); signal.pause()")
    with process, contextlib.ExitStack() as ends:
        ends.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert len(engine.containers.list(filters={"label": label})) == 1

        # When it is killed, with no chance to clear up
        process.send_signal(signal.SIGKILL)

    # Then the container goes too
    wait_until_gone(engine, label)


@pytest.mark.parametrize("after", [0.4, 0.5, 0.6, 0.7])
def test_no_container_outlives_its_owner_killed_while_making_it(
    engine: docker.DockerClient, image: str, after: float
) -> None:
    # Given a process that makes one container after another, so that a request is under way nearly always
    process, label = owner(image, "while True: resolve(sys.argv[1]).prepare()")
    with process:
        time.sleep(after)  # any moment will do
        process.send_signal(signal.SIGKILL)

    # Then the one that it was making does not stay, however late it comes
    wait_until_gone(engine, label, for_good=3)
