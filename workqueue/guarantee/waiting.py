"""Waiting for conditions, never for time.

There are two ways to wait, and the difference decides verdicts: :func:`claim` waits for what the *broker
promised*, and a missed deadline means that the guarantee is broken; :func:`barrier` waits for what the *harness
needs*, and a missed deadline means that nothing can be said.
"""

import os
import time
from collections.abc import Callable
from typing import TypeVar

from workqueue.guarantee.verdict import Broken, Unknown

T = TypeVar("T")

#: Seconds to wait for anything, unless a spec says otherwise. Long, because only a failure ever waits that long.
PATIENCE = float(os.environ.get("WORKQUEUE_PATIENCE", "20"))

_POLL = 0.02


def _poll(condition: Callable[[], T], within: float) -> T:
    """The condition's first truthy value, or its last value at the deadline."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        time.sleep(_POLL)


def claim(promise: str, condition: Callable[[], T], *, within: float | None = None) -> T:
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


def barrier(what: str, condition: Callable[[], T], *, within: float | None = None) -> T:
    """Wait until the harness is where the spec needs it, and return the condition's value.

    :raises Unknown: if it does not get there in time; the guarantee was then not tested.
    """
    seconds = PATIENCE if within is None else within
    value = _poll(condition, seconds)
    if not value:
        raise Unknown(f"the harness waited {seconds:g} s in vain: {what} (last seen: {value!r})")
    return value
