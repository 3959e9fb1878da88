"""Mistakes of a worker in how it subscribes, works and ends."""

import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from pika.channel import Channel

from workqueue._consumer import Consumer
from workqueue._io import Link
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
    def handle(_: Worker, consumer: Consumer, tag: int, *_content: Any) -> None:
        made()
        consumer.ack(tag)

    replace(Worker, "_handle", lambda _: handle)


def _takes_another_time(made: Made, other: Callable[[float], float]) -> None:
    working = threading.local()
    sleep = time.sleep

    def around(original: Method) -> Method:
        def init(worker: Worker, url: str, queue: Queue | str, handler: Method, **options: Any) -> None:
            def timed(message: Message) -> None:
                working.now = True
                try:
                    handler(message)
                finally:
                    working.now = False

            original(worker, url, queue, timed, **options)

        return init

    def work(seconds: float) -> None:
        if getattr(working, "now", False):
            made()
            seconds = other(seconds)
        sleep(seconds)

    replace(Worker, "__init__", around)
    replace(time, "sleep", lambda _: work)


def _taking(name: str, mistake: str, other: Callable[[float], float]) -> Mutant:
    """A mutant whose work takes another time, made of that which it should take."""
    return Mutant(name, mistake, functools.partial(_takes_another_time, other=other))


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
    def deliver(worker: Worker, *delivery: Any) -> None:
        made()
        worker._handle(*delivery)

    replace(Worker, "_deliver", lambda _: deliver)


def _quiet_end(made: Made, kind: type[WorkqueueError]) -> None:
    def around(original: Method) -> Method:
        def delay(worker: Worker, error: WorkqueueError) -> float:
            if isinstance(error, kind):
                made()
                worker.stop()
                return 0.0
            seconds: float = original(worker, error)
            return seconds

        return delay

    replace(Worker, "_delay", around)


def _deaf_to_cancel(made: Made) -> None:
    def around(original: Method) -> Method:
        def shut(link: Link, reason: WorkqueueError) -> None:
            if isinstance(reason, ConsumerCancelled):
                made()
            else:
                original(link, reason)

        return shut

    replace(Link, "shut", around)


def _old_tasks_kept(made: Made) -> None:
    def work(worker: Worker) -> None:
        while (delivery := worker._inbox.get()) is not None:
            consumer, *_ = delivery
            if consumer.link.failure:
                made()
            worker._handle(*delivery)

    def around_hand_back(original: Method) -> Method:
        def hand_back(worker: Worker) -> None:
            if worker._stopping():
                original(worker)

        return hand_back

    replace(Worker, "_hand_back", around_hand_back)
    replace(Worker, "_work", lambda _: work)


def _no_qos_again(made: Made) -> None:
    set_before: list[bool] = []

    def around(original: Method) -> Method:
        def basic_qos(channel: Channel, **limit: Any) -> None:
            if set_before:
                made()
            else:
                set_before.append(True)
                original(channel, **limit)

        return basic_qos

    replace(Channel, "basic_qos", around)


def _failures_not_counted(made: Made) -> None:
    def uncounted(_: Message) -> int:
        made()
        return 0

    Message.failures = property(uncounted)  # type: ignore[assignment,method-assign]


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
    _taking("half-the-time", "Work takes half as long as it should.", lambda seconds: seconds / 2),
    _taking("twice-the-time", "Work takes twice as long as it should.", lambda seconds: seconds * 2),
    _taking("always-a-second", "Work takes a second at least, even for nothing.", lambda seconds: seconds or 1.0),
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
    Mutant("old-tasks-kept", "What came by a connection that is lost is still worked on.", _old_tasks_kept),
    Mutant("no-qos-again", "The prefetch limit is set for the first subscription only.", _no_qos_again),
    Mutant("failures-not-counted", "How often a task failed is not looked at.", _failures_not_counted),
    Mutant("deaf-to-cancel", "That the broker ended the subscription is not noticed.", _deaf_to_cancel),
    Mutant("stop-at-once", "SIGTERM ends the worker in the middle of a task, with status 0.", _stop_at_once),
    Mutant("stop-ignored", "SIGTERM does not stop the worker.", _stop_ignored),
)
"""Every other mistake of a worker."""
