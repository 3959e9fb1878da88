"""Tasks that a client holds or works off, and what comes back of them."""

import functools

from workqueue.guarantee.clients import Client
from workqueue.guarantee.queues import Queue
from workqueue.guarantee.stage import Stage
from workqueue.guarantee.verdict import Broken
from workqueue.guarantee.waiting import claim


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
    # Not assertions, of which python -O would make light.
    if sorted(delivery.task for delivery in returned) != sorted(tasks):
        raise Broken(f"came back: {returned}, and not {sorted(tasks)}")
    if not all(delivery.redelivered for delivery in returned):
        raise Broken(f"not marked as redelivered: {returned}")


def work_off(client: Client, count: int, *, done: int = 0, within: float | None = None) -> list[str]:
    """Ack one delivery after the other, from the one after the first `done`, until `count` have come; their tasks."""
    for each in range(done, count):
        claim(f"{client.name} receives {count} messages", functools.partial(_has, client, each), within=within)
        client.ack(client.received[each])
    return client.tasks


def _has(client: Client, index: int) -> bool:
    return len(client.received) > index
