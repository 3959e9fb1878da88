"""A small producer/worker core for RabbitMQ work queues.

>>> from workqueue import Producer, Queue, Worker
>>> queue = Queue("task_queue")
>>> with Producer("amqp://guest:guest@localhost:5672/%2F") as producer:  # doctest: +SKIP
...     producer.send(queue, b"First message.")
"""

import importlib
from typing import TYPE_CHECKING

from workqueue import errors
from workqueue.errors import *  # noqa: F403 - all that is in there

if TYPE_CHECKING:
    from workqueue.message import Message as Message
    from workqueue.producer import Producer as Producer
    from workqueue.queue import Queue as Queue
    from workqueue.worker import Worker as Worker
else:
    # Lazy: every project's test run imports this package for its pytest plugin, and few of them need pika.
    __all__ = ["Message", "Producer", "Queue", "Worker", *(name for name in vars(errors) if not name.startswith("_"))]

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{name.lower()}"), name)
