"""Scripts: lists of operations as `workqueue.guarantee.model` has them, read from JSON and told to people."""

import json
from collections.abc import Sequence
from typing import Any

from workqueue.guarantee.model import CHANNELS, CHANNELS_PER_CONNECTION, Operation, View

Script = Sequence[Operation]

ENDING: Script = [
    *({"do": "close", "channel": channel} for channel in range(CHANNELS)),
    {"do": "consume", "channel": 0, "prefetch": 0},
]
"""Played after each script: everything goes back to the queue and is seen once more, in order and with its flags."""

_CHANNEL = range(CHANNELS)
_CONNECTION = range(-(-CHANNELS // CHANNELS_PER_CONNECTION))
_INDEX = range(-(2**15), 2**15)
_YES_OR_NO = (True, False)

_OPERATIONS: dict[str, dict[str, Sequence[object]]] = {
    "declare": {"delivery_limit": range(-1, 2**15)},
    "publish": {"count": range(1, 1001)},
    "consume": {"channel": _CHANNEL, "prefetch": range(2**16)},
    "cancel": {"channel": _CHANNEL},
    "get": {"channel": _CHANNEL},
    "ack": {"channel": _CHANNEL, "index": _INDEX, "multiple": _YES_OR_NO},
    "nack": {"channel": _CHANNEL, "index": _INDEX, "multiple": _YES_OR_NO, "requeue": _YES_OR_NO},
    "reject": {"channel": _CHANNEL, "index": _INDEX, "requeue": _YES_OR_NO},
    "close": {"channel": _CHANNEL},
    "disconnect": {"connection": _CONNECTION, "rudely": _YES_OR_NO},
}
"""Each operation with its details, and what these can be."""

_OPTIONAL = {"multiple", "requeue", "rudely"}


def parse_script(text: str) -> list[dict[str, Any]]:
    """Read a script from JSON.

    :raises ValueError: if it is none; the message says which operation is wrong, and how.
    """
    try:
        script = json.loads(text)
    except ValueError as error:
        raise ValueError(f"this is no JSON: {error}") from error
    if not isinstance(script, list):
        raise ValueError("a script is a list of operations")
    for number, operation in enumerate(script, 1):
        if problem := _problem(operation, first=number == 1):
            raise ValueError(f"operation {number}, {json.dumps(operation)}: {problem}")
    return script


def _problem(operation: object, *, first: bool) -> str | None:
    if not isinstance(operation, dict) or operation.get("do") not in _OPERATIONS:
        return f'it needs a "do" that is one of {", ".join(_OPERATIONS)}'
    if operation["do"] == "declare" and not first:
        return "only the first one can be declare"
    details = _OPERATIONS[operation["do"]]
    if unknown := sorted(set(operation) - {"do", *details}):
        return f"it has no {', '.join(unknown)}"
    for name, possible in details.items():
        if name not in operation:
            if name not in _OPTIONAL:
                return f"it needs {name}"
        elif isinstance(operation[name], bool) != (possible is _YES_OR_NO) or operation[name] not in possible:
            return f"{name} cannot be {operation[name]!r}"
    return None


def dump_script(script: Script) -> str:
    """A script as JSON, on one line."""
    return json.dumps([dict(operation) for operation in script])


def tell(operation: Operation) -> str:
    """An operation in a line, for people."""
    details = [name if value is True else f"{name} {value}" for name, value in operation.items() if name != "do"]
    hidden = {f"{name} False" for name in _OPTIONAL}
    return ", ".join([operation["do"], *(each for each in details if each not in hidden)])


def tell_view(view: View) -> str:
    """What can be seen of a queue, in a line: a task that is marked as redelivered has a star."""
    held = [
        f"channel {channel} holds {', '.join(f'{task}*' if again else str(task) for task, again in tasks)}"
        for channel, tasks in sorted(view.held.items())
    ]
    return "; ".join([*held, f"{view.ready} ready", f"{view.consumers} consumers"])
