"""Mistakes of a worker."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pika.channel import Channel

from workqueue._io import Consumer, Link
from workqueue.errors import ConnectionLost, ConsumerCancelled, WorkqueueError
from workqueue.guarantee.mutants._mutant import Made, Method, Mutant, replace
from workqueue.message import Message
from workqueue.queue import Queue
from workqueue.worker import Worker

_SETTLEMENTS = ("ack", "reject", "hand_back")


def _settles_nothing() -> None:
    for name in _SETTLEMENTS:
        replace(Consumer, name, lambda _: lambda *_, **__: None)


def _auto_ack(made: Made) -> None:
    def around(original: Method) -> Method:
        def basic_consume(channel: Channel, *subscription: Any, **options: Any) -> Any:
            made()
            return original(channel, *subscription, auto_ack=True, **options)

        return basic_consume

    replace(Channel, "basic_consume", around)
    _settles_nothing()


def _ack_before_work(made: Made) -> None:
    ack = Consumer.ack
    _settles_nothing()

    def around(original: Method) -> Method:
        def handle(worker: Worker, consumer: Consumer, tag: int, message: Message) -> None:
            ack(consumer, tag)
            _wait_for_the_broker(consumer, message.queue)
            made()
            original(worker, consumer, tag, message)

        return handle

    replace(Worker, "_handle", around)


def _wait_for_the_broker(consumer: Consumer, queue: str) -> None:
    # So that the mistake does not depend on whether the I/O thread comes to write before the worker is killed.
    def ask(answer: "Future[None]") -> None:
        consumer._channel.queue_declare(queue, passive=True, callback=lambda _: answer.set_result(None))

    consumer._link.ask(ask)


def _settles_otherwise(method: str, settle: Callable[[Consumer, int], None], made: Made, **when: bool) -> None:
    """Have a method of Consumer settle in another way, if it is called with these options."""

    def around(original: Method) -> Method:
        def settlement(consumer: Consumer, tag: int, **options: bool) -> None:
            if options == when:
                made()
                consumer._link.call_soon(lambda: settle(consumer, tag))
            else:
                original(consumer, tag, **options)

        return settlement

    replace(Consumer, method, around)


def _settling(name: str, mistake: str, method: str, settle: Callable[[Any, int], None], **when: bool) -> Mutant:
    """A mutant whose consumer settles in another way; ``settle`` gets the channel and the delivery tag."""

    def apply(made: Made) -> None:
        _settles_otherwise(method, lambda consumer, tag: settle(consumer._channel, tag), made, **when)

    return Mutant(name, mistake, apply)


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


_TAKES_ALL = 0  # as a delivery tag with multiple: all that were delivered so far

WORKERS = (
    Mutant("auto-ack", "Tasks are acknowledged automatically, as soon as they are sent.", _auto_ack),
    Mutant("ack-before-work", "A task is acknowledged before the work is done.", _ack_before_work),
    _settling("ack-forgotten", "A task that is done is not acknowledged.", "ack", lambda *_: None),
    _settling(
        "ack-everything",
        "The acknowledgement of one task is for all that were delivered.",
        "ack",
        lambda channel, _: channel.basic_ack(_TAKES_ALL, multiple=True),
    ),
    _settling(
        "ack-of-another-task",
        "The task after the one that is done is acknowledged.",
        "ack",
        lambda channel, tag: channel.basic_ack(tag + 1),
    ),
    _settling(
        "ack-on-failure",
        "A task that failed is acknowledged.",
        "reject",
        lambda channel, tag: channel.basic_ack(tag),
        requeue=True,
    ),
    _settling(
        "requeue-off",
        "A task that failed is rejected without requeueing it.",
        "reject",
        lambda channel, tag: channel.basic_reject(tag, requeue=False),
        requeue=True,
    ),
    _settling(
        "nack-where-reject-is-due",
        "A task that failed is handed back with basic.nack, which RabbitMQ 4.3 does not count as a failure.",
        "reject",
        lambda channel, tag: channel.basic_nack(tag, requeue=True),
        requeue=True,
    ),
    _settling(
        "ack-on-reject",
        "A task that was rejected for good is acknowledged.",
        "reject",
        lambda channel, tag: channel.basic_ack(tag),
        requeue=False,
    ),
    _settling(
        "requeue-on-reject",
        "A task that was rejected for good is requeued.",
        "reject",
        lambda channel, tag: channel.basic_reject(tag, requeue=True),
        requeue=False,
    ),
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
    _settling(
        "stop-acks-the-rest",
        "A worker that is stopped acknowledges what it has not started.",
        "hand_back",
        lambda channel, tag: channel.basic_ack(tag),
    ),
    _settling(
        "stop-drops-the-rest",
        "A worker that is stopped rejects what it has not started, without requeueing it.",
        "hand_back",
        lambda channel, tag: channel.basic_reject(tag, requeue=False),
    ),
    _settling(
        "stop-fails-the-rest",
        "A worker that is stopped hands back what it has not started with basic.reject, as if it had failed.",
        "hand_back",
        lambda channel, tag: channel.basic_reject(tag, requeue=True),
    ),
)
"""Every mistake of a worker."""
