"""What to do about an error is known by its class."""

import inspect

import pytest

from workqueue import ConnectionFailed, TopologyMismatch, errors
from workqueue.observe.hints import HINTS, hint_for

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
WITHOUT = {errors.WorkqueueError, errors.PublishError, errors.Closed, errors.Reject}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_has_a_hint_of_its_own_but_for_those_that_say_it_all(kind):
    assert (kind in HINTS) == (kind not in WITHOUT)


def test_the_hint_of_the_narrowest_class_holds():
    assert hint_for(ConnectionFailed("no")) == HINTS[ConnectionFailed]
    assert hint_for(TopologyMismatch(406, "no")) == HINTS[TopologyMismatch]
    assert hint_for(type("Narrower", (TopologyMismatch,), {})(406, "no")) == HINTS[TopologyMismatch]


@pytest.mark.parametrize("error", [ValueError("no"), errors.Closed("closed"), KeyboardInterrupt()])
def test_there_may_be_nothing_to_say(error):
    assert hint_for(error) is None
