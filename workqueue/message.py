"""A message as a handler sees it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from workqueue.errors import Reject

FAILURES_HEADER = "x-workqueue-failures"
"""In the copy of a failed task: how often it failed. Classic queues do not count."""


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """A task that was delivered to this worker.

    * ``body``: the payload, as it was published.
    * ``queue``: the name of the queue that it came from.
    * ``message_id``: what the publisher called it. Messages of :class:`~workqueue.Producer` have one.
    * ``redelivered``: it was delivered before, to any worker; its work may have been done already.
    * ``headers``: the publisher's headers, and the broker's (``x-death`` of dead letters and the like).
    """

    body: bytes
    queue: str
    message_id: str | None = None
    redelivered: bool = False
    headers: Mapping[str, object] = dataclasses.field(default_factory=dict)

    @property
    def delivery_count(self) -> int | None:
        """How often it failed before, as a quorum queue counts it; None where the broker does not say."""
        count = self.headers.get("x-delivery-count")
        return count if isinstance(count, int) else None

    @property
    def failures(self) -> int:
        """How often it failed before, as far as a quorum queue or a worker with ``max_attempts`` has counted."""
        counted = self.headers.get(FAILURES_HEADER)
        return (self.delivery_count or 0) + (counted if isinstance(counted, int) else 0)

    def text(self) -> str:
        """The body as UTF-8. Raises Reject if it is none, so that the task is dead-lettered at once."""
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise Reject(f"its body is no UTF-8: {error}") from error

    def json(self) -> Any:
        """The body as JSON. Raises Reject if it is none, so that the task is dead-lettered at once."""
        try:
            return json.loads(self.text())
        except (ValueError, RecursionError) as error:
            raise Reject(f"its body is no JSON: {error}") from error
