"""Mistakes of a worker in how it subscribes, works and ends."""

import functools
import os
from concurrent.futures import Future
from typing import Any

from pika.channel import Channel

from workqueue._io import Consumer, Link
from workqueue.errors import ConnectionLost, ConsumerCancelled, Reject, WorkqueueError
from workqueue.guarantee.mutants._mutant import Made, Method, Mutant, replace
from workqueue.message import Message
from workqueue.queue import Queue
from workqueue.worker import Worker


def _failure_ends_the_worker(made: Made) -> None:
    def around(original: Method) -> Method:
        def init(worker: Worker, url: str, queue: Queue | str, handler: Method, **options: Any) -> None:
            def fragile(message: Message) -> None:
                try:
                    handler(message)
                except Reject:
                    raise
                except Exception:  # noqa: BLE001 - whatever it is
                    made()
                    os._exit(1)

            original(worker, url, queue, fragile, **options)

        return init

    replace(Worker, "__init__", around)


def _work_skipped(made: Made) -> None:
    def handle(_: Worker, consumer: Consumer, tag: int, __: Message) -> None:
        made()
        consumer.ack(tag)

    replace(Worker, "_handle", lambda _: handle)


def _declares_nothing(made: Made) -> None:
    replace(Link, "declare", lambda _: lambda *_: made())


def _no_qos(made: Made) -> None:
    replace(Channel, "basic_qos", lambda _: lambda *_, **__: made())


def _qos_after_consume(made: Made) -> None:
    limits: list[dict[str, Any]] = []
    qos = Channel.basic_qos

    def around(original: Method) -> Method:
        def basic_consume(channel: Channel, *subscription: Any, **options: Any) -> Any:
            tag = original(channel, *subscription, **options)
            for limit in limits:
                made()
                qos(channel, **limit)
            return tag

        return basic_consume

    replace(Channel, "basic_qos", lambda _: lambda _, **limit: limits.append(limit))
    replace(Channel, "basic_consume", around)


def _work_on_io_thread(made: Made) -> None:
    def subscribe(worker: Worker, link: Link) -> Consumer:
        consumer: Future[Consumer] = Future()

        def work(tag: int, message: Message) -> None:
            made()
            worker._handle(consumer.result(), tag, message)

        link.open()
        if isinstance(worker._queue, Queue):
            link.declare(worker._queue)
        consumer.set_result(link.consumer(worker._name, worker._prefetch, work, worker._on_lost))
        return consumer.result()

    replace(Worker, "_subscribe", lambda _: subscribe)


def _quiet_end(made: Made, kind: type[WorkqueueError]) -> None:
    def around(original: Method) -> Method:
        def run(worker: Worker) -> None:
            try:
                original(worker)
            except kind:
                made()

        return run

    replace(Worker, "run", around)


def _deaf_to_cancel(made: Made) -> None:
    def around(original: Method) -> Method:
        def on_lost(worker: Worker, reason: WorkqueueError) -> None:
            if isinstance(reason, ConsumerCancelled):
                made()
            else:
                original(worker, reason)

        return on_lost

    replace(Worker, "_on_lost", around)


def _stop_at_once(made: Made) -> None:
    def stop(_: Worker) -> None:
        made()
        os._exit(0)

    replace(Worker, "stop", lambda _: stop)


def _stop_ignored(made: Made) -> None:
    replace(Worker, "stop", lambda _: lambda _: made())


WORKERS = (
    Mutant("failure-ends-the-worker", "A task that fails takes its worker with it.", _failure_ends_the_worker),
    Mutant("work-skipped", "Tasks are acknowledged, and nothing is done.", _work_skipped),
    Mutant("declares-nothing", "Queues are not declared, but taken to be as they should be.", _declares_nothing),
    Mutant("no-qos", "No prefetch limit is set.", _no_qos),
    Mutant("qos-after-consume", "The prefetch limit is set after subscribing.", _qos_after_consume),
    Mutant("work-on-io-thread", "The work is done in the thread that answers heartbeats.", _work_on_io_thread),
    Mutant(
        "quiet-when-cancelled",
        "A worker whose subscription the broker ended leaves as if it had been stopped.",
        functools.partial(_quiet_end, kind=ConsumerCancelled),
    ),
    Mutant(
        "quiet-when-cut",
        "A worker that lost its connection leaves as if it had been stopped.",
        functools.partial(_quiet_end, kind=ConnectionLost),
    ),
    Mutant("deaf-to-cancel", "That the broker ended the subscription is not noticed.", _deaf_to_cancel),
    Mutant("stop-at-once", "SIGTERM ends the worker in the middle of a task, with status 0.", _stop_at_once),
    Mutant("stop-ignored", "SIGTERM does not stop the worker.", _stop_ignored),
)
"""Every other mistake of a worker."""
