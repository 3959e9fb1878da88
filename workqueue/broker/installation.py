"""What a private node is made of: the RabbitMQ that it runs, and by what others know it."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Installation:
    """Where a RabbitMQ is installed, and how to run a command there."""

    spec: str
    provider: str
    server: str
    """Path of rabbitmq-server, as seen from where it runs."""
    ctl: str
    """Path of rabbitmqctl."""
    environment: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)
    """What it needs in its rabbitmq.conf to run there."""
    package: str | None = None
    root: Path = Path("/")
    """What it sees as its root folder."""
    enter: Callable[[Sequence[str]], Sequence[str]] = field(default=lambda argv: argv)
    """Makes a command one that runs where it is installed."""

    def inside(self, path: Path) -> str:
        """Return `path` as the node sees it."""
        return "/" + str(path.relative_to(self.root))


def _new_name() -> str:
    return f"wq-{secrets.token_hex(4)}@localhost"


@dataclass(frozen=True)
class Identity:
    """By what other nodes and clients know a node. The nodes of a cluster share all but the name."""

    name: str = field(default_factory=_new_name)
    cookie: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    epmd_port: int | None = None
    """Where an epmd is that outlives the node; None for one of its own, which ends with it."""

    def renamed(self) -> Self:
        """Return the identity of another node of the same cluster."""
        return replace(self, name=_new_name())
