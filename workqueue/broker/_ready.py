"""When a node is ready: it answered an AMQP handshake and declared a queue. No log line says as much."""

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import pika
import pika.exceptions

_BETWEEN = 0.1  # seconds from one attempt to the next
_ATTEMPT = 5.0  # seconds that one attempt may take


class NotReadyError(Exception):
    """The node does not serve, and why."""


def wait_until_ready(url: str, timeout: float, alive: Callable[[], bool]) -> Mapping[str, Any]:
    """Wait until the node at `url` serves, and return the properties that it introduces itself with.

    Raises `NotReadyError` when it did not within `timeout` seconds, when `alive` says that it is gone, or
    when it refuses the credentials of `url`: a node has its users before it listens.
    """
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = _ATTEMPT
    deadline = time.monotonic() + timeout
    while True:
        try:
            return _greet(parameters)
        except (pika.exceptions.AuthenticationError, pika.exceptions.ProbableAuthenticationError) as error:
            raise NotReadyError("it refuses the user that it was configured with") from error
        except (pika.exceptions.AMQPError, OSError) as error:
            last = error
        if not alive():
            raise NotReadyError("it exited") from last
        if time.monotonic() > deadline:
            raise NotReadyError(f"it did not serve within {timeout:.0f} s ({last!r})") from last
        time.sleep(_BETWEEN)


def _greet(parameters: pika.URLParameters) -> Mapping[str, Any]:
    connection = pika.BlockingConnection(parameters)
    try:
        connection.channel().queue_declare("", exclusive=True)
        # The blocking wrapper does not hand them out.
        properties: Mapping[str, Any] = cast("Any", connection)._impl.server_properties
        return properties
    finally:
        if connection.is_open:
            connection.close()
