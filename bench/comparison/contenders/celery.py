"""Celery on RabbitMQ. A body is the argument of a task, inside Celery's JSON."""

import celery
import kombu
from celery.worker.consumer.delayed_delivery import DelayedDelivery

from ..model import Endpoint, Handler


def _app(endpoint: Endpoint) -> celery.Celery:
    app = celery.Celery("bench", broker=endpoint.url, set_as_current=False)
    app.conf.update(
        broker_transport_options={"confirm_publish": True},
        broker_connection_retry_on_startup=False,
        task_queues=[
            kombu.Queue(
                endpoint.queue,
                kombu.Exchange(""),  # the default exchange, so that no other is left behind
                routing_key=endpoint.queue,
                durable=True,
                queue_arguments=endpoint.arguments,
            )
        ],
        task_default_queue=endpoint.queue,
        task_default_exchange="",
        task_default_routing_key=endpoint.queue,
        task_default_delivery_mode="persistent",
        task_ignore_result=True,
        task_acks_late=True,
        worker_enable_remote_control=False,  # its queue is a transient one, which RabbitMQ 4.3 refuses
        worker_detect_quorum_queues=True,  # a quorum queue refuses the prefetch count that Celery else sets
    )
    return app


class Publisher:
    """With the transport option ``confirm_publish``, each call waits for its confirm."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._app = _app(endpoint)

        def task(_body: str) -> None:
            pass

        self._task = self._app.task(task, name="task")

    def publish(self, body: bytes, count: int) -> None:
        """Call the task; each is confirmed when its call returns."""
        text = body.decode()
        for _ in range(count):
            self._task.delay(text)

    def close(self) -> None:
        """Disconnect."""
        self._app.close()


def consume(endpoint: Endpoint, prefetch: int, handler: Handler) -> None:
    """A worker with the `solo` pool, which runs tasks where it receives them."""
    # On a quorum queue it would declare 28 queues for delayed tasks, which would stay; no task here is delayed.
    DelayedDelivery.include_if = lambda *_: False
    app = _app(endpoint)

    def task(body: str) -> None:
        handler(body)

    app.task(task, name="task")
    app.conf.worker_prefetch_multiplier = prefetch  # times a concurrency of 1
    options = ["--pool=solo", "--concurrency=1", "--loglevel=ERROR"]
    app.worker_main(["worker", *options, "--without-gossip", "--without-mingle", "--without-heartbeat"])
