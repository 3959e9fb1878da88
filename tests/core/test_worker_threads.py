"""What a thread of a worker has just taken when that is stopped, goes back as what is still waiting does."""

from workqueue import Worker
from workqueue.events import Unstarted


class Subscription:
    """As much of a consumer as this takes."""

    def __init__(self):
        self.handed_back = []

    def hand_back(self, tag):
        self.handed_back.append(tag)
        return True


def test_what_was_taken_when_the_worker_is_stopped_is_handed_back():
    events = []
    worker = Worker("amqp://localhost", "task_queue", print, observer=events.append)
    subscription = Subscription()
    worker.stop()

    for tag in (1, 2):
        worker._deliver(subscription, tag, False, b"", b"task")
    worker._work()  # takes the first
    worker._inbox.put(None)  # ends another thread, and is in front of what this one has put back
    worker._work()
    worker._hand_back()

    assert sorted(subscription.handed_back) == [1, 2]
    assert events == [Unstarted("task_queue", 2, 0)]
