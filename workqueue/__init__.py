"""A small producer/worker core for RabbitMQ work queues.

>>> from workqueue import Producer, Queue, Worker
>>> queue = Queue("task_queue")
>>> with Producer("amqp://guest:guest@localhost:5672/%2F") as producer:  # doctest: +SKIP
...     producer.send(queue, b"First message.")
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workqueue.errors import (
        AccessRefused,
        ChannelClosed,
        Closed,
        ConnectionFailed,
        ConnectionLost,
        ConsumerCancelled,
        InvalidURL,
        Nacked,
        NotSent,
        OutcomeUnknown,
        PublishError,
        Refused,
        Reject,
        ShutdownTimeout,
        TopologyMismatch,
        Unroutable,
        WorkqueueError,
    )
    from workqueue.message import Message
    from workqueue.producer import Producer
    from workqueue.queue import Queue
    from workqueue.worker import Worker

__all__ = [
    "AccessRefused",
    "ChannelClosed",
    "Closed",
    "ConnectionFailed",
    "ConnectionLost",
    "ConsumerCancelled",
    "InvalidURL",
    "Message",
    "Nacked",
    "NotSent",
    "OutcomeUnknown",
    "Producer",
    "PublishError",
    "Queue",
    "Refused",
    "Reject",
    "ShutdownTimeout",
    "TopologyMismatch",
    "Unroutable",
    "Worker",
    "WorkqueueError",
]

_MODULES = {"Message": "message", "Producer": "producer", "Queue": "queue", "Worker": "worker"}


def __getattr__(name: str) -> object:
    # Lazy: every project's test run imports this package for its pytest plugin, and few of them need pika.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
