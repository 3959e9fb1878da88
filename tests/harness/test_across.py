"""Specs that share a fall: what becomes of them when the broker does not come through it."""

import contextlib
import gc
import warnings

import pytest

from workqueue.broker import Broker
from workqueue.broker.errors import BrokerError
from workqueue.guarantee.across import Crossing, Scene
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.verdict import Unknown


class NotRestarted(Broker):
    """A broker that is there, and whose restart fails."""

    def __init__(self, broker):
        self.url = broker.url

    def restart(self):
        raise BrokerError("`false` ended with status 1")

    def close(self):
        pass


class Stage:
    """As much of a stage as a scene needs."""

    def __init__(self, broker):
        self.broker = broker
        self.evidence = Evidence()
        self.told = []

    def close(self):
        self.told.append("stage closed")


@pytest.fixture
def broker(workqueue_broker):
    return NotRestarted(workqueue_broker)


@pytest.mark.parametrize("at_once", [False, True])
def test_each_of_them_is_told_the_reason_and_cleans_up_before_its_stage_goes(broker, at_once):
    stages = [Stage(broker), Stage(broker)]

    def spec(told):
        try:
            yield
        finally:
            told.append("spec closed")

    scenes = [Scene(spec, stage, contextlib.ExitStack(), at_once=at_once) for stage in stages]
    Crossing("restart", broker, scenes).happen()

    for scene in scenes:
        with pytest.raises(Unknown) as caught:
            scene.finish()
        assert str(caught.value) == "the broker did not come through the restart: `false` ended with status 1"
    assert [stage.told for stage in stages] == [["spec closed", "stage closed"]] * 2


def test_no_connection_is_left_for_the_next_spec_to_be_blamed_for(broker):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Crossing("restart", broker, []).happen()
        gc.collect()

    assert [str(each.message) for each in caught] == []
