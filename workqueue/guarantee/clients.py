"""AMQP clients in the spec's own process: channels on which each method is called by its name.

Worker processes (`workqueue.guarantee.workers`) are for what happens to workers; a client is for what a channel, a
consumer or a publish does. Its connection runs in a thread of its own, so heartbeats are answered, and what the broker
sends is seen at once: deliveries, returns, confirms, cancellations, blocks and closures.
"""

import functools
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from workqueue.guarantee.actor import task_of
from workqueue.guarantee.answers import Confirmed, Returned
from workqueue.guarantee.connections import Connection, answer_of
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.waiting import barrier, claim


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as a client got it.

    :param task: the body.
    :param tag: its delivery tag.
    :param redelivered: the broker's flag.
    :param consumer: the consumer tag, empty for ``basic.get``.
    :param routing_key: the one it was published, or dead-lettered, with.
    :param properties: all of its properties.
    """

    task: str
    tag: int
    redelivered: bool
    consumer: str
    routing_key: str
    properties: BasicProperties = field(repr=False)

    @property
    def headers(self) -> Mapping[str, Any]:
        """Its headers, none if it has none."""
        return self.properties.headers or {}


class Client:
    """One channel. Made by `workqueue.guarantee.stage.Stage.client`.

    What has an answer in the protocol waits for it, and raises what pika raises if the broker closes the channel or
    the connection instead; what has none (publish, ack, nack, reject) returns at once. :meth:`sync` waits until the
    broker has dealt with all that was sent before.
    """

    def __init__(self, name: str, connection: Connection, evidence: Evidence) -> None:
        self.name = name
        self.connection = connection
        self.received: list[Delivery] = []
        """What the broker delivered to its consumers, in order."""
        self.returned: list[Returned] = []
        """What came back as unroutable, in order."""
        self.confirms: list[Confirmed] = []
        """The broker's answers to publishes, as they came."""
        self.cancelled: list[str] = []
        """Tags of consumers that the broker cancelled."""
        self.published_at: list[float] = []
        """When it was told to publish, for each publish: :func:`time.monotonic` readings."""
        self.answers: list[str] = []
        """``basic.return``, ``basic.ack`` and ``basic.nack``, in the order in which they came."""
        self._closed_by: BaseException | None = None
        self._qos: dict[str, Any] = {}
        self._evidence = evidence
        self._channel = connection.open_channel()
        self._channel.add_on_close_callback(self._on_closed)
        self._channel.add_on_cancel_callback(self._on_cancelled)
        self._channel.add_on_return_callback(self._on_returned)

    def __repr__(self) -> str:
        return f"<{self.name}, received {self.tasks}, cancelled {self.cancelled}, closed by {self.closed_by!r}>"

    @property
    def closed_by(self) -> BaseException | None:
        """Why the channel (or its connection) is closed, or None while it is open."""
        return self._closed_by or self.connection.closed_by

    @property
    def is_open(self) -> bool:
        """Whether the channel is open, as far as has been heard."""
        return self.closed_by is None

    @property
    def tasks(self) -> list[str]:
        """The bodies of what was delivered to its consumers, in order."""
        return [delivery.task for delivery in self.received]

    # Methods that have an answer

    def qos(self, prefetch: int, *, whole_channel: bool = False) -> None:
        """``basic.qos``; `whole_channel` is the protocol's ``global``."""
        self._qos = {"prefetch_count": prefetch, "global_qos": whole_channel}
        self.sync()

    def consume(
        self,
        queue: str,
        *,
        tag: str | None = None,
        auto_ack: bool = False,
        exclusive: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """``basic.consume``; returns the consumer tag."""
        frame = self._ask(
            "basic.consume",
            lambda answer: self._channel.basic_consume(
                queue,
                self._on_delivery,
                auto_ack=auto_ack,
                exclusive=exclusive,
                consumer_tag=tag,
                arguments=dict(arguments or {}),
                callback=answer.set_result,
            ),
        )
        return str(frame.method.consumer_tag)

    def cancel(self, tag: str) -> None:
        """``basic.cancel``. What was delivered stays with the channel; nothing is given back."""
        self._ask("basic.cancel", lambda answer: self._channel.basic_cancel(tag, callback=answer.set_result))

    def get(self, queue: str, *, auto_ack: bool = False) -> Delivery | None:
        """``basic.get``; None if the queue is empty."""

        def ask(answer: "Future[Any]") -> None:
            self._channel.basic_get(queue, lambda *got: answer.set_result(got), auto_ack=auto_ack)
            # pika tells of an empty queue by this method only.
            self._channel.add_callback(lambda _: None if answer.done() else answer.set_result(None), [Basic.GetEmpty])

        got = self._ask("basic.get", ask)
        return None if got is None else _delivery("", *got[1:])

    def recover(self, *, requeue: bool) -> None:
        """``basic.recover``."""
        self._ask("basic.recover", lambda answer: self._channel.basic_recover(requeue, callback=answer.set_result))

    def confirm(self) -> None:
        """``confirm.select``: from here on the broker answers each publish, see `confirms`."""
        self._ask(
            "confirm.select",
            lambda answer: self._channel.confirm_delivery(self._on_confirm, callback=answer.set_result),
        )

    def declare(self, queue: str, *, durable: bool = True, passive: bool = False, **options: Any) -> int:
        """``queue.declare``, with pika's keywords; returns the number of messages that are ready."""
        frame = self._ask(
            "queue.declare",
            lambda answer: self._channel.queue_declare(
                queue, durable=durable, passive=passive, callback=answer.set_result, **options
            ),
        )
        return int(frame.method.message_count)

    def delete(self, queue: str) -> None:
        """``queue.delete``."""
        self._ask("queue.delete", lambda answer: self._channel.queue_delete(queue, callback=answer.set_result))

    def purge(self, queue: str) -> int:
        """``queue.purge``; returns how many messages it removed."""
        frame = self._ask("queue.purge", lambda answer: self._channel.queue_purge(queue, callback=answer.set_result))
        return int(frame.method.message_count)

    def close(self) -> None:
        """``channel.close``: returns when the broker has confirmed it."""
        self._send(self._channel.close)
        barrier(f"{self.name} closes its channel", lambda: not self.is_open)

    def sync(self) -> None:
        """Have an answer on this channel: all that was sent before it was dealt with, and all that came is here.

        :raises pika.exceptions.AMQPError: if the broker closed the channel, or the connection.
        """
        # To repeat a basic.qos changes nothing, and it is the one method that needs neither a queue nor an exchange.
        self._ask("basic.qos", lambda answer: self._channel.basic_qos(callback=answer.set_result, **self._qos))

    # Methods that have none

    def publish(
        self,
        *tasks: str,
        queue: str,
        exchange: str = "",
        mandatory: bool = False,
        persistent: bool = True,
        **properties: Any,
    ) -> list[str]:
        """``basic.publish``, once for each task, to a queue (or to the routing key of that name); returns the tasks.

        :param properties: pika's names: ``headers``, ``expiration``, ``priority``, ``message_id`` …
        """
        sent = BasicProperties(delivery_mode=2 if persistent else 1, **properties)
        for task in tasks:
            self.published_at.append(time.monotonic())
            self._send(functools.partial(self._channel.basic_publish, exchange, queue, task.encode(), sent, mandatory))
        return list(tasks)

    def ack(self, delivery: Delivery | int, *, multiple: bool = False) -> None:
        """``basic.ack`` of a delivery or a delivery tag."""
        self._send(lambda: self._channel.basic_ack(_tag(delivery), multiple))

    def nack(self, delivery: Delivery | int, *, multiple: bool = False, requeue: bool = True) -> None:
        """``basic.nack`` of a delivery or a delivery tag."""
        self._send(lambda: self._channel.basic_nack(_tag(delivery), multiple, requeue))

    def reject(self, delivery: Delivery | int, *, requeue: bool = True) -> None:
        """``basic.reject`` of a delivery or a delivery tag."""
        self._send(lambda: self._channel.basic_reject(_tag(delivery), requeue))

    # Waiting

    def wait_until_holding(self, count: int) -> list[Delivery]:
        """Wait until so many messages were delivered to it (*unknown* if not); returns them all."""
        barrier(f"{self.name} holds {count} tasks", lambda: len(self.received) >= count)
        return list(self.received)

    def receives(self, *tasks: str, within: float | None = None) -> list[Delivery]:
        """Claim that the broker delivers it all of these tasks (*broken* if not); its latest delivery of each."""
        claim(f"{self.name} receives {list(tasks)}", lambda: set(tasks) <= set(self.tasks), within=within)
        return [next(each for each in reversed(self.received) if each.task == task) for task in tasks]

    # How it works

    def _ask(self, what: str, start: "Callable[[Future[Any]], object]") -> Any:
        answer: Future[Any] = Future()

        def step() -> None:
            try:
                start(answer)
            except Exception as error:  # noqa: BLE001 - it is raised where it was asked
                answer.set_exception(self.closed_by or error)

        self.connection.run(step)
        return answer_of(answer, f"{self.name}: the broker answers {what}", lambda: self.closed_by)

    def _send(self, step: Callable[[], object]) -> None:
        def step_if_open() -> None:
            if self._channel.is_open:
                step()

        self.connection.run(step_if_open)

    def _on_delivery(self, _: Channel, deliver: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        delivery = _delivery(str(deliver.consumer_tag), deliver, properties, body)
        self.received.append(delivery)
        self._evidence.note(self.name, f"received {delivery.task[:60]!r}, redelivered={delivery.redelivered}")

    def _on_returned(self, _: Channel, method: Basic.Return, __: BasicProperties, body: bytes) -> None:
        self.answers.append("basic.return")
        self.returned.append(Returned(task_of(body), int(method.reply_code or 0), str(method.reply_text)))

    def _on_confirm(self, frame: Any) -> None:
        at, ok = time.monotonic(), isinstance(frame.method, Basic.Ack)
        self.answers.append("basic.ack" if ok else "basic.nack")
        self.confirms.append(Confirmed(int(frame.method.delivery_tag or 0), ok, bool(frame.method.multiple), at))

    def _on_cancelled(self, frame: Any) -> None:
        self.cancelled.append(str(frame.method.consumer_tag))
        self._evidence.note(self.name, "its consumer was cancelled by the broker")

    def _on_closed(self, _: Channel, reason: BaseException) -> None:
        self._closed_by = reason
        self._evidence.note(self.name, f"its channel closed: {reason!r}")


def _delivery(consumer: str, method: Any, properties: BasicProperties, body: bytes) -> Delivery:
    tag, redelivered = int(method.delivery_tag or 0), bool(method.redelivered)
    return Delivery(task_of(body), tag, redelivered, consumer, str(method.routing_key), properties)


def _tag(delivery: Delivery | int) -> int:
    return delivery if isinstance(delivery, int) else delivery.tag
