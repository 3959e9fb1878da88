"""The reference model and a real queue side by side: the same operations on both, compared after each.

A *script* is a list of operations as `workqueue.guarantee.model` has them; JSON writes one down. `Pair.play` plays one on
a new queue, and raises `Difference` at the first step after which the broker is in none of the states that the model
allows.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workqueue.broker import Broker
from workqueue.guarantee.model import CHANNELS, Operation, Rules, View, WorkQueue
from workqueue.guarantee.real_queue import RealQueue

Script = Sequence[Operation]

ENDING: Script = [
    *({"do": "close", "channel": channel} for channel in range(CHANNELS)),
    {"do": "consume", "channel": 0, "prefetch": 0},
]
"""Played after each script: everything goes back to the queue and is seen once more, in order and with its flags."""

_LOOK = 0.002  # seconds


class Difference(AssertionError):  # noqa: N818 - a verdict, not an error of the caller's
    """The broker did what the model does not allow.

    :ivar script: what was played, up to and with the step after which they differ.
    """

    def __init__(self, script: Script, allowed: Sequence[View], seen: View) -> None:
        self.script = [dict(operation) for operation in script]
        steps = [f"  {number}. {tell(operation)}" for number, operation in enumerate(script, 1)]
        models = [f"  the model   {tell_view(view)}" for view in allowed]
        super().__init__("\n".join([*steps, *models, f"  the broker  {tell_view(seen)}"]))


class Pair:
    """The model and a broker.

    :param patience: seconds after which a state that the broker did not reach counts as different.
    """

    def __init__(self, broker: Broker, queue_type: str, rules: Rules, *, patience: float = 5.0) -> None:
        self.patience = patience
        self.steps = 0
        """How many operations were compared."""
        self._rules = rules
        self._real = RealQueue(broker, queue_type)

    def play(self, script: Script) -> None:
        """Play a script on a new queue.

        :raises Difference: if the broker does what the model does not allow.
        :raises pika.exceptions.AMQPError: if the broker refuses an operation.
        """
        try:
            self._real.begin(_arguments(script))
            states = [WorkQueue(self._rules)]
            whole = [*script, *ENDING]
            for number, operation in enumerate(whole, 1):
                allowed = _distinct(after for state in states for after in state.step(operation))
                self._real.do(operation)
                states = self._agreed(whole[:number], allowed)
                self.steps += 1
        except Difference:
            self._real.end()
            raise
        except BaseException:
            self.close()
            raise
        self._real.end()

    def close(self) -> None:
        """Close its connections."""
        self._real.close()

    def _agreed(self, script: Script, allowed: list[WorkQueue]) -> list[WorkQueue]:
        deadline = time.monotonic() + self.patience
        while True:
            seen = self._real.look()
            if agreeing := [state for state in allowed if state.view() == seen]:
                return agreeing
            can_come = any(_may_become(seen, state.view()) for state in allowed)
            if not can_come or time.monotonic() > deadline:
                raise Difference(script, [state.view() for state in allowed], seen)
            self._real.wait(_LOOK)


def tell(operation: Operation) -> str:
    """An operation in a line, for people."""
    details = [f"{key}={value}" for key, value in operation.items() if key != "do" and value is not False]
    return " ".join([operation["do"], *details])


def tell_view(view: View) -> str:
    """What can be seen of a queue, in a line: a task that is marked as redelivered has a star."""
    held = [
        f"channel {channel} holds {', '.join(f'{task}*' if again else str(task) for task, again in tasks)}"
        for channel, tasks in sorted(view.held.items())
    ]
    return "; ".join([*held, f"{view.ready} ready", f"{view.consumers} consumers"])


def _arguments(script: Script) -> Mapping[str, Any]:
    for operation in script[:1]:
        if operation["do"] == "declare":
            return {"x-delivery-limit": operation["delivery_limit"]}
    return {}


def _distinct(states: Iterable[WorkQueue]) -> list[WorkQueue]:
    distinct: list[WorkQueue] = []
    for state in states:
        if state not in distinct:
            distinct.append(state)
    return distinct


def _may_become(seen: View, expected: View) -> bool:
    """Whether what was seen can still become what is expected: a delivery cannot be taken back."""
    return all(expected.held.get(channel, ())[: len(tasks)] == tasks for channel, tasks in seen.held.items())
