"""A small producer/worker core for RabbitMQ work queues.

>>> from workqueue import Producer, Queue, Worker
>>> queue = Queue("task_queue")
>>> with Producer("amqp://guest:guest@localhost:5672/%2F") as producer:  # doctest: +SKIP
...     producer.send(queue, b"First message.")
"""

import importlib
from typing import TYPE_CHECKING

from workqueue import errors
from workqueue.errors import *  # noqa: F403 - what there is, it lists

if TYPE_CHECKING:
    from workqueue.message import Message
    from workqueue.producer import Producer
    from workqueue.queue import Queue
    from workqueue.worker import Worker

__all__ = ["Message", "Producer", "Queue", "Worker"]
__all__ += errors.__all__


def __getattr__(name: str) -> object:
    # Lazy: every project's test run imports this package for its pytest plugin, and few of them need pika.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{name.lower()}"), name)
    globals()[name] = value
    return value
