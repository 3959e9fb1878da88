"""What a RabbitMQ work queue is: a reference model of one queue, its channels and its consumers.

A queue keeps tasks in the order in which they were published. It gives the first one to the consumer whose turn it is,
and a consumer that holds as many as its prefetch count gets no more until it settles one. A task that is acked, or
refused without requeue, is gone. One that is handed back, or whose channel is closed, is in the queue again and is
marked as redelivered. What depends on the queue type and on the version of RabbitMQ is in `workqueue.guarantee.rules`.

`WorkQueue.step` takes one operation, a mapping that JSON can tell, and returns all that a broker may make of it:

    {"do": "publish", "count": 2}
    {"do": "consume", "channel": 0, "prefetch": 1}        basic.qos and basic.consume; 0 is no limit
    {"do": "cancel", "channel": 0}                        what was delivered stays held
    {"do": "get", "channel": 0}                           basic.get, to be acked
    {"do": "ack", "channel": 0, "index": 0, "multiple": false}
    {"do": "nack", "channel": 0, "index": 0, "multiple": false, "requeue": true}
    {"do": "reject", "channel": 0, "index": 0, "requeue": true}
    {"do": "close", "channel": 0}                         channel.close
    {"do": "disconnect", "connection": 0}                 of channels 0 and 1; the others are on connection 1
    {"do": "declare", "delivery_limit": 1}                only as the first one; without it, the queue has the default

A channel is opened by its first operation, and has one consumer at most. An ``index`` counts what a channel holds in
the order of delivery. What cannot be done, such as to ack where nothing is held, is left out.
"""

import copy
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workqueue.guarantee.rules import Place, Rules

Operation = Mapping[str, Any]

CHANNELS = 4
CHANNELS_PER_CONNECTION = 2


@dataclass(frozen=True, slots=True)
class Task:
    """A message: its place in the order of publication, and what happened to it."""

    number: int
    redelivered: bool = False
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """A task that was delivered and not settled; by whom it is held, and since which consumer (None: basic.get)."""

    task: Task
    channel: int
    tag: int
    consumer: int | None
    redelivered: bool


@dataclass(frozen=True, slots=True)
class Consumer:
    """A subscription; a prefetch count of 0 is no limit. `lent` is what it may hold beyond that."""

    channel: int
    prefetch: int
    lent: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """What can be seen of a queue from outside.

    :param held: for each channel that holds something: the tasks in the order of delivery, and whether each was marked.
    :param ready: how many tasks wait.
    :param consumers: how many consumers there are.
    """

    held: Mapping[int, tuple[tuple[int, bool], ...]]
    ready: int
    consumers: int


