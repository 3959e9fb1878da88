"""What the journal of a soak must not contain, once the queue was drained. Pure: it is tested on journals made by hand.

Most tasks have a plain story: published, confirmed, delivered once, acked. It says nothing to any checker, so only the
others are looked at closely. At-least-once delivery permits repeats; the broker has to say so, and to stop once it has
the ack.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workqueue.guarantee import checkers
from workqueue.guarantee.history import History, Kind
from workqueue.guarantee.soak.journal import Entry, Journal, What

VIOLATIONS = {
    "lost": "confirmed, and delivered to nobody",
    "lost-in-hand": "confirmed and delivered to workers that never began to ack it, and not delivered again",
    "unroutable": "the broker had no queue for it, though the queue is durable and nobody deleted it",
    "unexpected": "delivered, and published by nobody",
    "silently-repeated": "delivered more than once, and more than one delivery was not marked as redelivered",
    "redelivered-after-ack": "delivered again after the queue certainly had its ack",
}
"""What a soak must not find, and what each name means."""

REASONS = {
    "not-acked": "its worker had not begun to ack it",
    "ack-in-doubt": "its ack was under way when the connection, the worker or the broker died, and nobody knows how "
    "far it got",
    "ack-forgotten-by-kill": "a classic queue had its ack, and the broker was killed: acks are not confirmed, and "
    "classic queues do not promise to have them on disk",
}
"""Why a task was delivered again, where it may be."""

_KINDS = {
    What.PUBLISHED: Kind.PUBLISHED,
    What.CONFIRMED: Kind.CONFIRMED,
    What.DELIVERED: Kind.DELIVERED,
    What.ACKED: Kind.DONE,
}
_PLAIN = 1 << What.PUBLISHED | 1 << What.CONFIRMED | 1 << What.DELIVERED | 1 << What.ACKED
_AGAIN = 1 << 7  # a second delivery


@dataclass(slots=True)
class Judgement:
    """What was found.

    :param violations: the tasks of each kind of violation; those that there are none of are missing.
    :param repeats: how many deliveries were repeats, by reason.
    :param duplicated: how many tasks were delivered more than once.
    :param indeterminate: how many tasks were published whose confirmation never came.
    :param recovered: how many of these were delivered all the same.
    :param stories: the events of some tasks of each violation, to be shown.
    """

    violations: dict[str, list[int]] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    duplicated: int = 0
    indeterminate: int = 0
    recovered: int = 0
    stories: dict[int, list[Entry]] = field(default_factory=dict)


def judge(journal: Journal, *, kills: Sequence[int] = (), drained: bool = True) -> Judgement:
    """Look for violations. The journal is complete: nobody adds to it any more.

    :param kills: when the broker was killed (microseconds of the journal's clock), if it may have forgotten acks then:
        for classic queues.
    :param drained: whether the queue was seen empty. If not, nothing can be said of what is missing.
    """
    stories = _remarkable(journal)
    found = Judgement()
    checks: dict[str, Callable[[], list[int]]] = {
        "unroutable": lambda: [task for task, story in stories.items() if _has(story, What.RETURNED)],
        "unexpected": lambda: _numbers(checkers.unexpected(_history(stories))),
        "silently-repeated": lambda: [task for task, story in stories.items() if _silent(story)],
        "redelivered-after-ack": lambda: [task for task, story in stories.items() if _came_back(story, kills)],
    }
    if drained:
        checks["lost"] = lambda: _numbers(checkers.lost(_history(stories)))
        checks["lost-in-hand"] = lambda: [task for task, story in stories.items() if _lost_in_hand(story)]
    for name in VIOLATIONS:
        if name in checks and (tasks := checks[name]()):
            found.violations[name] = tasks
            found.stories.update((task, stories[task]) for task in tasks[:3])
    for story in stories.values():
        deliveries = [entry for entry in story if entry.what is What.DELIVERED]
        found.duplicated += len(deliveries) > 1
        for repeat in deliveries[1:]:
            reason = _why(story, repeat, kills)
            found.repeats[reason] = found.repeats.get(reason, 0) + 1
        if _has(story, What.PUBLISHED) and not (_has(story, What.CONFIRMED) or _has(story, What.RETURNED)):
            found.indeterminate += 1
            found.recovered += bool(deliveries)
    return found


def _remarkable(journal: Journal) -> dict[int, list[Entry]]:
    """The stories, in order of time, of all tasks whose story is not plain."""
    bits: bytearray = bytearray(journal.most + 1)
    unheard_of: set[int] = set()
    delivered, again = 1 << What.DELIVERED, _AGAIN
    # Proofs make no difference to a story with one delivery.
    flags = {int(what): 0 if what is What.PROVEN else 1 << what for what in What}
    for what, task in journal.whats():
        if not 0 <= task <= journal.most:
            unheard_of.add(task)
            continue
        flag = flags[what]
        if flag == delivered and bits[task] & delivered:
            flag = again
        bits[task] |= flag
    # Not zero: a producer that was killed before it had told of a task leaves a gap in the numbers.
    stories: dict[int, list[Entry]] = {task: [] for task, seen in enumerate(bits) if seen not in (0, _PLAIN)}
    stories.update((task, []) for task in unheard_of)
    for index, (_, task) in enumerate(journal.whats()):
        if task in stories:
            stories[task].append(journal[index])
    for story in stories.values():
        story.sort(key=lambda entry: entry.at)
    return stories


def _history(stories: dict[int, list[Entry]]) -> History:
    """As the checkers of specs want it."""
    result = History()
    for task, story in stories.items():
        for entry in story:
            if entry.what in _KINDS:
                result.add(_KINDS[entry.what], str(entry.who), str(task), redelivered=entry.marked, at=entry.at / 1e6)
    return result


def _numbers(tasks: list[str]) -> list[int]:
    return sorted({int(task) for task in tasks})


def _has(story: list[Entry], what: What) -> bool:
    return any(entry.what is what for entry in story)


def _silent(story: list[Entry]) -> bool:
    # Not by the order of arrival: what was sent first can be read last, from a connection that has long been replaced.
    return sum(entry.what is What.DELIVERED and not entry.marked for entry in story) > 1


def _lost_in_hand(story: list[Entry]) -> bool:
    return _has(story, What.CONFIRMED) and _has(story, What.DELIVERED) and not _has(story, What.ACKED)


def _came_back(story: list[Entry], kills: Sequence[int]) -> bool:
    return any(
        entry.what is What.DELIVERED and (ack := _proven_before(story, entry)) and not _killed(kills, ack, entry)
        for entry in story
    )


def _why(story: list[Entry], repeat: Entry, kills: Sequence[int]) -> str:
    ack = _proven_before(story, repeat)
    if ack is not None:
        return "ack-forgotten-by-kill" if _killed(kills, ack, repeat) else "redelivered-after-ack"
    acked = any(entry.what is What.ACKED and entry.at <= repeat.at for entry in story)
    return "ack-in-doubt" if acked else "not-acked"


def _proven_before(story: list[Entry], delivery: Entry) -> Entry | None:
    """The latest ack that the queue had for certain before it can have sent this delivery."""
    proofs = [entry for entry in story if entry.what is What.PROVEN and entry.at < delivery.since]
    if not proofs:
        return None
    acks = [each for each in story if each.what is What.ACKED and each.who == proofs[-1].who]
    return next((each for each in reversed(acks) if each.at <= proofs[-1].at), None)


def _killed(kills: Sequence[int], ack: Entry, delivery: Entry) -> bool:
    return any(ack.at <= kill <= delivery.at for kill in kills)
