"""Histories: what order their events are read in."""

import itertools
import threading
import time

import pytest

from workqueue.guarantee.history import Event, History, Kind


def told(events):
    made = History()
    for event in events:
        made.add(event.kind, event.who, event.task, redelivered=event.redelivered, at=event.at)
    return made


def test_events_are_read_by_their_time_not_by_when_they_were_told():
    late = Event(2.0, Kind.PUBLISHED, "producer", "a")
    early = Event(1.0, Kind.ACKED, "worker 1", "a")

    assert told([late, early]).events() == [early, late]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_at_the_same_time_they_are_in_the_order_of_a_tasks_life(order):
    life = [
        Event(1.0, Kind.PUBLISHED, "producer", "a"),
        Event(1.0, Kind.DELIVERED, "worker 2", "a"),
        Event(1.0, Kind.DELIVERED, "worker 1", "a", redelivered=True),
        Event(1.0, Kind.ACKED, "worker 1", "a"),
    ]

    assert told(life[place] for place in order).events() == life


def test_a_tasks_life_is_from_publishing_to_the_ack_that_arrived():
    assert [kind.value for kind in Kind] == [
        "published",
        "confirmed",
        "refused",
        "delivered",
        "done",
        "ack-sent",
        "acked",
    ]


def test_what_is_the_same_but_for_the_task_stays_as_it_was_told():
    first, second = (Event(1.0, Kind.DELIVERED, "worker 1", task) for task in ("b", "a"))

    assert told([first, second]).events() == [first, second]
    assert told([second, first]).events() == [second, first]


def test_events_and_tasks_of_one_kind():
    history = told(
        [
            Event(3.0, Kind.DONE, "worker 1", "a"),
            Event(2.0, Kind.DELIVERED, "worker 1", "b"),
            Event(1.0, Kind.DELIVERED, "worker 1", "a"),
        ]
    )

    assert [event.at for event in history.events(Kind.DELIVERED)] == [1.0, 2.0]
    assert history.tasks(Kind.DELIVERED) == ["a", "b"]
    assert history.tasks(Kind.PUBLISHED) == []


def test_without_a_time_it_is_now_and_a_delivery_is_not_marked():
    history = History()
    before = time.monotonic()
    history.add(Kind.DELIVERED, "worker 1", "a")

    [event] = history.events()
    assert before <= event.at <= time.monotonic()
    assert event == Event(event.at, Kind.DELIVERED, "worker 1", "a", redelivered=False)


def test_a_time_of_zero_is_a_time():
    assert told([Event(0.0, Kind.DONE, "worker 1", "a")]).events()[0].at == 0.0


def test_several_threads_may_add_and_what_was_read_stays_as_it_is():
    history = History()
    read = history.events()
    threads = [
        threading.Thread(target=lambda n=n: [history.add(Kind.DONE, f"worker {n}", str(i)) for i in range(200)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(history.events()) == 800
    assert read == []
