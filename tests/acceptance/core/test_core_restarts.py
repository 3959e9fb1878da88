"""A broker that is restarted, and one that is killed: worker and producer come back, and nothing is lost."""

import contextlib
import itertools
import threading

import pytest

from workqueue import ConnectionFailed, NotSent, OutcomeUnknown, Producer
from workqueue.broker import Capability
from workqueue.events import Disconnected, Subscribed
from workqueue.guarantee.waiting import PATIENCE, claim

RETRIES = 100


class Sending:
    """Sends one numbered task after the other, in a thread, until it is told to end; knows which are confirmed."""

    def __init__(self, producer, queue):
        self.confirmed = []
        self.error = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[producer, queue])
        self._thread.start()

    def _run(self, producer, queue):
        try:
            for number in itertools.count():
                if self._ending.is_set():
                    return
                producer.send(queue, b"%d" % number, retry=RETRIES)
                self.confirmed.append(b"%d" % number)
        except Exception as error:  # noqa: BLE001 - it is for the test to look at
            self.error = error

    def end(self):
        self._ending.set()
        self._thread.join(60)
        return self.error


@pytest.fixture
def mortal(workqueue_broker):
    if not {Capability.RESTART, Capability.KILL} <= workqueue_broker.capabilities:
        pytest.skip("the broker is not ours to restart and kill")
    return workqueue_broker


def test_all_that_is_confirmed_is_done_over_a_restart_and_a_sigkill(mortal, url, new_queue, aside, work):
    queues = [new_queue(kind) for kind in ("classic", "quorum")]
    workers = [work(url, queue, prefetch=10) for queue in queues]
    with contextlib.ExitStack() as ends:
        producers = [ends.enter_context(Producer(url)) for _ in queues]
        sendings = [Sending(*each) for each in zip(producers, queues, strict=True)]
        ends.callback(lambda: [sending.end() for sending in sendings])

        def come_back(times):
            counts = [len(sending.confirmed) for sending in sendings]
            for worker, sending, count in zip(workers, sendings, counts, strict=True):
                worker.until(Subscribed, times)
                claim("more is sent", lambda: sending.error or len(sending.confirmed) > count + 10)  # noqa: B023
                assert sending.error is None

        come_back(1)
        mortal.restart()
        come_back(2)
        assert all(worker.told(Disconnected) for worker in workers)
        mortal.kill()
        mortal.start()
        come_back(3)
        assert [sending.end() for sending in sendings] == [None, None]

    for worker, sending in zip(workers, sendings, strict=True):
        claim("all that was confirmed is done", lambda: set(sending.confirmed) <= set(worker.bodies))  # noqa: B023
        assert worker.stop() is None
    assert [aside.ready(queue) for queue in queues] == [0, 0]


def test_what_is_sent_while_the_broker_is_killed_is_confirmed_or_known_not_to_be(mortal, url, new_queue, work):
    # Given a producer that sends one message after the other while the broker is killed,
    queue = new_queue("classic")
    events, futures = [], []
    with Producer(url, observer=events.append) as producer:
        producer.send(queue, b"first")
        killing = threading.Thread(target=mortal.kill)
        killing.start()
        with contextlib.suppress(NotSent, ConnectionFailed):
            while True:
                futures.append(producer.send_async(queue, b"%d" % len(futures)))
        killing.join(PATIENCE)
        assert any(isinstance(event, Disconnected) for event in events)

        # I expect each to say what became of it,
        errors = [future.exception(PATIENCE) for future in futures]
        assert {type(error) for error in errors} <= {type(None), OutcomeUnknown, NotSent}

        # and what was confirmed to be done.
        mortal.start()
        producer.send(queue, b"last", retry=RETRIES)
    worker = work(url, queue, prefetch=100)
    claim("the last one is done", lambda: b"last" in worker.bodies)
    assert worker.stop() is None
    assert {b"%d" % number for number, error in enumerate(errors) if error is None} <= set(worker.bodies)
