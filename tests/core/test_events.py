"""An observer hears of everything, and what goes wrong in it changes nothing."""

import logging

import pytest

from workqueue.events import Blocked, Subscribed, Teller, Unstarted

EVENTS = [Subscribed("q", 10), Blocked("low on memory", "worker"), Unstarted("q", 0, 1)]


def test_every_event_is_told_as_it_is_and_in_order():
    heard = []
    tell = Teller(heard.append)

    for event in EVENTS:
        tell(event)

    assert heard == EVENTS
    assert all(told is event for told, event in zip(heard, EVENTS, strict=True))


def test_without_an_observer_there_is_nobody_to_tell(caplog):
    tell = Teller(None)

    assert not tell
    tell(EVENTS[0])
    assert not caplog.records


def test_whether_there_is_an_observer_does_not_depend_on_what_it_is():
    class Empty(list):
        def __call__(self, event):
            self.append(event)

    observer = Empty()
    assert not observer

    assert Teller(observer)
    Teller(observer)(EVENTS[0])
    assert observer == EVENTS[:1]


def test_an_observer_that_fails_is_logged_and_told_of_the_next_event(caplog):
    heard = []

    def observer(event):
        heard.append(event)
        raise ZeroDivisionError("of the observer")

    tell = Teller(observer)
    with caplog.at_level(logging.ERROR, "workqueue"):
        for event in EVENTS:
            tell(event)

    assert heard == EVENTS
    assert [record.getMessage() for record in caplog.records] == [
        f"the observer failed on {kind}" for kind in ("Subscribed", "Blocked", "Unstarted")
    ]
    assert {record.name for record in caplog.records} == {"workqueue"}
    assert all(isinstance(record.exc_info[1], ZeroDivisionError) for record in caplog.records)


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_an_observer_can_end_the_program(end):
    def observer(event):
        raise end

    with pytest.raises(end):
        Teller(observer)(EVENTS[0])
