"""The checkers beside an oracle that looks at one task at a time, by definitions, not by passes over a history."""

import itertools
from collections import Counter

from hypothesis import assume, given
from hypothesis import strategies as st

from workqueue.guarantee.checkers import FACTS, FAULTS, findings
from workqueue.guarantee.history import Event, History, Kind

ALL = (*FAULTS, *FACTS)
TASKS = "abcd"

# Few tasks, people and moments, so that coincidences are frequent.
happenings = st.sampled_from(list(itertools.product(Kind, ("P", "Q"), TASKS, (False, True))))
events = st.lists(
    st.builds(lambda at, what: Event(float(at), *what), st.integers(0, 12), happenings),
    max_size=24,
)


def told(events):
    history = History()
    for event in events:
        history.add(event.kind, event.who, event.task, redelivered=event.redelivered, at=event.at)
    return history


class Oracle:
    """The definitions, said of one task."""

    def __init__(self, events):
        # In the order of time; of a moment, in the order of a task's life, with the unmarked deliveries first.
        rank = {kind: place for place, kind in enumerate(Kind)}
        self.events = sorted(events, key=lambda each: (each.at, rank[each.kind], each.redelivered))

    def all(self, task, *kinds):
        return [event for event in self.events if event.task == task and event.kind in kinds]

    def is_lost(self, task):
        return bool(self.all(task, Kind.CONFIRMED)) and not self.all(task, Kind.DELIVERED)

    def is_unfinished(self, task):
        ended = self.all(task, Kind.DONE, Kind.ACK_SENT, Kind.ACKED)
        return bool(self.all(task, Kind.CONFIRMED) and self.all(task, Kind.DELIVERED) and not ended)

    def is_unexpected(self, task):
        return bool(self.all(task, Kind.DELIVERED)) and not self.all(task, Kind.PUBLISHED)

    def is_silently_repeated(self, task):
        repeats = [event for event in self.all(task, Kind.DELIVERED)[1:] if not event.redelivered]
        return len(repeats) > max(len(self.all(task, Kind.PUBLISHED)) - 1, 0)

    def is_redelivered_after_ack(self, task):
        for place, event in enumerate(self.events):
            if event.task == task and event.kind is Kind.DELIVERED:
                before = Counter(each.kind for each in self.events[:place] if each.task == task)
                if before[Kind.ACKED] and before[Kind.ACKED] >= before[Kind.PUBLISHED]:
                    return True
        return False

    def is_overtaken(self, task):
        mine = self.first(task)
        if mine is None:
            return False
        published, delivered = mine
        for other in set(TASKS) - {task}:
            theirs = self.first(other)
            if theirs is not None:
                also_published, also_delivered = theirs
                same = also_published.who == published.who and also_delivered.who == delivered.who
                later = self.place(also_published) > self.place(published)
                if same and later and self.place(also_delivered) < self.place(delivered):
                    return True
        return False

    def first(self, task):
        """Publish and first delivery, if the task has a place that is promised."""
        published, delivered = self.all(task, Kind.PUBLISHED), self.all(task, Kind.DELIVERED)
        if len(published) != 1 or not delivered or delivered[0].redelivered:
            return None
        return published[0], delivered[0]

    def place(self, event):
        return next(place for place, each in enumerate(self.events) if each is event)

    def is_duplicated(self, task):
        return len(self.all(task, Kind.DELIVERED)) >= 2

    def is_falsely_marked(self, task):
        return any(event.redelivered for event in self.all(task, Kind.DELIVERED)[:1])

    def is_recovered(self, task):
        published, confirmed = self.all(task, Kind.PUBLISHED), self.all(task, Kind.CONFIRMED)
        return bool(published and not confirmed and self.all(task, Kind.DELIVERED))

    def is_indeterminate(self, task):
        refused = len(self.all(task, Kind.REFUSED))
        unanswered = not self.all(task, Kind.CONFIRMED) and len(self.all(task, Kind.PUBLISHED)) > refused
        return unanswered or bool(self.all(task, Kind.ACK_SENT) and not self.all(task, Kind.ACKED))


@given(events)
def test_they_find_what_the_definitions_say(events):
    oracle = Oracle(events)
    history = told(events)

    for check in ALL:
        expected = {task for task in TASKS if getattr(oracle, f"is_{check.__name__}")(task)}
        assert sorted(check(history)) == sorted(expected), check.__name__


@given(st.lists(happenings, max_size=24), st.data())
def test_it_does_not_matter_in_which_order_they_were_told(what, data):
    events = [Event(float(at), *each) for at, each in enumerate(what)]

    shuffled = data.draw(st.permutations(events))

    assert findings(told(shuffled), ALL) == findings(told(events), ALL)


@given(events)
def test_a_task_is_never_told_twice_and_was_there(events):
    there = {event.task for event in events}

    for name, tasks in findings(told(events), ALL).items():
        assert tasks, name
        assert len(set(tasks)) == len(tasks)
        assert set(tasks) <= there


@given(events)
def test_what_is_lost_was_not_delivered_so_it_is_nothing_else_of_a_delivery(events):
    found = findings(told(events), ALL)

    others = [name for name in found if name not in ("lost", "indeterminate")]
    for name in others:
        assert not set(found.get("lost", ())) & set(found[name]), name


@st.composite
def honest_runs(draw):
    """What an honest broker and clients that die may leave behind: events, and the tasks that were confirmed."""
    count = draw(st.integers(0, 6))
    tasks = [f"task {n}" for n in range(count)]
    made = [(Kind.PUBLISHED, "P", task, False) for task in tasks]
    made += [(Kind.CONFIRMED, "P", task, False) for task in tasks if draw(st.booleans())]
    queue = [(task, False) for task in tasks]
    while queue:
        task, tried = queue.pop(0)
        who = draw(st.sampled_from(("A", "B")))
        end = draw(st.sampled_from(("acks", "dies with it", "dies before it has read it", "dies as it acks")))
        if end != "dies before it has read it":
            made.append((Kind.DELIVERED, who, task, tried))
        if end == "acks":
            made += [(kind, who, task, False) for kind in (Kind.DONE, Kind.ACK_SENT, Kind.ACKED)]
        elif end == "dies as it acks":
            made += [(kind, who, task, False) for kind in (Kind.DONE, Kind.ACK_SENT)]
            if draw(st.booleans()):
                queue.insert(0, (task, True))
        else:
            queue.insert(0, (task, True))
        if len(made) > 60:
            break
    assume(not queue)
    return [Event(float(at), kind, who, task, flag) for at, (kind, who, task, flag) in enumerate(made)]


@given(honest_runs())
def test_whatever_fails_an_honest_broker_is_found_guilty_of_nothing(events):
    assert findings(told(events)) == {}