@dataclass(slots=True)
class WorkQueue:
    """One queue. `gone` has the tasks that are settled for good, or dropped."""

    rules: Rules
    limit: int | None = None
    published: int = 0
    returned: list[Task] = field(default_factory=list)
    ready: list[Task] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    gone: list[Task] = field(default_factory=list)
    consumers: dict[int, Consumer] = field(default_factory=dict)
    turns: list[int] = field(default_factory=list)
    subscriptions: int = 0
    tags: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.limit = self.rules.delivery_limit if self.limit is None else self.limit

    def step(self, operation: Operation) -> "list[WorkQueue]":
        """All states to which an operation may lead; this one stays as it is."""
        if operation["do"] != "disconnect":
            after = self._copy()
            after._do(**operation)
            return [after]
        # The channels of a connection end in no particular order.
        first = operation["connection"] * CHANNELS_PER_CONNECTION
        outcomes = []
        for order in itertools.permutations(range(first, first + CHANNELS_PER_CONNECTION)):
            after = self._copy()
            for channel in order:
                after._close(channel)
            if after not in outcomes:
                outcomes.append(after)
        return outcomes

    def view(self) -> View:
        """What can be seen of it from outside."""
        held: dict[int, tuple[tuple[int, bool], ...]] = {}
        for each in self.held:
            held[each.channel] = (*held.get(each.channel, ()), (each.task.number, each.redelivered))
        consumers = len(self.consumers)
        if self.rules.counts_holders:
            fetched = sum(each.consumer is None for each in self.held)
            consumers += len({each.consumer for each in self.held} - {None, *self.consumers}) + fetched
        return View(held, len(self.returned) + len(self.ready), consumers)

    def on(self, channel: int) -> list[Held]:
        """What a channel holds, in the order of delivery."""
        return [each for each in self.held if each.channel == channel]

    def consumer_of(self, channel: int) -> int | None:
        """The consumer of a channel."""
        return next((tag for tag, consumer in self.consumers.items() if consumer.channel == channel), None)

    def _copy(self) -> "WorkQueue":
        after = copy.copy(self)
        for name in ("returned", "ready", "held", "gone", "consumers", "turns", "tags"):
            setattr(after, name, copy.copy(getattr(self, name)))
        return after

    # Operations

    def _do(self, do: str, **details: Any) -> None:
        if do in ("ack", "nack", "reject"):
            self._settle(do, **details)
        else:
            getattr(self, f"_{do}")(**details)

    def _declare(self, delivery_limit: int) -> None:
        self.limit = None if delivery_limit < 0 and self.rules.below_zero_is_none else delivery_limit

    def _publish(self, count: int) -> None:
        for _ in range(count):
            self.published += 1
            self.ready.append(Task(self.published))
            self._dispatch()

    def _consume(self, channel: int, prefetch: int) -> None:
        if self.consumer_of(channel) is None:
            self.subscriptions += 1
            self.consumers[self.subscriptions] = Consumer(channel, prefetch)
            self.turns.append(self.subscriptions)
            self._dispatch()

    def _cancel(self, channel: int) -> None:
        if (tag := self.consumer_of(channel)) is not None:
            del self.consumers[tag]
            self.turns = [each for each in self.turns if each != tag]

    def _get(self, channel: int) -> None:
        if self.returned or self.ready:
            self._deliver(channel, None)

    def _settle(self, how: str, channel: int, index: int, multiple: bool = False, requeue: bool = False) -> None:
        mine = self.on(channel)
        if not mine:
            return
        index %= len(mine)
        settled = mine[: index + 1] if multiple else [mine[index]]
        for part in self._parts(settled):
            self._release(part)
            if requeue:
                self._requeue(part, how)
            else:
                self.gone += [each.task for each in part]
            self._dispatch()

    def _close(self, channel: int) -> None:
        self._cancel(channel)
        for part in self._parts(self.on(channel), closed=True):
            self._release(part)
            self._requeue(part, "close")
        self.tags.pop(channel, None)
        self._dispatch()

    # What they have in common

    def _release(self, settled: list[Held]) -> None:
        self.held = [each for each in self.held if not any(each is one for one in settled)]
        for tag in dict.fromkeys(each.consumer for each in settled):
            if tag in self.consumers and tag not in self.turns:
                self.turns.append(tag)

    def _parts(self, settled: list[Held], *, closed: bool = False) -> list[list[Held]]:
        """What comes back together, in the order in which it does.

        A channel settles apart what was fetched with ``basic.get``, each for itself, and then what each consumer holds.
        """
        if closed and not self.rules.closed_apart:
            return [settled]
        fetched = [[each] for each in settled if each.consumer is None]
        if closed:
            fetched.sort(key=lambda part: str(part[0].tag))
        tags = sorted({each.consumer for each in settled if each.consumer is not None})
        consumed = [[each for each in settled if each.consumer == tag] for tag in tags]
        return consumed + fetched if closed and self.rules.closed_fetched_last else fetched + consumed

    def _requeue(self, held: Iterable[Held], how: str) -> None:
        for each in held:
            failures = each.task.failures + (how in self.rules.failures)
            task = replace(each.task, redelivered=True, failures=failures)
            if self.limit is not None and task.failures > self.limit:
                self.gone.append(task)
                if self.rules.drop_lends and each.consumer in self.consumers:
                    consumer = self.consumers[each.consumer]
                    self.consumers[each.consumer] = replace(consumer, lent=consumer.lent + 1)
            else:
                self._put(task, self._place(how))

    def _place(self, how: str) -> Place:
        if how == "close":
            return self.rules.takes_back
        return self.rules.requeue_unlimited if self.limit is None else self.rules.requeue

    def _put(self, task: Task, place: Place) -> None:
        if place == "front":
            self.returned.append(task)
        else:
            self.ready.append(task)
        if place == "position":
            self.ready.sort(key=lambda each: each.number)

    def _dispatch(self) -> None:
        """Give the first task to the consumer whose turn it is, as long as there are both."""
        while (self.returned or self.ready) and self.turns:
            tag = self.turns.pop(0)
            if self._is_full(tag):
                continue
            self._deliver(self.consumers[tag].channel, tag)
            if self.rules.full_keeps_turn or not self._is_full(tag):
                self.turns.append(tag)

    def _is_full(self, tag: int) -> bool:
        consumer = self.consumers[tag]
        if consumer.prefetch == 0 or not self.rules.prefetch:
            return False
        return sum(each.consumer == tag for each in self.held) >= consumer.prefetch + consumer.lent

    def _deliver(self, channel: int, consumer: int | None) -> None:
        task = (self.returned or self.ready).pop(0)
        tag = self.tags[channel] = self.tags.get(channel, 0) + 1
        self.held.append(Held(task, channel, tag, consumer, task.redelivered and self.rules.marks))
