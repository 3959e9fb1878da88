"""Is a broker ready? An AMQP handshake and a declared queue tell; a log line would not."""

import time
from collections.abc import Callable
from typing import Any

from workqueue.warden._amqp import AmqpError, Connection

_BETWEEN = 0.03  # seconds between two attempts
_ATTEMPT = 5.0  # seconds that one attempt may wait for an answer
_SIGN_OF_LIFE = 10.0  # seconds that a broker may take to show that it is alive: it may have much to do

# Reply codes of what does not serve: something that is no broker, one that is stopped, one that fails by itself. All
# others, such as 403 and 530, are answers of one that serves, if not us.
_NOT_SERVING = {0, 320, 541}


class NotReady(Exception):  # noqa: N818 - what happened
    """It was not ready in time, or ended; the text says which."""


def greet(url: str, timeout: float = _ATTEMPT) -> dict[str, Any]:
    """Shake hands, declare a queue, take leave; return what the broker tells about itself.

    Raises `OSError` when it cannot be reached, and `AmqpError` when it refuses us.
    """
    with Connection(url, timeout) as connection:
        connection.declare_exclusive()
        return connection.server


def why_silent(url: str) -> str | None:
    """Why no broker serves there, or None if one does; one that serves and refuses us does."""
    try:
        greet(url, _SIGN_OF_LIFE)
    except TimeoutError:
        return f"it says nothing for {_SIGN_OF_LIFE:g} s"
    except OSError as error:
        return error.strerror or str(error)
    except AmqpError as error:
        return str(error) if error.code in _NOT_SERVING else None
    return None


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
