"""`amqp://...` and `amqps://...`: somebody's broker. Nothing is deleted there but what we declared."""

import shlex
import subprocess
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from workqueue._url import check_url, safe_url
from workqueue.broker._probe import NotReady, greet, wait_until_ready
from workqueue.broker.errors import BrokerError, SpecError, StartFailed, Unavailable
from workqueue.broker.handle import DEFAULT_CONFIG, About, Broker, Capability, NodeConfig, Source
from workqueue.broker.hidden import HiddenURL
from workqueue.broker.progress import Progress, silent
from workqueue.errors import InvalidURL
from workqueue.warden._amqp import AmqpError

# A refused login is a 403, too, and names nothing that access is refused to.
_MISSING_PERMISSION = "refused for user"

_ANSWER = 5.0  # seconds that it may take for each answer
_RESTART = 300.0  # seconds for the restart command
_READY = 120.0  # seconds after it until the broker must answer again


class ExternalSource(Source):
    """A broker that runs already."""

    def __init__(self, url: str, restart_command: Sequence[str] | None) -> None:
        self._url = HiddenURL(url)
        self._restart_command = restart_command
        self.spec = safe_url(url)

    def prepare(self, progress: Progress = silent) -> None:
        """See that it answers and lets us in."""
        progress(f"Connecting to {self.spec}")
        _ask(self._url, self.spec)

    def check(self, config: NodeConfig) -> None:
        """Refuse settings: it is configured already."""
        if config.settings:
            keys = ", ".join(config.settings)
            raise SpecError(f"{self.spec} runs already, so it cannot be configured from here ({keys}).")

    def start(self, config: NodeConfig = DEFAULT_CONFIG) -> Broker:
        """Connect to it."""
        self.check(config)
        return ExternalBroker(self._url, self.spec, _ask(self._url, self.spec), self._restart_command)


class ExternalBroker(Broker):
    """Somebody's broker; `restart` runs the command that was given for it."""

    def __init__(self, url: str, spec: str, properties: dict[str, Any], restart_command: Sequence[str] | None) -> None:
        self.spec = self.safe_url = spec
        self.url = url
        self.capabilities = frozenset({Capability.RESTART} if restart_command else ())
        self._restart_command = restart_command
        self.about = About(
            spec=spec,
            provider="external",
            product=str(properties.get("product", "")),
            version=str(properties.get("version", "")),
            erlang=str(properties.get("platform", "")).removeprefix("Erlang/OTP "),
        )

    def restart(self) -> None:
        """Run the restart command; returns when the broker is ready again."""
        if not self._restart_command:
            super().restart()
            return
        shown = shlex.join(self._restart_command)
        try:
            run = subprocess.run(
                self._restart_command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                timeout=_RESTART,
            )
        except subprocess.TimeoutExpired as error:
            raise BrokerError(f"`{shown}` did not end within {_RESTART:g} s.") from error
        except OSError as error:
            raise BrokerError(f"`{shown}` could not be run: {error.strerror}.") from error
        if run.returncode:
            raise BrokerError(f"`{shown}` ended with status {run.returncode}:\n{run.stdout.strip()}")
        try:
            wait_until_ready(self.url, _READY, lambda: None)
        except NotReady as reason:
            raise StartFailed(f"{self.spec} did not come back after `{shown}`: {reason}.") from None

    def close(self) -> None:
        """Leave it as it is."""


def _ask(url: str, shown: str) -> dict[str, Any]:
    user = urlsplit(url).username or "guest"
    try:
        return greet(url, _ANSWER)
    except AmqpError as error:
        if error.code == 403 and _MISSING_PERMISSION in error.text:
            raise Unavailable(
                f"The broker {shown} lets the user {user!r} in, but does not permit what a verification needs "
                f"({error}). Give that user the permissions that CI.md lists, by `rabbitmqctl set_permissions`."
            ) from None
        if error.code == 403:
            reason = f"it refuses the user {user!r}: wrong name or password, or not allowed from this host"
        elif error.code == 530:
            reason = f"it refuses the virtual host to the user {user!r}, or has no such virtual host"
        else:
            reason = error.text
        raise Unavailable(f"The broker {shown} does not let us in; {reason} ({error}).") from None
    except TimeoutError:
        raise Unavailable(
            f"The broker {shown} does not answer. Is it the right port, does a firewall drop packets, "
            "is the broker out of memory or disk?"
        ) from None
    except OSError as error:
        raise Unavailable(
            f"The broker {shown} cannot be reached: {error.strerror or error}. Is it running, is the address right?"
        ) from None


def source(spec: str, *, progress: Progress = silent, restart_command: Sequence[str] | None = None) -> Source:
    """Check the URL; it is not connected to yet."""
    del progress
    try:
        check_url(spec)
    except InvalidURL as error:
        raise SpecError(f"{safe_url(spec)}: {error}.") from None
    return ExternalSource(spec, restart_command)
