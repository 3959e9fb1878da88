"""Dramatiq on RabbitMQ. A body is the argument of an actor, inside Dramatiq's JSON."""

import threading
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.worker import Worker

from ..model import Endpoint, Handler


class _Broker(RabbitmqBroker):
    """Dramatiq has no setting for the type of a queue, so its arguments are extended."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(url=endpoint.url, confirm_delivery=True)
        self._extra = endpoint.arguments

    def _build_queue_arguments(self, queue_name: str) -> dict[str, object]:
        return {**super()._build_queue_arguments(queue_name), **self._extra}


def _actor(broker: _Broker, endpoint: Endpoint, handler: Handler) -> Any:
    return dramatiq.actor(actor_name="task", queue_name=endpoint.queue, broker=broker)(handler)


class Publisher:
    """With ``confirm_delivery``, each send waits for its confirm."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._broker = _Broker(endpoint)
        self._actor = _actor(self._broker, endpoint, lambda _body: None)

    def publish(self, body: bytes, count: int) -> None:
        """Send the actor its message; each is confirmed when its call returns."""
        text = body.decode()
        for _ in range(count):
            self._actor.send(text)

    def close(self) -> None:
        """Disconnect."""
        self._broker.close()


def consume(endpoint: Endpoint, prefetch: int, handler: Handler) -> None:
    """An actor on the default of eight threads; one thread was no faster."""
    broker = _Broker(endpoint)
    _actor(broker, endpoint, handler)
    worker = Worker(broker)
    worker.queue_prefetch = prefetch  # else an environment variable would have to be set before the import
    worker.start()
    threading.Event().wait()
