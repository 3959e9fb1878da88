"""Tasks that a client holds, and what comes back of them."""

from workqueue.guarantee.clients import Client
from workqueue.guarantee.queues import Queue
from workqueue.guarantee.stage import Stage


def holder_of(stage: Stage, queue: Queue, *tasks: str, prefetch: int = 0) -> Client:
    """A client that holds these tasks, published now, unacknowledged."""
    client = stage.client()
    client.qos(prefetch)
    client.consume(queue.name)
    stage.publish(*tasks, queue=queue)
    client.wait_until_holding(len(tasks))
    return client


def come_back(stage: Stage, queue: Queue, *tasks: str) -> None:
    """Claim that these tasks come back, each marked as redelivered, and no others.

    Name one at least: what comes back when a channel ends does so in one step, which can be later than its closing.
    """
    other = stage.client()
    other.consume(queue.name)
    other.receives(*tasks)
    other.receives(*stage.publish("a task from afterwards", queue=queue))
    returned = other.received[:-1]
    assert sorted(delivery.task for delivery in returned) == sorted(tasks), f"came back: {returned}"
    assert all(delivery.redelivered for delivery in returned), f"not marked as redelivered: {returned}"
