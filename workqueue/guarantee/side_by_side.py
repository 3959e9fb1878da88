"""The reference model and a real queue side by side: the same operations on both, compared after each."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pika.exceptions import AMQPError

from workqueue.broker import Broker
from workqueue.guarantee.links import Closed
from workqueue.guarantee.model import Operation, View, WorkQueue
from workqueue.guarantee.real_queue import RealQueue, Strange
from workqueue.guarantee.rules import Rules
from workqueue.guarantee.script import ENDING, Script, tell, tell_view
from workqueue.guarantee.verdict import Unknown

_LOOK = 0.002  # seconds


class Difference(AssertionError):  # noqa: N818 - a verdict, not an error of the caller's
    """The broker did what the model does not allow.

    :ivar script: what was played, up to and with the step after which they differ, without the ending.
    """

    def __init__(self, script: Script, step: int, allowed: Sequence[View], seen: View | str) -> None:
        whole = [*script, *ENDING]
        self.script = [dict(operation) for operation in script[:step]]
        steps = [f"  {number:2}. {tell(operation)}" for number, operation in enumerate(whole[:step], 1)]
        if step > len(script):
            steps.insert(len(script), "  and, to see what became of it all,")
        models = [f"  the model:   {tell_view(view)}" for view in allowed]
        broker = seen if isinstance(seen, str) else tell_view(seen)
        super().__init__("\n".join(["after", *steps, *models, f"  the broker:  {broker}"]))


class Pair:
    """The model and a broker.

    :param patience: seconds after which a state that the broker did not reach counts as different.
    """

    def __init__(self, broker: Broker, queue_type: str, rules: Rules, *, patience: float = 10.0) -> None:
        self.patience = patience
        self.steps = 0
        """How many operations were compared."""
        self._rules = rules
        self._real = RealQueue(broker, queue_type)

    def play(self, script: Script) -> None:
        """Play a script on a new queue.

        :raises Difference: if the broker does what the model does not allow.
        :raises Unknown: if the broker does not answer.
        """
        try:
            self._real.begin(_arguments(script))
            self._play(script)
            self._real.end()
        except Difference:
            try:
                self._real.end()
            except (AMQPError, OSError, Unknown):
                self._real.close()
            raise
        except (AMQPError, OSError) as error:
            self._real.close()
            raise Unknown(f"the broker did not take part: {error}") from error
        except BaseException:
            self._real.close()
            raise

    def _play(self, script: Script) -> None:
        states = [WorkQueue(self._rules)]
        for step, operation in enumerate([*script, *ENDING], 1):
            aimed = self._real.aim(operation)
            allowed = _distinct(after for state in states for after in _step(state, operation, aimed))
            try:
                self._real.do(operation)
                states = self._agreed(script, step, allowed)
            except (Closed, Strange) as error:
                raise Difference(script, step, [state.view() for state in allowed], str(error)) from error
            self.steps += 1

    def close(self) -> None:
        """Close its connections."""
        self._real.close()

    def _agreed(self, script: Script, step: int, allowed: list[WorkQueue]) -> list[WorkQueue]:
        """Wait until the broker is in one of the states; return those in which it can be.

        That is more than those which look like it, where there is a choice: what looks like one of them may be on its
        way to another. A quorum queue can be seen before it has done what is in its log already.
        """
        deadline = time.monotonic() + self.patience
        while True:
            seen = self._real.look()
            possible = [state for state in allowed if _may_become(seen, state.view())]
            if any(state.view() == seen for state in possible):
                return possible
            if not possible or time.monotonic() > deadline:
                raise Difference(script, step, [state.view() for state in allowed], seen)
            self._real.wait(_LOOK)


def _arguments(script: Script) -> Mapping[str, Any]:
    for operation in script[:1]:
        if operation["do"] == "declare":
            return {"x-delivery-limit": operation["delivery_limit"]}
    return {}


def _step(state: WorkQueue, operation: Operation, aimed: int | None) -> list[WorkQueue]:
    """What an operation makes of a state if it settles this task (None: none), which need not have the same index."""
    if "index" not in operation:
        return state.step(operation)
    held = [each.task.number for each in state.on(operation["channel"])]
    if aimed is None:
        return [state]
    return state.step({**operation, "index": held.index(aimed)}) if aimed in held else []


def _distinct(states: Iterable[WorkQueue]) -> list[WorkQueue]:
    distinct: list[WorkQueue] = []
    for state in states:
        if state not in distinct:
            distinct.append(state)
    return distinct


def _may_become(seen: View, expected: View) -> bool:
    """Whether what was seen can still become what is expected: a delivery cannot be taken back."""
    return all(expected.held.get(channel, ())[: len(tasks)] == tasks for channel, tasks in seen.held.items())
