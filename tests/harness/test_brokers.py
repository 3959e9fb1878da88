"""Real brokers: a node of a Debian release is stopped, killed, started and looked at, and leaves nothing behind."""

import contextlib
import ipaddress
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pika
import psutil
import pytest

from workqueue.broker import Broker, Capability, NodeConfig, debian, errors, resolve
from workqueue.warden import Warden

GRACE = 15.0  # seconds in which everything must be gone; it takes some tenths

SPEC = "debian:trixie"


@pytest.fixture(scope="module")
def node(others: set[int]) -> Iterator[Broker]:
    source = resolve(SPEC)
    try:
        source.prepare()
    except errors.Unavailable as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))
    config = NodeConfig(settings={"consumer_timeout": "7000"}, advanced={"channel_tick_interval": "1500"})
    with source.start(config) as node:
        yield node


@contextlib.contextmanager
def channel(url: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


def publish(url: str, queue: str, count: int) -> None:
    with channel(url) as to:
        to.queue_declare(queue, durable=True)
        to.confirm_delivery()
        for number in range(count):
            to.basic_publish("", queue, str(number).encode(), pika.BasicProperties(delivery_mode=2))


def drain(url: str, queue: str) -> int:
    with channel(url) as from_:
        count = 0
        while from_.basic_get(queue, auto_ack=True)[0]:
            count += 1
        return count


Names = Callable[[Iterable[psutil.Process]], list[str]]


def eventually(condition: Callable[[], bool], patience: float = GRACE) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process in the end, lest a failed assertion wait for it for ever."""
    try:
        yield
    finally:
        process.kill()


def family(root: int) -> list[psutil.Process]:
    return psutil.Process(root).children(recursive=True)


@pytest.fixture(scope="module")
def others() -> set[int]:
    """The processes that other tests of this run have already started, such as a broker that the session shares."""
    return {process.pid for process in family(os.getpid())}


def node_family(others: set[int]) -> list[psutil.Process]:
    return [process for process in family(os.getpid()) if process.pid not in others]


class TestNode:
    def test_says_what_it_is(self, node: Broker) -> None:
        assert node.spec == SPEC
        assert node.about.provider == "debian"
        assert node.about.product == "RabbitMQ"
        assert node.about.version.startswith("4.0")
        assert node.about.package is not None
        assert node.about.package.startswith(node.about.version)
        assert re.fullmatch(r"\d+(\.\d+)+", node.about.erlang)
        assert node.capabilities == frozenset(Capability)

    def test_shows_no_password(self, node: Broker) -> None:
        password = node.url.split(":")[2].split("@")[0]
        assert len(password) > 16
        assert password not in node.safe_url + repr(node) + str(node.about)

    def test_is_configured_as_asked(self, node: Broker) -> None:
        environment = "[application:get_env(rabbit, K) || K <- [consumer_timeout, channel_tick_interval]]."
        assert node.ctl("eval", environment).strip() == "[{ok,7000},{ok,1500}]"
        assert node.about.configuration == {"consumer_timeout": "7000", "channel_tick_interval": "1500"}

    def test_ctl_returns_what_it_prints(self, node: Broker) -> None:
        publish(node.url, "ctl", 3)
        rows = [line.split("\t") for line in node.ctl("list_queues", "name", "messages_ready").splitlines()]
        assert ["ctl", "3"] in rows

    def test_a_ctl_that_fails_tells_status_and_output(self, node: Broker) -> None:
        with pytest.raises(
            errors.CtlFailed, match=r"`rabbitmqctl delete_queue nowhere` ended with status 6\d"
        ) as caught:
            node.ctl("delete_queue", "nowhere")
        assert "not found" in caught.value.output.lower()

    def test_keeps_its_data_when_it_is_stopped(self, node: Broker) -> None:
        publish(node.url, "stopped", 5)
        mark = node.mark()
        node.stop()
        assert "SIGTERM received" in node.log_since(mark)
        assert "BOOT FAILED" not in node.log_since(mark)
        node.stop()  # again: harmless
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            publish(node.url, "stopped", 1)
        url = node.url
        node.start()
        assert node.url == url
        assert drain(node.url, "stopped") == 5

    def test_keeps_its_data_when_it_is_killed(self, node: Broker, others: set[int], names: Names) -> None:
        publish(node.url, "killed", 0)
        node.restart()  # a queue just declared may be forgotten: durability.new-classic-queue-has-a-window
        publish(node.url, "killed", 5)
        beams = [process for process in node_family(others) if names([process])[:1] == ["beam.smp"]]
        assert beams
        mark = node.mark()
        node.kill()
        assert not alive(beams)
        assert "SIGTERM" not in node.log_since(mark)
        node.kill()  # again: harmless
        node.start()
        assert "Starting RabbitMQ" in node.log_since(mark)
        assert drain(node.url, "killed") == 5

    def test_a_stop_right_after_the_start_is_a_clean_one(self, node: Broker) -> None:
        mark = node.mark()
        node.restart()
        node.restart()
        assert "BOOT FAILED" not in node.log_since(mark)

    def test_listens_on_loopback_only(self, node: Broker) -> None:
        listening: dict[str, set[str]] = {}
        for process in family(os.getpid()):
            with contextlib.suppress(psutil.NoSuchProcess):
                for connection in process.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        listening.setdefault(process.name(), set()).add(connection.laddr.ip)
        assert {"beam.smp", "epmd"} <= set(listening)
        for name, addresses in listening.items():
            for address in addresses:
                assert ipaddress.ip_address(address).is_loopback, f"{name} listens on {address}"

    def test_its_epmd_is_the_only_one_it_started(self, node: Broker, others: set[int], names: Names) -> None:
        assert names(node_family(others)).count("epmd") == 1


def test_a_debian_release_is_entered_with_an_ordinary_users_path(node: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    del node  # it was fetched, and can be entered
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # Debian's for people has no sbin, where chroot is
    debian._way_in.cache_clear()
    resolve(SPEC).prepare()


class TestExternal:
    def test_somebodys_broker(self, node: Broker) -> None:
        with resolve(node.url).start() as external:
            assert external.about.provider == "external"
            assert external.about.version == node.about.version
            assert external.about.erlang == node.about.erlang
            assert external.spec == node.safe_url
            assert external.capabilities == frozenset()
            with pytest.raises(NotImplementedError, match="cannot be killed from here"):
                external.kill()
        publish(node.url, "still there", 1)

    def test_wrong_credentials(self, node: Broker) -> None:
        url = node.url.replace("amqp://wq:", "amqp://wq:not-")
        with pytest.raises(errors.Unavailable, match="refuses the user 'wq': wrong name or password") as caught:
            resolve(url).prepare()
        assert "not-" not in str(caught.value)

    def test_a_user_without_permissions_is_not_told_that_the_login_is_wrong(self, node: Broker) -> None:
        node.ctl("add_user", "guest-of-ours", "secret")
        url = f"amqp://guest-of-ours:secret@{node.url.rpartition('@')[2]}"
        node.ctl("set_permissions", "guest-of-ours", "^wq-", ".*", ".*")
        with pytest.raises(errors.Unavailable, match="lets the user 'guest-of-ours' in, but does not permit") as caught:
            resolve(url).prepare()
        assert "access to queue 'amq.gen-" in str(caught.value)
        assert "rabbitmqctl set_permissions" in str(caught.value)
        assert "password" not in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_no_such_virtual_host(self, node: Broker) -> None:
        with pytest.raises(errors.Unavailable, match="virtual host"):
            resolve(node.url.replace("%2F", "nowhere")).prepare()

    def test_a_restart_command(self, node: Broker, tmp_path: Path) -> None:
        command = ["sh", "-c", 'echo "$0" > "$1"', "a b", str(tmp_path / "ran")]
        with resolve(node.url, restart_command=command).start() as external:
            assert external.capabilities == {Capability.RESTART}
            external.restart()
        assert (tmp_path / "ran").read_text() == "a b\n"

    @pytest.mark.parametrize(
        ("command", "message"),
        [
            (["sh", "-c", "echo no permission; exit 4"], r"ended with status 4:\nno permission"),
            (["/no/such/command"], "could not be run: No such file"),
        ],
    )
    def test_a_restart_command_that_fails(self, node: Broker, command: list[str], message: str) -> None:
        external = resolve(node.url, restart_command=command).start()
        with pytest.raises(errors.BrokerError, match=message):
            external.restart()

    def test_queues_that_the_warden_was_told_of_go_with_it(self, node: Broker) -> None:
        with Warden() as warden:
            for queue in ("ours", "forgotten", "never declared"):
                warden.own_queue(node.url, queue)
            warden.disown_queue(node.url, "forgotten")
            publish(node.url, "ours", 2)
            publish(node.url, "forgotten", 2)
        names = node.ctl("list_queues", "name").splitlines()
        assert "ours" not in names
        assert "forgotten" in names


OWNER = Path(__file__).with_name("owner.py")
WITHOUT_NAMESPACES = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")


@pytest.mark.usefixtures("node")  # it is in the cache then
class TestNothingStaysBehind:
    @pytest.mark.parametrize(
        "prefix",
        [
            (),
            pytest.param(
                WITHOUT_NAMESPACES,
                marks=pytest.mark.skipif(
                    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv"
                ),
            ),
        ],
        ids=["as we are", "in a plain chroot"],
    )
    def test_when_the_owner_is_killed(self, prefix: tuple[str, ...], names: Names) -> None:
        with self.owner(prefix) as owner:
            assert owner.stdout is not None
            run = Path(owner.stdout.readline().strip())
            assert owner.stdout.readline() == "started\n"
            processes = family(owner.pid)
            assert {"beam.smp", "epmd", "erl_child_setup", "inet_gethost"} <= set(names(processes))
            assert run.is_dir()

            owner.kill()

            assert eventually(lambda: not alive(processes))
            assert not run.exists()

    @pytest.mark.parametrize("after", [0.1, 0.4, 1.0, 1.6])
    def test_when_the_owner_is_killed_while_it_starts(self, after: float) -> None:
        with self.owner(()) as owner:
            time.sleep(after)  # the moment is the test's parameter
            processes = family(owner.pid)

            owner.kill()

            assert eventually(lambda: not alive(processes))
            assert owner.stdout is not None
            folders = [Path(line.strip()) for line in owner.stdout]
            assert eventually(lambda: not any(folder.is_dir() for folder in folders))

    @contextlib.contextmanager
    def owner(self, prefix: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
        command = [*prefix, sys.executable, str(OWNER), SPEC, "node"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner, ended(owner):
            assert owner.stdout is not None
            assert owner.stdout.readline() == "begun\n"
            yield owner


class TestCommandLine:
    def test_a_broker_in_the_foreground(self, node: Broker, tmp_path: Path) -> None:
        temporary = tmp_path / ("long" * 25)  # longer than the path of a socket may be
        temporary.mkdir()
        environment = {**os.environ, "TMPDIR": str(temporary)}
        environment.pop("WORKQUEUE_URL", None)

        def workqueue(*args: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "workqueue", *args],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )

        with (
            subprocess.Popen(
                [sys.executable, "-m", "workqueue", "broker", "run", "--broker", SPEC],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            ) as keeper,
            ended(keeper),
        ):
            assert keeper.stdout is not None
            lines = itertools.takewhile(lambda line: not line.startswith("CTRL+C ends it"), keeper.stdout)
            [url] = [line.strip() for line in lines if line.startswith("    amqp://")]
            publish(url, "task_queue", 2)

            shown = workqueue("queues")
            assert shown.stdout == "name\tmessages_ready\tmessages_unacknowledged\ntask_queue\t2\t0\n"
            assert workqueue("queues", "--url", url).stdout == shown.stdout
            assert workqueue("broker", "ctl", "list_queues", "name").stdout == "name\ntask_queue\n"
            wrong = workqueue("broker", "ctl", "delete_queue", "nowhere")
            assert wrong.returncode == 64
            assert "not found" in wrong.stderr.lower()
            [state] = temporary.glob("workqueue-broker-*/broker.json")
            assert state.stat().st_mode & 0o777 == 0o600

            processes = family(keeper.pid)
            keeper.send_signal(signal.SIGTERM)
            assert keeper.wait(GRACE) == 0
            assert not alive(processes)
            assert not list(temporary.iterdir())

        assert workqueue("broker", "ctl", "status").returncode == 3
        assert "No `workqueue broker run` keeps a broker now." in workqueue("broker", "ctl", "status").stderr

    @pytest.mark.parametrize("spec", ["debian:jessie", "local:/nowhere", "amqp://127.0.0.1:1", "rabbit"])
    def test_no_broker_to_be_had_is_exit_code_3(self, spec: str) -> None:
        run = subprocess.run(
            [sys.executable, "-m", "workqueue", "broker", "run", "--broker", spec],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 3
        assert run.stderr.startswith("Error: ") or "\nError: " in run.stderr
        assert "Traceback" not in run.stderr
