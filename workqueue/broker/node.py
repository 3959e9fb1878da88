"""A private RabbitMQ node: its own ports on loopback, credentials, cookie, epmd and data, all temporary."""

import abc
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from workqueue.broker._ports import command_ports, free_port
from workqueue.broker._probe import NotReady, wait_until_ready
from workqueue.broker.errors import BrokerError, CtlFailed, StartFailed
from workqueue.broker.handle import DEFAULT_CONFIG, About, Broker, Capability, NodeConfig, Source
from workqueue.broker.installation import Identity, Installation
from workqueue.warden import Child, get_warden

_BOOT = 60.0  # seconds until it must be ready; an idle machine needs 2 to 4
_SETTLE = 10.0  # seconds for the boot to end after it serves; not told with another log level
_STOP = 60.0  # seconds for a graceful stop
_KILL = 10.0  # seconds until a killed process must be gone
_CTL = 60.0  # seconds for one rabbitmqctl command
_ATTEMPTS = 4  # of finding free ports
_TAIL = 60  # lines of its log in an error
_OPEN_FILES = 65536  # a container's unlimited makes the boot crawl

# What an old epmd (of Debian bullseye) complains of that was told the address of IPv4's loopback: it wants IPv6's, too.
_NO_IPV6 = "failed to bind on ipaddr"

# With these, an idle node does not compete for the CPU with the specs.
_ERL_ARGS = "+sbwt none +sbwtdcpu none +sbwtdio none +S 2:2 -kernel inet_dist_use_interface {127,0,0,1}"
_CTL_ERL_ARGS = "+sbwt none +sbwtdcpu none +sbwtdio none +S 1:1 -kernel inet_dist_use_interface {127,0,0,1}"

_START = f"""\
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -gt {_OPEN_FILES} ] && ulimit -n {_OPEN_FILES}
exec "$0"
"""
# Erlang would start an epmd that leaves our session; this one stays.
_START_WITH_EPMD = f"epmd &\n{_START}"


class InstalledSource(Source):
    """A source whose brokers are private nodes of an installation."""

    @abc.abstractmethod
    def installation(self) -> Installation:
        """Return where it is installed."""

    def start(self, config: NodeConfig = DEFAULT_CONFIG) -> Broker:
        """Start a node of it."""
        return PrivateNode.launch(self.installation(), config)


