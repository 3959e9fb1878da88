"""The reference model and a real queue side by side: the same operations on both, compared after each."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pika.exceptions import AMQPError

from workqueue.broker import Broker
from workqueue.guarantee.links import Closed
from workqueue.guarantee.model import View, WorkQueue
from workqueue.guarantee.real_queue import RealQueue
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
            allowed = _distinct(after for state in states for after in state.step(operation))
            try:
                self._real.do(operation)
                states = self._agreed(script, step, allowed)
            except Closed as error:
                raise Difference(script, step, [state.view() for state in allowed], str(error)) from error
            self.steps += 1

    def close(self) -> None:
        """Close its connections."""
        self._real.close()

    def _agreed(self, script: Script, step: int, allowed: list[WorkQueue]) -> list[WorkQueue]:
        deadline = time.monotonic() + self.patience
        while True:
            seen = self._real.look()
            if agreeing := [state for state in allowed if state.view() == seen]:
                return agreeing
            can_come = any(_may_become(seen, state.view()) for state in allowed)
            if not can_come or time.monotonic() > deadline:
                raise Difference(script, step, [state.view() for state in allowed], seen)
            self._real.wait(_LOOK)


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
