"""Mistakes of a worker in what it answers to a delivery, and when."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from pika.channel import Channel

from workqueue._consumer import Consumer
from workqueue._io import Answer
from workqueue.errors import WorkqueueError
from workqueue.events import Draining, Event, Teller
from workqueue.guarantee.mutants._mutant import Made, Method, Mutant, replace
from workqueue.worker import Worker

_SETTLEMENTS = ("ack", "reject", "hand_back")
_NEXT_DELIVERY = 5.0  # seconds to wait for it
_TAKES_ALL = 0  # as a delivery tag with multiple: all that were delivered so far


def _settles_nothing() -> None:
    for name in _SETTLEMENTS:
        replace(Consumer, name, lambda _: lambda *_, **__: True)


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
        def handle(worker: Worker, consumer: Consumer, tag: int, *content: Any) -> None:
            ack(consumer, tag)
            _wait_for_the_broker(consumer)
            made()
            original(worker, consumer, tag, *content)

        return handle

    replace(Worker, "_handle", around)


def _channel(consumer: Consumer) -> Channel:
    channels: dict[int, Channel] = consumer.link._connection._channels  # type: ignore[attr-defined]
    return channels[consumer._channel]


def _wait_for_the_broker(consumer: Consumer) -> None:
    # So that a mistake does not depend on whether the broker hears of it before the worker is killed, or leaves.
    def ask(answer: Answer[None]) -> None:
        _channel(consumer).flow(True, lambda _: answer(None))

    with contextlib.suppress(WorkqueueError):  # the answer was to close the channel
        consumer.link.ask(ask)


def _ack_twice(made: Made) -> None:
    def around(original: Method) -> Method:
        def ack(consumer: Consumer, tag: int) -> Any:
            made()
            consumer.link.call_soon(lambda: _channel(consumer).basic_ack(tag))
            taken = original(consumer, tag)
            _wait_for_the_broker(consumer)
            return taken

        return ack

    replace(Consumer, "ack", around)


def _settles_otherwise(method: str, settle: Callable[[Consumer, int], None], made: Made, **when: bool) -> None:
    """Have a method of Consumer settle in another way, if it is called with these options."""

    def around(original: Method) -> Method:
        def settlement(consumer: Consumer, tag: int, **options: bool) -> Any:
            if options == when:
                made()
                consumer.link.call_soon(lambda: settle(consumer, tag))
                return True
            return original(consumer, tag, **options)

        return settlement

    replace(Consumer, method, around)


def _settling(name: str, mistake: str, method: str, settle: Callable[[Any, int], None], **when: bool) -> Mutant:
    """A mutant whose consumer settles in another way; ``settle`` gets the channel and the delivery tag."""

    def apply(made: Made) -> None:
        _settles_otherwise(method, lambda consumer, tag: settle(_channel(consumer), tag), made, **when)

    return Mutant(name, mistake, apply)


def _calls(owner: Any, name: str) -> list[object]:
    """Note each call of a method, once it has returned."""
    calls: list[object] = []

    def around(original: Method) -> Method:
        def method(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            calls.append(arguments)
            return result

        return method

    replace(owner, name, around)
    return calls


def _settle_before_cancel(made: Made) -> None:
    received, settled = _calls(Worker, "_deliver"), _calls(Consumer, "ack")

    def around_cancel(original: Method) -> Method:
        def cancel(consumer: Consumer) -> None:
            if threading.current_thread() is threading.main_thread():  # and not in one that is going to settle a task
                original(consumer)

        return cancel

    def around_tell(original: Method) -> Method:
        def tell(teller: Teller, event: Event) -> None:
            original(teller, event)
            if isinstance(event, Draining):
                made()
                # So that it does not depend on which of the two the broker sees first.
                deadline = time.monotonic() + _NEXT_DELIVERY
                while not 0 < len(settled) < len(received) and time.monotonic() < deadline:
                    time.sleep(0.01)

        return tell

    replace(Consumer, "cancel", around_cancel)
    replace(Teller, "__call__", around_tell)


def _stale_tag(made: Made) -> None:
    latest: list[Consumer] = []

    def around_deliver(original: Method) -> Method:
        def deliver(worker: Worker, consumer: Consumer, *delivery: Any) -> None:
            latest[:] = [consumer]
            original(worker, consumer, *delivery)

        return deliver

    def around_settle(original: Method) -> Method:
        def settle(consumer: Consumer, tag: int, frame: bytes | None) -> Any:
            if not consumer.link.failure:
                return original(consumer, tag, frame)
            deadline = time.monotonic() + _NEXT_DELIVERY  # from then on, its tag means a task to the next one
            while latest[0] is consumer and time.monotonic() < deadline:
                time.sleep(0.01)
            made()
            taken = original(latest[0], tag, frame)
            _wait_for_the_broker(latest[0])
            return taken

        return settle

    replace(Worker, "_deliver", around_deliver)
    replace(Consumer, "_settle", around_settle)


SETTLEMENTS = (
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
        "ack-on-another-channel",
        "A task that is done is acknowledged on another channel than that on which it came.",
        "ack",
        lambda channel, tag: channel.connection.channel(on_open_callback=lambda other: other.basic_ack(tag)),
    ),
    Mutant(
        "stale-tag",
        "A task that came by a connection that is lost is settled on the next one, under its old delivery tag.",
        _stale_tag,
    ),
    Mutant("ack-twice", "A task that is done is acknowledged twice.", _ack_twice),
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
    Mutant(
        "settle-before-cancel",
        "A worker that is stopped settles its task before it ends its subscription.",
        _settle_before_cancel,
    ),
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
"""Every mistake of settlement."""
