"""Waiting for conditions, never for time.

There are two ways to wait, and the difference decides verdicts: :func:`claim` waits for what the *broker
promised*, and a missed deadline means that the guarantee is broken; :func:`barrier` waits for what the *harness
needs*, and a missed deadline means that nothing can be said.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from pika.exceptions import (
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NackError,
    ProbableAccessDeniedError,
    UnroutableError,
)

from workqueue.guarantee.verdict import Broken, Unknown

T = TypeVar("T")

#: Seconds to wait for anything, unless a spec says otherwise. Long, because only a failure ever waits that long.
PATIENCE = float(os.environ.get("WORKQUEUE_PATIENCE", "20"))

#: The same for what the harness needs. No liar withholds that, for whom the patience may be short: only a busy machine
#: delays it.
HARNESS_PATIENCE = max(PATIENCE, 12.0)

_POLL = 0.02

_ClosedByBroker = ChannelClosedByBroker | ConnectionClosedByBroker

#: The answers of a broker that will not. The third is pika's name for a client that was cut off, or told why, when the
#: broker had heard what frames and which virtual host it wants.
_REFUSALS = (ChannelClosedByBroker, ConnectionClosedByBroker, ProbableAccessDeniedError, NackError, UnroutableError)

_CONNECTION_FORCED = 320  # reply code of a broker that is stopped, and of an operator who closes connections


def _poll(condition: Callable[[], T], within: float) -> T:
    """The condition's first truthy value, or its last value at the deadline."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        time.sleep(_POLL)


def claim(promise: str, condition: Callable[[], T | None], *, within: float | None = None) -> T:
    """Wait until a promised condition is truthy, and return its value.

    :param promise: what was promised, as a sentence for the one who reads the failure.
    :param within: seconds (default: :data:`PATIENCE`).
    :raises Broken: if the promise is not kept in time.
    """
    seconds = PATIENCE if within is None else within
    value = _poll(condition, seconds)
    if not value:
        raise Broken(f"{promise}: not within {seconds:g} s (last seen: {value!r})")
    return value


def barrier(what: str, condition: Callable[[], T | None], *, within: float | None = None) -> T:
    """Wait until the harness is where the spec needs it, and return the condition's value.

    :param within: seconds (default: :data:`HARNESS_PATIENCE`).
    :raises Unknown: if it does not get there in time; the guarantee was then not tested.
    """
    seconds = HARNESS_PATIENCE if within is None else within
    value = _poll(condition, seconds)
    if not value:
        raise Unknown(f"the harness waited {seconds:g} s in vain: {what} (last seen: {value!r})")
    return value


def watch(seconds: float, condition: Callable[[], T]) -> T:
    """Watch for so long whether something happens that should not; ends early with its value if it does."""
    return _poll(condition, seconds)


def landed(fault: str, count: int, expected: int = 1) -> None:
    """Make sure that a fault hit what it was meant for: no more of it, and no less.

    :param fault: what was done to the world, as a sentence for the one who reads the failure.
    :param count: how many (connections, mostly) it hit.
    :raises Unknown: if it did not land so; the guarantee was then not tested.
    """
    if count != expected:
        raise Unknown(f"the fault did not land: {fault} (it hit {count}, and was meant for {expected})")


@contextlib.contextmanager
def promised(promise: str) -> Iterator[None]:
    """What happens inside was promised to work: if the broker refuses it, the promise is broken.

    That there is no connection, or no more, is no refusal: whatever else pika raises is no answer of the broker's.

    :raises Broken: with what the broker said.
    """
    try:
        yield
    except _REFUSALS as error:
        if _is_shutdown(error):
            raise
        raise Broken(f"{promise}: the broker refused: {error!r}") from error


@contextlib.contextmanager
def refused(promise: str, code: int, saying: str) -> Iterator[None]:
    """What happens inside was promised to be refused: the broker closes the channel with this code.

    :param code: AMQP 0-9-1 reply code, such as 406.
    :param saying: a part of the broker's text.
    :raises Broken: if the broker accepts it, or refuses it in another way.
    """
    with _closed(ChannelClosedByBroker, ConnectionClosedByBroker, promise, code, saying):
        yield


@contextlib.contextmanager
def disconnected(promise: str, code: int, saying: str) -> Iterator[None]:
    """What happens inside was promised to cost the connection: the broker closes it with this code.

    :param code: AMQP 0-9-1 reply code of a hard error, such as 541.
    :param saying: a part of the broker's text.
    :raises Broken: if the broker accepts it, or ends the connection in another way.
    """
    with _closed(ConnectionClosedByBroker, ChannelClosedByBroker, promise, code, saying):
        yield


def _is_shutdown(error: Exception) -> bool:
    return isinstance(error, ConnectionClosedByBroker) and error.reply_code == _CONNECTION_FORCED


@contextlib.contextmanager
def _closed(
    kind: type[_ClosedByBroker], other: type[_ClosedByBroker], promise: str, code: int, saying: str
) -> Iterator[None]:
    try:
        yield
    except kind as error:
        if _is_shutdown(error):
            raise
        if error.reply_code != code or saying not in error.reply_text:
            raise Broken(f"{promise}: refused, but with {error.reply_code} {error.reply_text!r}") from error
    except other as error:
        if error.reply_code != code:
            raise  # something else happened to it
        closed = "channel alone" if other is ChannelClosedByBroker else "whole connection"
        raise Broken(f"{promise}: refused, but the {closed} was closed: {error!r}") from error
    else:
        raise Broken(f"{promise}: it was accepted")
