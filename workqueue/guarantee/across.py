"""One restart, many claims: specs that need the broker to go down share the fall.

A spec declared with ``across=`` is a generator. When the first of them is due, all that wait for the same fault on
the same broker are run up to their ``yield``, the fault happens once, and each is run to its end at once, before
another fault can befall its queues; how it ended is told when its turn comes.
"""

import contextlib
import inspect
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pika
import pika.adapters.blocking_connection as blocking
from pika.exceptions import AMQPError

from workqueue.broker import Broker
from workqueue.broker.errors import BrokerError
from workqueue.guarantee.doubt import doubted
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.lying import behind, limited
from workqueue.guarantee.proof import Caught
from workqueue.guarantee.stage import Stage, part_with
from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import barrier

#: Seconds after which a new queue is safely on disk. A quorum queue's server is registered in a table that is saved
#: half a second late (``auto_save`` in ra_directory.erl), and Mnesia writes the decision to commit a declaration
#: milliseconds after it was answered. That is what specs declared ``kill-at-once`` are about, and what all others must
#: not run into.
SETTLED = 2.5


class Scene:
    """One such spec on its stage: prepared, waiting for the fault, or finished."""

    def __init__(
        self,
        function: Callable[..., Generator[None, None, None]],
        stage: Stage,
        resources: contextlib.ExitStack,
        *,
        at_once: bool = False,
    ) -> None:
        self.stage = stage
        self._resources = resources
        self.at_once = at_once
        self._function = function
        self._generator: Generator[None, None, None] | None = None
        self._error: BaseException | None = None

    def prepare(self) -> None:
        """Run it up to its ``yield``. What it raises is kept for its own turn."""
        try:
            arguments = {name: getattr(self.stage, name) for name in inspect.signature(self._function).parameters}
            self._generator = self._function(**arguments)
            with limited(self.stage.broker):
                next(self._generator)
        except Exception as error:  # noqa: BLE001 - judged when its turn comes
            self._keep(error)

    def fail(self, error: BaseException) -> None:
        """Let it end with this error, unless it has one of its own."""
        self._error = self._error or error

    def conclude(self) -> None:
        """Run the rest of it, unless it failed before, and remove what it brought on."""
        for step in (self._run_the_rest, self.stage.close, self._resources.close):
            try:
                with limited(self.stage.broker):
                    step()
            except Exception as error:  # noqa: BLE001 - judged when its turn comes
                self._keep(error)

    def finish(self) -> None:
        """Tell how it ended: raise what it raised."""
        if self._error is not None:
            raise self._error

    def _keep(self, error: Exception) -> None:
        # It is doubted now: at its turn, the broker may be there again after another fall.
        if self._error is None:
            self._error = doubted(error, self.stage.broker, self.stage.evidence)

    def _run_the_rest(self) -> None:
        if self._error is not None:
            if self._generator is not None:
                self._generator.close()  # while what it holds open is still there
            return
        if self._generator is None:
            raise Unknown("the spec was not prepared before the broker went down")
        try:
            next(self._generator)
        except StopIteration:
            return
        raise TypeError("a spec with across= yields once")


class Crossing:
    """One fault that many scenes wait for."""

    def __init__(self, kind: str, broker: Broker, scenes: Sequence[Scene]) -> None:
        self._kind = kind
        self._broker = broker
        self._scenes = scenes

    def happen(self) -> None:
        """Prepare all scenes, bring the broker down and up again, and see what became of each."""
        for scene in self._scenes:
            if not scene.at_once:
                scene.prepare()
        if self._kind == "kill":
            _wait_until_settled([scene.stage for scene in self._scenes])
        self._bring_down_and_up()
        for scene in self._scenes:
            scene.conclude()

    def _bring_down_and_up(self) -> None:
        try:
            canary = blocking.BlockingConnection(pika.URLParameters(self._broker.url))
            try:
                for scene in self._scenes:
                    if scene.at_once:  # last, since it is over in half a second
                        scene.prepare()
                what = self._fall()
                _make_sure_it_landed(canary)
            finally:
                # Left open, its sockets would be found when memory is tidied up, and charged to whatever runs then.
                part_with(canary)
        except Exception as error:  # noqa: BLE001 - whatever it was, no scene may go on as if the fault had landed
            for scene in self._scenes:
                scene.fail(Unknown(f"the broker did not come through the {self._kind}: {_told(error)}"))
            return
        for scene in self._scenes:
            scene.stage.evidence.proof("broker", f"{what}; a connection from before was cut; it answers again")

    def _fall(self) -> str:
        if self._kind == "kill":
            self._broker.kill()
            self._broker.start()
            return "got SIGKILL, and its process was seen gone"
        self._broker.restart()
        return "was stopped and started"


def _make_sure_it_landed(canary: blocking.BlockingConnection) -> None:
    try:
        canary.channel()
    except AMQPError:
        return
    raise Unknown("a connection from before is still open: the broker was not restarted")


def _told(error: Exception) -> str:
    words = str(error).strip()
    return words if words and isinstance(error, BrokerError | Unknown) else repr(error)


def _wait_until_settled(stages: Sequence[Stage]) -> None:
    # This waits for time to pass because the broker does: it can be asked nothing that tells the difference.
    latest = max((stage.declared_at for stage in stages), default=0.0)
    barrier("the queues have been there for a while", lambda: time.monotonic() - latest > SETTLED)


def scene_of(
    function: Any,
    broker: Broker,
    queue_type: str,
    *,
    at_once: bool,
    liar: Caught | None = None,
    core_works: bool = False,
) -> Scene:
    """A scene for a spec declared with ``across=``, not yet prepared; behind a liar, if it is one for a proof."""
    resources = contextlib.ExitStack()
    seen = resources.enter_context(behind(broker, liar))
    mutant = None if liar is None else liar.mutant
    stage = Stage(seen, queue_type, Evidence(), mutant=mutant, core_works=core_works)
    return Scene(function.workqueue_generator, stage, resources, at_once=at_once)
