"""The nemesis: carries out the schedule, and proves that each fault landed."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from workqueue.broker import Broker, Capability
from workqueue.guarantee.alarms import Alarm, raised
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.soak.crew import Crew, Member
from workqueue.guarantee.soak.hand import now
from workqueue.guarantee.soak.schedule import Fault, Step
from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import barrier

_ALARMS = {Fault.MEMORY_ALARM: Alarm.MEMORY, Fault.DISK_ALARM: Alarm.DISK}
_NEEDS = {
    Fault.KILL_BROKER: Capability.KILL,
    Fault.RESTART_BROKER: Capability.KILL,  # stop() and start() work where kill() does
    Fault.MEMORY_ALARM: Capability.CTL,
    Fault.DISK_ALARM: Capability.CTL,
}


def possible(broker: Broker) -> list[Fault]:
    """The kinds of faults that can be done to this broker and its clients."""
    return [fault for fault in Fault if fault not in _NEEDS or _NEEDS[fault] in broker.capabilities]


@dataclass(frozen=True, slots=True)
class Landed:
    """A fault that happened.

    :param at: seconds since the soak began.
    :param proof: what shows it.
    """

    at: float
    step: Step
    proof: str


@dataclass(frozen=True, slots=True)
class Missed:
    """A fault that did not happen, or cannot be shown to have happened, and why."""

    at: float
    step: Step
    why: str


class Nemesis(threading.Thread):
    """Does one fault after the other in a thread of its own, each healed before the next, until told to stop."""

    def __init__(self, steps: Sequence[Step], seconds: float, broker: Broker, crew: Crew) -> None:
        super().__init__(name="nemesis", daemon=True)
        self.landed: list[Landed] = []
        self.missed: list[Missed] = []
        self.doing: Step | None = None
        """What is being done right now."""
        self.kills: list[int] = []
        """When the broker was killed, by the journal's clock."""
        self.failure: BaseException | None = None
        """What went wrong with the harness or the broker: it did not start again, say."""
        self._steps = steps
        self._seconds = seconds
        self._broker = broker
        self._crew = crew
        self._over = threading.Event()
        self._done = threading.Event()
        self._began = time.monotonic()

    def stop(self) -> None:
        """Begin nothing any more; what is under way is healed."""
        self._over.set()

    def run(self) -> None:
        """The thread."""
        try:
            for step in self._steps:
                if self._over.wait(max(0.0, self._began + step.at - time.monotonic())) or self._elapsed > self._seconds:
                    break
                self._carry_out(step)
            self._over.wait(max(0.0, self._began + self._seconds - time.monotonic()))
        except BaseException as error:  # noqa: BLE001 - it is told where the thread is waited for
            self.failure = error
        finally:
            self._done.set()

    def wait(self, seconds: float) -> bool:
        """Wait for its end for so long; whether it has ended.

        Not `join`: a Ctrl+C in it makes Python 3.11 take the thread for dead.
        """
        return self._done.wait(seconds)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _carry_out(self, step: Step) -> None:
        self.doing = step
        try:
            targets = self._crew.named(step.target) or self._crew.members
            barrier(
                f"{step.target} can be hit", lambda: self._over.is_set() or all(each.seen.ready for each in targets)
            )
            if not self._over.is_set():
                began = self._elapsed
                self.landed.append(Landed(round(began, 2), step, self._do(step, targets)))
        except Unknown as reason:
            self.missed.append(Missed(round(self._elapsed, 2), step, str(reason)))
        finally:
            self.doing = None

    def _do(self, step: Step, targets: Sequence[Member]) -> str:
        match step.fault:
            case Fault.KILL_WORKER | Fault.KILL_PRODUCER:
                return _kill(targets[0])
            case Fault.CUT:
                return _hit(sum(each.proxy.cut() for each in targets), "ended with FIN")
            case Fault.RESET:
                return _hit(sum(each.proxy.reset() for each in targets), "ended with RST")
            case Fault.FREEZE | Fault.LOSE_ANSWERS:
                return self._silence(step, targets[0])
            case Fault.KILL_BROKER | Fault.RESTART_BROKER:
                return self._restart(step)
            case Fault.MEMORY_ALARM | Fault.DISK_ALARM:
                return self._alarm(step)

    def _silence(self, step: Step, target: Member) -> str:
        half = step.fault is Fault.LOSE_ANSWERS
        try:
            hit = target.proxy.lose_answers() if half else target.proxy.freeze()
            self._over.wait(step.seconds)
            lost = f", {target.proxy.cut()} cut" if half else ""
        finally:
            target.proxy.thaw()
        return _hit(hit, f"silent for {step.seconds:g} s{lost}")

    def _restart(self, step: Step) -> str:
        connections = self._crew.connections()
        if step.fault is Fault.KILL_BROKER:
            self.kills.append(now())
            self._broker.kill()
            how = "killed"
        else:
            self._broker.stop()
            how = "stopped"
        try:
            # The relays notice, and take no new ones while there is nobody to connect to.
            barrier("connections end with the broker", lambda: self._crew.connections() == 0)
            self._over.wait(step.seconds)
        finally:
            self._broker.start()
        return _hit(connections, f"ended: the broker was {how}, and is back")

    def _alarm(self, step: Step) -> str:
        producers = self._crew.producers
        before = sum(each.seen.blocks for each in producers)
        with raised(_ALARMS[step.fault], self._broker, Evidence()):
            barrier("a producer is blocked", lambda: sum(each.seen.blocks for each in producers) > before)
            self._over.wait(step.seconds)
        return f"{sum(each.seen.blocks for each in producers) - before} producers were told connection.blocked"


def _kill(target: Member) -> str:
    pid = target.kill()
    target.start()
    return f"process {pid} is gone, and replaced"


def _hit(connections: int, how: str) -> str:
    if not connections:
        raise Unknown(f"no connection {how}")
    return f"{connections} connections {how}"
