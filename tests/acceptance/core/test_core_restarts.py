"""A broker that is restarted, and one that is killed: worker and producer come back, and nothing is lost."""

import contextlib
import threading
import time

import pytest

from workqueue import ConnectionFailed, NotSent, OutcomeUnknown, Producer
from workqueue.broker import Capability
from workqueue.events import Disconnected, Subscribed
from workqueue.guarantee.waiting import PATIENCE, claim

RETRIES = 100


@pytest.fixture
def mortal(workqueue_broker):
    if not {Capability.RESTART, Capability.KILL} <= workqueue_broker.capabilities:
        pytest.skip("the broker is not ours to restart and kill")
    return workqueue_broker


def test_all_that_is_confirmed_is_done_over_a_restart_and_a_sigkill(mortal, url, new_queue, aside, work, send):
    queues = [new_queue(kind) for kind in ("classic", "quorum")]
    workers = [work(url, queue, prefetch=10) for queue in queues]
    with contextlib.ExitStack() as ends:
        producers = [ends.enter_context(Producer(url)) for _ in queues]
        sendings = [send(*each) for each in zip(producers, queues, strict=True)]

        def come_back(times):
            for worker, sending in zip(workers, sendings, strict=True):
                worker.until(Subscribed, times)
                sending.goes_on()

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
    with Producer(url) as producer:
        producer.declare(queue)
    mortal.restart()  # a queue just declared may be forgotten: durability.new-classic-queue-has-a-window
    with Producer(url, observer=events.append) as producer:
        producer.send(queue, b"first")
        killing = threading.Thread(target=mortal.kill)
        killing.start()
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(NotSent, ConnectionFailed):
            while time.monotonic() < deadline:
                futures.append(producer.send_async(queue, b"%d" % len(futures)))
        killing.join(PATIENCE)
        claim("it has told", lambda: any(isinstance(event, Disconnected) for event in events))

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
