"""A task that takes longer than the broker's acknowledgement timeout: the worker subscribes again, once."""

import pytest
from packaging.version import Version

from workqueue import ChannelClosed, ConsumerCancelled
from workqueue.broker import Capability
from workqueue.events import Disconnected, Subscribed, TaskEnded
from workqueue.guarantee.node_settings import configured
from workqueue.guarantee.waiting import claim

MILLISECONDS = 1000


@pytest.fixture
def brief_timeout(workqueue_broker):
    """Consumers that begin in the test have a timeout of a second."""
    if Capability.CONFIGURE not in workqueue_broker.capabilities:
        pytest.skip("the broker is not ours to configure")
    with configured(workqueue_broker, "consumer_timeout", str(MILLISECONDS)):
        yield


def test_a_worker_whose_task_takes_too_long_is_there_again_once(
    url, workqueue_broker, queue, aside, producer, work, turns, brief_timeout
):
    cancels = Version(workqueue_broker.about.version) >= Version("4.3")
    if cancels and queue.type == "classic":
        pytest.skip("classic queues have no acknowledgement timeout since 4.3")

    # Given a task that takes longer than the broker allows,
    producer.send(queue, b"long")
    worker = work(url, queue, turns)
    claim("the task is started", lambda: worker.started)

    # I expect the worker to notice,
    lost = worker.until(Disconnected)[0].reason
    if cancels:
        assert isinstance(lost, ConsumerCancelled)
    else:
        assert isinstance(lost, ChannelClosed)
        assert (lost.code, "timed out" in lost.text or "timeout" in lost.text) == (406, True)

    # to settle nothing when the handler returns late, and to do the task again,
    worker.until(Subscribed, 2)
    turns.next(100)
    claim("the task is done again", lambda: any(event.settled for event in worker.told(TaskEnded)))
    assert not worker.told(TaskEnded)[0].settled
    assert worker.started[-1].redelivered

    # and one consumer to be there, which is sent all tasks.
    for number in range(10):
        producer.send(queue, b"%d" % number)
    claim("the next ones are done", lambda: worker.bodies[-10:] == [b"%d" % number for number in range(10)])
    assert aside.consumers(queue) == 1
    assert worker.stop() is None
    assert (aside.ready(queue), aside.consumers(queue)) == (0, 0)
