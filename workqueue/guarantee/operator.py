"""What an operator can do to a running broker, undone when it was enough: settings, policies, alarms, a look inside."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from workqueue.broker import Broker
from workqueue.broker.errors import CtlFailed
from workqueue.guarantee.alarms import Alarm, raised
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.node_settings import configured, setting
from workqueue.guarantee.queues import Queue
from workqueue.guarantee.syncs import Syncs
from workqueue.guarantee.verdict import Broken
from workqueue.guarantee.waiting import barrier


class Operator:
    """Somebody with rabbitmqctl, and a shell on the broker's machine."""

    def __init__(self, broker: Broker, evidence: Evidence) -> None:
        self._broker = broker
        self._evidence = evidence

    @contextlib.contextmanager
    def compressed_ack_timeout(self, *, seconds: float) -> Iterator[float]:
        """Shorten the acknowledgement timeout that the broker has by default, if it has one.

        It takes effect for channels and consumers that begin inside; yields the timeout in seconds.
        """
        default = setting(self._broker, "consumer_timeout")
        self._evidence.proof("broker", f"has consumer_timeout = {default} by default")
        if default is None:
            yield seconds
            return
        with self.configured("consumer_timeout", f"{seconds * 1000:.0f}"):
            yield seconds

    def alarm(self, alarm: Alarm) -> contextlib.AbstractContextManager[None]:
        """Raise a resource alarm of the node while inside."""
        return raised(alarm, self._broker, self._evidence)

    @contextlib.contextmanager
    def syncs(self, control: Queue) -> Iterator[Syncs]:
        """Watch what the node syncs to disk while inside; ask what was seen afterwards.

        :param control: a quorum queue, by which the watch proves that it sees.
        """
        syncs = Syncs(self._broker, self._evidence)
        syncs.start()
        try:
            syncs.prove_sight(control)
            yield syncs
        finally:
            syncs.stop()

    def configured(self, key: str, value: str) -> contextlib.AbstractContextManager[None]:
        """Change a setting of the node's application ``rabbit`` while inside; the value is an Erlang term."""
        return configured(self._broker, key, value)

    @contextlib.contextmanager
    def policy(self, queue: Queue, **definition: Any) -> Iterator[None]:
        """Apply a policy to one queue; returns when the queue has it, and removes it afterwards.

        :param definition: policy keys, with ``_`` for ``-``: ``message_ttl=500``.
        :raises Broken: if the broker does not know them, or not these values.
        """
        keys = {key.replace("_", "-"): value for key, value in definition.items()}
        scope = ("--apply-to", "queues", "--priority", "1")
        try:
            self._broker.ctl("set_policy", queue.name, f"^{queue.name}$", json.dumps(keys), *scope)
        except CtlFailed as error:
            if "Validation failed" not in str(error):
                raise
            raise Broken(f"the broker refuses the policy {keys}: {error}") from error
        try:
            barrier("the queue has the policy", lambda: queue.column("policy") == queue.name)
            yield
        finally:
            self._broker.ctl("clear_policy", queue.name)
