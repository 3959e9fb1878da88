"""What can go wrong with a broker, as one small tree.

Every message says what happened, why, and what to do about it.
"""

from collections.abc import Sequence


class BrokerError(Exception):
    """Root of everything that a provider or a broker handle raises on purpose."""


class SpecError(BrokerError):
    """A `--broker` spec that is malformed, or that names no provider."""


class Unavailable(BrokerError):  # noqa: N818 - a fact about the broker
    """It cannot be had: nothing installed, no such release or image, unreachable, or it refuses us."""


class StartFailed(BrokerError):  # noqa: N818 - what happened
    """A node exited or was not ready in time. `log` is the end of what it logged."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(f"{message}\n\nThe end of its log:\n{log}" if log.strip() else message)
        self.log = log


class CtlFailed(BrokerError):  # noqa: N818 - what happened
    """A `rabbitmqctl` command ended with a status other than 0."""

    def __init__(self, argv: Sequence[str], status: int, output: str) -> None:
        super().__init__(f"`rabbitmqctl {' '.join(argv)}` ended with status {status}:\n{output.strip()}")
        self.argv = tuple(argv)
        self.status = status
        self.output = output