class PrivateNode(Broker):
    """A node of ours. Made and started by `PrivateNode.launch`."""

    def __init__(self, installation: Installation, config: NodeConfig, identity: Identity) -> None:
        self._installation = installation
        self._config = config
        self._identity = identity
        chrooted = installation.root != Path("/")
        self._run = get_warden().directory("wq-", parent=installation.root / "tmp" if chrooted else None)
        self._log = self._run / "log"
        self._log.touch()
        self._environment: dict[str, str] = {}
        self._epmd_address = {"ERL_EPMD_ADDRESS": "127.0.0.1"}
        self._child: Child | None = None
        self._closed = False
        self._started_at = 0
        self._settled = True
        self.spec = installation.spec
        self.capabilities = frozenset(Capability)
        self._write("home/.erlang.cookie", identity.cookie).chmod(0o400)
        self._write("enabled_plugins", "[].\n")
        self._write("advanced.config", _advanced(config.advanced))

    @classmethod
    def launch(cls, installation: Installation, config: NodeConfig, identity: Identity | None = None) -> "PrivateNode":
        """Start a node. Raises `StartFailed` with the end of its log."""
        node = cls(installation, config, identity or Identity())
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                node._listen_on(free_port())
                try:
                    node.start()
                except StartFailed as error:
                    if attempt == _ATTEMPTS:
                        raise
                    if _NO_IPV6 in error.log:
                        node._epmd_address = {}
                    elif "eaddrinuse" not in error.log:  # somebody else took a port between our look and the node's
                        raise
                else:
                    return node
            raise AssertionError("unreachable")
        except BaseException:
            node.close()
            raise

    @property
    def name(self) -> str:
        """Its Erlang node name."""
        return self._identity.name

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._child is not None and self._child.poll() is None

    def ended(self) -> str | None:
        """Tell in words how its process has ended; None while there is one."""
        status = None if self._child is None else self._child.poll()
        if status is None:
            return None
        return f"it exited with status {status}" if status >= 0 else f"it was killed by signal {-status}"

    def start(self) -> None:
        """Start it on the same port and data; returns when a handshake and a declared queue succeeded."""
        if self.is_running:
            return
        self._environment = self._make_environment()
        mark = self._started_at = self.mark()
        self._settled = False
        script = _START_WITH_EPMD if self._identity.epmd_port is None else _START
        with self._log.open("ab") as log:
            self._child = get_warden().spawn(
                self._installation.enter(["/bin/sh", "-c", script, self._installation.server]),
                env=self._environment,
                cwd="/",
                stdout=log.fileno(),
                stderr=log.fileno(),
            )
        try:
            properties = wait_until_ready(self.url, _BOOT, self.ended)
        except NotReady as reason:
            self.kill()
            tail = "\n".join(self.log_since(mark).splitlines()[-_TAIL:])
            raise StartFailed(f"The broker {self.spec} did not start: {reason}.", tail) from None
        if hasattr(self, "about"):
            return  # it was asked what it is, and a restart changes nothing of that
        self.about = About(
            spec=self.spec,
            provider=self._installation.provider,
            product=str(properties.get("product", "")),
            version=str(properties.get("version", "")),
            erlang=str(properties.get("platform", "")).removeprefix("Erlang/OTP "),
            package=self._installation.package,
            configuration={**self._config.settings, **self._config.advanced},
        )

    def stop(self) -> None:
        """Stop it gracefully: it closes its connections, flushes, and ends."""
        if self._child is None or self._child.poll() is not None:
            return
        self._wait_until_settled()
        for process in self._beams():
            process.terminate()  # Erlang takes SIGTERM for init:stop()
        try:
            self._child.wait(_STOP)
        except TimeoutError as error:
            raise BrokerError(f"The broker {self.spec} did not stop within {_STOP:g} s.") from error

    def kill(self) -> None:
        """SIGKILL the node; returns when its processes are gone."""
        if self._child is None or self._child.poll() is not None:
            return
        beams = self._beams()
        for process in beams:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if not beams:  # killed before there was one
            self._child.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(beams, _KILL)
        if alive:
            raise BrokerError(f"The broker {self.spec} is still there {_KILL:g} s after SIGKILL: {alive}.")
        self._child.wait(_KILL)

    def ctl(self, *args: str) -> str:
        """Run `rabbitmqctl --quiet ARGS` and return what it printed. Raises `CtlFailed`."""
        self._wait_until_settled()
        first_port, last_port = command_ports()
        environment = {
            **self._environment,
            "RABBITMQ_CTL_DIST_PORT_MIN": str(first_port),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(last_port),
        }
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            child = get_warden().spawn(
                self._installation.enter([self._installation.ctl, "--quiet", "-n", self.name, *args]),
                env=environment,
                cwd="/",
                stdout=output.fileno(),
                stderr=errors.fileno(),
            )
            try:
                status = child.wait(_CTL)
            except TimeoutError:
                child.send_signal(signal.SIGKILL)
                status = child.wait(_KILL)
            printed, complained = (_read(file.fileno()) for file in (output, errors))
        if status:
            raise CtlFailed(args, status, printed + complained)
        return printed

    def mark(self) -> int:
        """Return the position of its log's end."""
        return self._log.stat().st_size

    def log_since(self, mark: int) -> str:
        """Return what it logged since `mark`."""
        with self._log.open("rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")

    def close(self) -> None:
        """End it and remove its data."""
        if self._closed:
            return
        self._closed = True
        self.kill()
        get_warden().remove(self._run)

    def _listen_on(self, port: int) -> None:
        password = self._identity.password
        self.url = f"amqp://wq:{password}@127.0.0.1:{port}/%2F"
        self.safe_url = f"amqp://wq:***@127.0.0.1:{port}/%2F"
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{port}",
            "default_user": "wq",
            "default_pass": password,
            **self._installation.settings,
            **self._config.settings,
        }
        content = "".join(f"{key} = {value}\n" for key, value in settings.items())
        self._write("rabbitmq.conf", content).chmod(0o600)

    def _make_environment(self) -> dict[str, str]:
        run = self._installation.inside(self._run)
        return {
            **self._installation.environment,
            "HOME": f"{run}/home",
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(self._identity.epmd_port or free_port()),
            **self._epmd_address,
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{run}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{run}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{run}/enabled_plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{run}/generated",
            "RABBITMQ_MNESIA_BASE": f"{run}/data",
            "RABBITMQ_MNESIA_DIR": f"{run}/data/node",
            "RABBITMQ_PID_FILE": f"{run}/pid",
            "RABBITMQ_LOG_BASE": f"{run}/logs",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERL_ARGS,
            "RABBITMQ_CTL_ERL_ARGS": _CTL_ERL_ARGS,
            "RABBITMQ_IO_THREAD_POOL_SIZE": "32",  # else 3.8 starts a VM of its own to work it out
            "RUNNING_UNDER_SYSTEMD": "true",  # start script: become the node, do not stay and watch it
        }

    def _wait_until_settled(self) -> None:
        """Wait for the end of the boot: it serves shortly before, when 3.8 refuses rabbitmqctl and 4.0 a stop."""
        if self._settled:
            return
        self._settled = True
        deadline = time.monotonic() + _SETTLE
        while "startup complete" not in self.log_since(self._started_at) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _beams(self) -> list[psutil.Process]:
        assert self._child is not None
        try:
            leader = psutil.Process(self._child.pid)
            family = [leader, *leader.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        found = []
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith("beam"):
                    found.append(process)
        return found

    def _write(self, name: str, content: str) -> Path:
        path = self._run / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path


def _advanced(entries: Mapping[str, str]) -> str:
    terms = ", ".join(f"{{{key}, {value}}}" for key, value in entries.items())
    return f"[{{rabbit, [{terms}]}}].\n"


def _read(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")
