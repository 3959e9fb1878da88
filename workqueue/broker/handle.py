"""What every provider hands out: a `Source` that prepares and starts brokers, and the `Broker` it starts."""

import abc
import dataclasses
import enum
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from workqueue.broker._probe import why_silent
from workqueue.broker.hidden import HiddenURL
from workqueue.broker.progress import Progress, silent


class Capability(enum.StrEnum):
    """What a broker handle is able to do beyond speaking AMQP."""

    RESTART = "restart"
    """`restart()` works, and data is kept. (Its parts `stop()` and `start()` work where `kill()` does.)"""
    KILL = "kill"
    """`kill()` sends SIGKILL to the node, and `start()` starts it again."""
    CTL = "ctl"
    """`ctl()` runs rabbitmqctl."""
    LOGS = "logs"
    """`log_since()` returns what the node logged."""
    CONFIGURE = "configure"
    """The `NodeConfig` given to `Source.start` took effect."""


@dataclasses.dataclass(frozen=True)
class About:
    """What a running broker is."""

    spec: str
    provider: str
    product: str
    """As the broker calls itself, such as `RabbitMQ`."""
    version: str
    erlang: str
    """The Erlang/OTP version as the broker tells it; empty when it does not."""
    package: str | None = None
    """Version of the package, or digest of the image, that it was started from."""
    configuration: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What we chose, and what `workqueue.broker.configuration.observe` found out."""


def _quick_ticks() -> Mapping[str, str]:
    return {"channel_tick_interval": "1000", "quorum_tick_interval": "1000"}


@dataclasses.dataclass(frozen=True)
class NodeConfig:
    """How a node of ours is configured.

    The default makes the broker look at its timers every second instead of every minute (consumer timeouts)
    or every five seconds (quorum queues), so that specs can observe them within seconds.
    """

    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Lines of rabbitmq.conf: `{"vm_memory_high_watermark.absolute": "64MB"}`."""
    advanced: Mapping[str, str] = dataclasses.field(default_factory=_quick_ticks)
    """Entries of advanced.config's `{rabbit, [...]}`, each value an Erlang term."""


DEFAULT_CONFIG = NodeConfig()


class Broker(abc.ABC):
    """A broker that we can talk to and, as far as `capabilities` says, stop, kill and restart.

    What is not in `capabilities` raises `NotImplementedError`. Closing a broker twice is harmless.
    """

    spec: str
    """Where it came from, without a password."""
    safe_url: str
    """The URL with its password hidden."""
    about: About
    capabilities: frozenset[Capability]
    _url: HiddenURL

    @property
    def url(self) -> str:
        """AMQP URL with credentials; never print it."""
        return self._url

    @url.setter
    def url(self, url: str) -> None:
        self._url = HiddenURL(url)

    def stop(self) -> None:
        """Stop it gracefully; returns when it is gone."""
        raise NotImplementedError(f"{self.spec} cannot be stopped from here")

    def kill(self) -> None:
        """End it with SIGKILL; returns when it is proven gone."""
        raise NotImplementedError(f"{self.spec} cannot be killed from here")

    def start(self) -> None:
        """Start it again on the same address and data; returns when handshake and declared queue succeeded.

        Raises `StartFailed` when it is not ready in time.
        """
        raise NotImplementedError(f"{self.spec} cannot be started from here")

    def restart(self) -> None:
        """Stop it gracefully and start it again."""
        self.stop()
        self.start()

    def ended(self) -> str | None:
        """Tell in words how its node has ended; None while it runs, and where that cannot be told from here."""
        return None

    def ctl(self, *args: str) -> str:
        """Run `rabbitmqctl --quiet ARGS` and return what it printed. Raises `CtlFailed`."""
        raise NotImplementedError(f"{self.spec} has no rabbitmqctl to call")

    def mark(self) -> int:
        """Return a position in its log, for `log_since`."""
        raise NotImplementedError(f"the log of {self.spec} cannot be read from here")

    def log_since(self, mark: int) -> str:
        """Return what it logged since `mark`, over restarts too."""
        raise NotImplementedError(f"the log of {self.spec} cannot be read from here")

    def does_not_answer(self) -> str | None:
        """Why it does not serve, as a handshake of our own tells, or None if it does."""
        return why_silent(self.url)

    @abc.abstractmethod
    def close(self) -> None:
        """End it, if it is ours, and remove its data."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec} at {self.safe_url}>"


class Source(abc.ABC):
    """A way to get brokers of one kind; each provider has its own."""

    spec: str
    """Resolved and normalised (`auto` became `debian:trixie`, say), with the password of a URL hidden."""
    why: str | None = None
    """Why this one was chosen, where the spec left the choice to us."""

    def prepare(self, progress: Progress = silent) -> None:  # noqa: B027 - nothing to do is the default
        """Do what can take long or fail before the first start: fetch, unpack, pull, see whether it answers.

        Idempotent, and safe to be called by several processes at once. Raises `Unavailable`.
        """

    def check(self, config: NodeConfig) -> None:  # noqa: B027 - those that we start can be configured
        """See whether its brokers can be configured like that. Raises `SpecError`."""

    @abc.abstractmethod
    def start(self, config: NodeConfig = DEFAULT_CONFIG) -> Broker:
        """Start a broker and return when it is ready. Raises `StartFailed` or `Unavailable`."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec}>"
