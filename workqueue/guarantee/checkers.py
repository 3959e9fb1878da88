"""What a history must not contain: a total-queue and an at-least-once checker, one function a fault.

Each returns the tasks that it concerns, every one once. They know nothing of how the history came about, so they can be
tested on histories made by hand. They are only meaningful once every queue was drained, and everybody that had a task
was heard or is gone.
"""

import collections
from collections.abc import Callable, Iterable

from workqueue.guarantee.history import Event, History, Kind

Checker = Callable[[History], list[str]]


# Faults, whatever befell workers, connections and the broker


def lost(history: History) -> list[str]:
    """Tasks that were confirmed and delivered to nobody."""
    return _without(history.tasks(Kind.CONFIRMED), history.tasks(Kind.DELIVERED))


def unfinished(history: History) -> list[str]:
    """Tasks that were confirmed and delivered, and that nobody ever finished: they went with whoever held them.

    Says nothing where tasks are left undone on purpose: rejected, say.
    """
    delivered = set(history.tasks(Kind.DELIVERED))
    finished = [event.task for event in history.events() if event.kind in (Kind.DONE, Kind.ACK_SENT, Kind.ACKED)]
    return [task for task in _without(history.tasks(Kind.CONFIRMED), finished) if task in delivered]


def unexpected(history: History) -> list[str]:
    """Tasks that were delivered and that nobody had published."""
    return _without(history.tasks(Kind.DELIVERED), history.tasks(Kind.PUBLISHED))


def silently_repeated(history: History) -> list[str]:
    """Tasks that were delivered again without being marked as redelivered, beyond the copies that were published."""
    copies = collections.Counter(history.tasks(Kind.PUBLISHED))
    seen: set[str] = set()
    silent: collections.Counter[str] = collections.Counter()
    for event in history.events(Kind.DELIVERED):
        if event.task in seen and not event.redelivered:
            silent[event.task] += 1
        seen.add(event.task)
    return [task for task, times in silent.items() if times > max(copies[task] - 1, 0)]


def redelivered_after_ack(history: History) -> list[str]:
    """Tasks that were delivered when the acks of all their copies were known to have reached the broker.

    A consumer that was frozen may read late what it was sent before the task came to another one, which acked it: do
    not add what it reads after it was given up.
    """
    copies: collections.Counter[str] = collections.Counter()
    acked: collections.Counter[str] = collections.Counter()
    found = []
    for event in history.events():
        if event.kind is Kind.PUBLISHED:
            copies[event.task] += 1
        elif event.kind is Kind.ACKED:
            acked[event.task] += 1
        elif event.kind is Kind.DELIVERED and acked[event.task] >= max(copies[event.task], 1):
            found.append(event.task)
    return _once(found)


def overtaken(history: History) -> list[str]:
    """Tasks that came to a consumer after a task that their producer had published later: position violations.

    Only first deliveries count: a task that was handed back has no place that is promised everywhere. Nor is one
    promised between consumers, whose readings race, nor to a task that was published twice. Priorities overtake on
    purpose.
    """
    published = history.events(Kind.PUBLISHED)
    copies = collections.Counter(event.task for event in published)
    position = {event.task: (event.who, number) for number, event in enumerate(published) if copies[event.task] == 1}
    latest: dict[tuple[str, str], int] = {}
    found = []
    for task, delivery in _first_deliveries(history).items():
        if delivery.redelivered or task not in position:
            continue
        producer, number = position[task]
        if number < latest.get((producer, delivery.who), number):
            found.append(task)
        else:
            latest[producer, delivery.who] = number
    return found


# Facts: faults only where nothing failed that would explain them


def duplicated(history: History) -> list[str]:
    """Tasks that were delivered more than once, whatever their flag said."""
    deliveries = collections.Counter(history.tasks(Kind.DELIVERED))
    return [task for task, times in deliveries.items() if times > 1]


def falsely_marked(history: History) -> list[str]:
    """Tasks that were marked as redelivered the first time that anybody saw them.

    No fault if somebody died or was cut off, who may have been sent them and never read them.
    """
    return [task for task, delivery in _first_deliveries(history).items() if delivery.redelivered]


def recovered(history: History) -> list[str]:
    """Tasks that were published and not confirmed, and came all the same."""
    unconfirmed = set(history.tasks(Kind.PUBLISHED)) - set(history.tasks(Kind.CONFIRMED))
    return _once(task for task in history.tasks(Kind.DELIVERED) if task in unconfirmed)


def indeterminate(history: History) -> list[str]:
    """Tasks of which nobody can say whether the broker got what was sent: the task itself, or its ack."""
    return _once([*unanswered(history), *_without(history.tasks(Kind.ACK_SENT), history.tasks(Kind.ACKED))])


def unanswered(history: History) -> list[str]:
    """Tasks that were published and not confirmed, and not refused as often as they were published."""
    confirmed = history.tasks(Kind.CONFIRMED)
    open_ = collections.Counter(history.tasks(Kind.PUBLISHED)) - collections.Counter(history.tasks(Kind.REFUSED))
    return _without(open_, confirmed)


FAULTS: tuple[Checker, ...] = (lost, unfinished, unexpected, silently_repeated, redelivered_after_ack, overtaken)
"""At-least-once, in order, with duplicates that are marked: what must be so whatever failed."""

FACTS: tuple[Checker, ...] = (duplicated, falsely_marked, recovered, indeterminate)
"""What at-least-once delivery permits when something failed."""


def findings(history: History, checkers: Iterable[Checker] = FAULTS) -> dict[str, list[str]]:
    """What checkers find, by their names; those that find nothing are left out."""
    found = {check.__name__: check(history) for check in checkers}
    return {name: tasks for name, tasks in found.items() if tasks}


def _first_deliveries(history: History) -> dict[str, Event]:
    first: dict[str, Event] = {}
    for event in history.events(Kind.DELIVERED):
        first.setdefault(event.task, event)
    return first


def _without(tasks: Iterable[str], others: Iterable[str]) -> list[str]:
    excluded = set(others)
    return _once(task for task in tasks if task not in excluded)


def _once(tasks: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(tasks))
