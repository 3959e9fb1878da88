"""A real queue that is told the operations of the reference model, and is looked at as the model is."""

import secrets
import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pika import spec

from workqueue.broker import Broker
from workqueue.guarantee.links import Came, Link
from workqueue.guarantee.model import CHANNELS_PER_CONNECTION, Operation, View
from workqueue.warden import get_warden

_CONTROL = 1  # the channel of the control connection


@dataclass(frozen=True, slots=True)
class Delivered:
    """A task that a channel holds, as the broker told it."""

    tag: int
    task: int
    redelivered: bool


class Strange(Exception):  # noqa: N818 - what the broker did
    """The broker did what no queue does, whatever was done to it."""


class RealQueue:
    """A new queue for each script, on connections that are used again: one to publish and to look, two for channels."""

    def __init__(self, broker: Broker, queue_type: str) -> None:
        self._broker = broker
        self._type = queue_type
        self._control: Link | None = None
        self._links: dict[int, Link] = {}
        self._name = ""
        self._published = 0
        self._subscriptions = 0
        self._confirmed = 0
        self._sent = 0
        self._held: dict[int, list[Delivered]] = {}
        self._consumers: dict[int, str] = {}

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Declare a new queue."""
        if self._control is None:
            self._control = Link(self._broker.url)
            self._control.ask(_CONTROL, spec.Channel.Open(), spec.Channel.OpenOk)
            self._control.ask(_CONTROL, spec.Confirm.Select(), spec.Confirm.SelectOk)
            self._confirmed = self._sent = 0
        name = f"wq-{secrets.token_hex(6)}"
        if self._broker.about.provider == "external":
            get_warden().own_queue(self._broker.url, name)
        self._name, self._published, self._subscriptions = name, 0, 0
        declare = spec.Queue.Declare(queue=name, durable=True, arguments={"x-queue-type": self._type, **arguments})
        self._control.ask(_CONTROL, declare, spec.Queue.DeclareOk)

    def end(self) -> None:
        """Close the channels and delete the queue."""
        for channel in list(self._held):
            self._close(channel)
        if self._control is not None and self._name:
            self._control.ask(_CONTROL, spec.Queue.Delete(queue=self._name), spec.Queue.DeleteOk)
        if self._broker.about.provider == "external" and self._name:
            get_warden().disown_queue(self._broker.url, self._name)
        self._name = ""

    def close(self) -> None:
        """Close all connections."""
        for link in [*self._links.values(), self._control]:
            if link is not None:
                link.close()
        self._links.clear()
        self._held.clear()
        self._consumers.clear()
        self._control = None

    def do(self, operation: Operation) -> None:
        """Do an operation, and return when the broker has dealt with it as far as it says so."""
        details = dict(operation)
        what = details.pop("do")
        if what in ("ack", "nack", "reject"):
            self._settle(what, **details)
        elif what != "declare":
            getattr(self, f"_{what}")(**details)

    def aim(self, operation: Operation) -> int | None:
        """The task that an operation would settle, the last one if it settles several; None if it would settle none."""
        held = self._held.get(operation.get("channel", -1))
        return held[operation["index"] % len(held)].task if held and "index" in operation else None

    def look(self) -> View:
        """What can be seen of it after a round trip to the queue on every channel.

        A queue answers on a channel after what it sent there before. So if this shows what the model predicts, then
        nothing else is on its way; on a quorum queue, nothing of what was written to its log by now.
        """
        assert self._control is not None
        question = spec.Queue.Declare(queue=self._name, passive=True)
        for channel in self._held:
            self._link(channel).send(_number(channel), question)
        for channel in self._held:
            self._link(channel).expect(_number(channel), spec.Queue.DeclareOk)
        answer = self._control.ask(_CONTROL, question, spec.Queue.DeclareOk).method
        self._collect()
        held = {
            channel: tuple((each.task, each.redelivered) for each in tasks)
            for channel, tasks in self._held.items()
            if tasks
        }
        return View(held, answer.message_count, answer.consumer_count)

    def wait(self, seconds: float) -> None:
        """Wait until something comes, but not longer than that."""
        links = list(self._links.values())
        select.select(links, [], [], seconds)

    # Operations

    def _publish(self, count: int) -> None:
        assert self._control is not None
        bodies = [str(self._published + number).encode() for number in range(1, count + 1)]
        self._control.publish(_CONTROL, self._name, bodies)
        self._published += count
        self._sent += count
        while self._confirmed < self._sent:
            answer = self._control.expect(_CONTROL, spec.Basic.Ack, spec.Basic.Nack).method
            if isinstance(answer, spec.Basic.Nack):
                raise Strange("refused a publish (basic.nack)")
            self._confirmed = answer.delivery_tag if answer.multiple else self._confirmed + 1

    def _consume(self, channel: int, prefetch: int) -> None:
        if channel in self._consumers:
            return
        link, number = self._open(channel), _number(channel)
        self._subscriptions += 1
        tag = f"consumer {self._subscriptions:03}"  # quorum queues sort them
        link.ask(number, spec.Basic.Qos(prefetch_count=prefetch), spec.Basic.QosOk)
        link.ask(number, spec.Basic.Consume(queue=self._name, consumer_tag=tag), spec.Basic.ConsumeOk)
        self._consumers[channel] = tag

    def _cancel(self, channel: int) -> None:
        if tag := self._consumers.pop(channel, None):
            self._link(channel).ask(_number(channel), spec.Basic.Cancel(tag), spec.Basic.CancelOk)

    def _get(self, channel: int) -> None:
        link = self._open(channel)
        got = link.ask(_number(channel), spec.Basic.Get(queue=self._name), spec.Basic.GetOk, spec.Basic.GetEmpty)
        self._collect()
        if isinstance(got.method, spec.Basic.GetOk):
            self._held[channel].append(_delivered(got))

    def _settle(self, how: str, channel: int, index: int, multiple: bool = False, requeue: bool = False) -> None:
        held = self._held.get(channel)
        if not held:
            return
        index %= len(held)
        tag = held[index].tag
        del held[0 if multiple else index : index + 1]
        method = {
            "ack": spec.Basic.Ack(tag, multiple),
            "nack": spec.Basic.Nack(tag, multiple, requeue),
            "reject": spec.Basic.Reject(tag, requeue),
        }[how]
        link = self._link(channel)
        link.send(_number(channel), method)
        # What has no answer has reached the queue when a question that was asked after it on the same channel has.
        question = spec.Queue.Declare(queue=self._name, passive=True)
        link.ask(_number(channel), question, spec.Queue.DeclareOk)

    def _close(self, channel: int) -> None:
        if channel in self._held:
            self._link(channel).ask(_number(channel), spec.Channel.Close(200, "", 0, 0), spec.Channel.CloseOk)
            self._forget(channel)

    def _disconnect(self, connection: int, rudely: bool = False) -> None:
        link = self._links.pop(connection, None)
        if link is None:
            return
        if rudely:
            link.drop()
        else:
            link.close()
        for channel in range(connection * CHANNELS_PER_CONNECTION, (connection + 1) * CHANNELS_PER_CONNECTION):
            self._forget(channel)

    # How it works

    def _link(self, channel: int) -> Link:
        return self._links[channel // CHANNELS_PER_CONNECTION]

    def _open(self, channel: int) -> Link:
        connection = channel // CHANNELS_PER_CONNECTION
        if connection not in self._links:
            self._links[connection] = Link(self._broker.url)
        if channel not in self._held:
            self._links[connection].ask(_number(channel), spec.Channel.Open(), spec.Channel.OpenOk)
            self._held[channel] = []
        return self._links[connection]

    def _forget(self, channel: int) -> None:
        self._held.pop(channel, None)
        self._consumers.pop(channel, None)

    def _collect(self) -> None:
        for connection, link in self._links.items():
            link.read(0)
            while link.inbox:
                came = link.inbox.popleft()
                channel = connection * CHANNELS_PER_CONNECTION + came.channel - 1
                if isinstance(came.method, spec.Basic.Deliver) and channel in self._held:
                    self._held[channel].append(_delivered(came))


def _delivered(came: Came) -> Delivered:
    if not came.body.isdigit():
        raise Strange(f"delivered what nobody published: {came.body!r}")
    return Delivered(came.method.delivery_tag, int(came.body), came.method.redelivered)


def _number(channel: int) -> int:
    return channel % CHANNELS_PER_CONNECTION + 1
