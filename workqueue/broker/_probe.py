"""Is a broker ready? An AMQP handshake and a declared queue tell; a log line would not."""

import time
from collections.abc import Callable
from typing import Any

from workqueue.warden._amqp import AmqpError, Connection

_BETWEEN = 0.03  # seconds between two attempts
_ATTEMPT = 5.0  # seconds that one attempt may wait for an answer


class NotReady(Exception):  # noqa: N818 - what happened
    """It was not ready in time, or ended; the text says which."""


def greet(url: str, timeout: float = _ATTEMPT) -> dict[str, Any]:
    """Shake hands, declare a queue, take leave; return what the broker tells about itself.

    Raises `OSError` when it cannot be reached, and `AmqpError` when it refuses us.
    """
    with Connection(url, timeout) as connection:
        connection.declare_exclusive()
        return connection.server


def wait_until_ready(url: str, timeout: float, ended: Callable[[], str | None]) -> dict[str, Any]:
    """Greet the broker until that succeeds; return what it tells about itself.

    Raises `NotReady` after `timeout` seconds, or as soon as `ended` returns how it ended.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return greet(url)
        except (OSError, AmqpError) as error:
            last = error
        how = ended()
        if how:
            raise NotReady(how)
        if time.monotonic() > deadline:
            raise NotReady(f"it was not ready within {timeout:g} s; the last attempt to connect said: {last}")
        time.sleep(_BETWEEN)
