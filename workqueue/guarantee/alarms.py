"""Resource alarms of a real node, raised as an operator would: by a limit that is exceeded as soon as it is set."""

import contextlib
from collections.abc import Iterator
from enum import Enum

from workqueue.broker import Broker
from workqueue.guarantee.evidence import Evidence


class Alarm(Enum):
    """A resource, with the functions behind ``rabbitmqctl set_vm_memory_high_watermark`` and ``set_disk_free_limit``.

    Calling those functions reads the old limit and sets the new one in one step.
    """

    MEMORY = ("vm_memory_monitor", "vm_memory_high_watermark", "0.00001")
    DISK = ("rabbit_disk_monitor", "disk_free_limit", "1000000000000000")


@contextlib.contextmanager
def raised(alarm: Alarm, broker: Broker, evidence: Evidence) -> Iterator[None]:
    """Have the alarm while inside. It concerns the whole node, so whoever publishes to it is blocked."""
    module, limit, impossible = alarm.value
    change = "Before = {0}:get_{1}(), {0}:set_{1}({2}), Before."
    before = broker.ctl("eval", change.format(module, limit, impossible)).strip()
    try:
        evidence.proof("broker", f"has {limit} = {impossible} instead of {before}")
        yield
    finally:
        broker.ctl("eval", change.format(module, limit, before))
