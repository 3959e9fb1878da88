"""Queues that dead-letter, and attempts that fail: what specs of poison tasks and of dead lettering have in common."""

import functools
from collections.abc import Callable
from typing import Any

from pika.adapters.blocking_connection import BlockingChannel

from workqueue.guarantee.clients import Client, Delivery
from workqueue.guarantee.queues import Drained, Queue
from workqueue.guarantee.stage import Stage
from workqueue.guarantee.verdict import Broken
from workqueue.guarantee.waiting import barrier, claim

#: A way in which an attempt at a task fails; it returns the channel to go on with.
Failure = Callable[[Stage, BlockingChannel, int], BlockingChannel]


def queue_to(target: Queue, **arguments: Any) -> Queue:
    """Declare a queue that dead-letters to another one."""
    return target.stage.declare(x_dead_letter_exchange="", x_dead_letter_routing_key=target.name, **arguments)


def take(client: Client, queue: Queue, task: str) -> Delivery:
    """Take the next task out of a queue, unacknowledged; it has to be this one."""
    delivery = barrier(f"{task!r} can be taken", lambda: client.get(queue.name))
    if delivery.task != task:  # no assertion: python -O would make light of it
        raise Broken(f"{delivery.task!r} came instead of {task!r}")
    return delivery


def letters_of(dead: Queue, count: int) -> list[Drained]:
    """Claim that so many dead letters arrive in a queue, and take them out."""
    claim(f"{count} dead letters arrive", lambda: dead.ready() == count)
    return dead.drain()


def nack(_: Stage, channel: BlockingChannel, tag: int) -> BlockingChannel:
    """The worker hands the task back with ``basic.nack``."""
    channel.basic_nack(tag, requeue=True)
    return channel


def reject(_: Stage, channel: BlockingChannel, tag: int) -> BlockingChannel:
    """The worker hands the task back with ``basic.reject``."""
    channel.basic_reject(tag, requeue=True)
    return channel


def close_channel(_: Stage, channel: BlockingChannel, __: int) -> BlockingChannel:
    """The worker closes its channel without an ack."""
    channel.close()
    return channel.connection.channel()


def close_connection(stage: Stage, channel: BlockingChannel, _: int) -> BlockingChannel:
    """The worker closes its connection without an ack."""
    channel.connection.close()
    return stage.connect().channel()


def deliveries_until_dead(queue: Queue, dead: Queue, fail: Failure, most: int) -> int:
    """How often the one task in a queue is delivered, each attempt failing, until it is dead-lettered.

    A task is always in its queue, with the worker, or among the dead letters; so none of these is taken for another.

    :param dead: what the queue dead-letters to.
    :param most: when to stop trying; the answer if the task was never dead-lettered.
    """
    stage = queue.stage
    channel = stage.connect().channel()
    for attempt in range(most):
        tag = claim("the task is in its queue or dead-lettered", functools.partial(_tag_or_death, channel, queue, dead))
        if tag < 0:
            return attempt
        channel = fail(stage, channel, tag)
    return most


def _tag_or_death(channel: BlockingChannel, queue: Queue, dead: Queue) -> int:
    """The delivery tag of the task, -1 if it is dead-lettered, and 0 if it is neither here nor there yet."""
    method, _, _ = channel.basic_get(queue.name)
    return -dead.ready() if method is None else int(method.delivery_tag or 0)
