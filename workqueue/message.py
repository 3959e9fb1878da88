"""A message as a handler sees it."""

import dataclasses
from collections.abc import Mapping


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
