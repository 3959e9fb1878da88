"""What the broker refuses, and closes a channel for, reaches whom it concerns, and nobody else."""

import concurrent.futures
import contextlib
import threading

import pytest

from workqueue import ChannelClosed, OutcomeUnknown, Producer, PublishError, Queue, Refused
from workqueue.broker import Capability
from workqueue.events import Connected, Disconnected
from workqueue.guarantee.waiting import PATIENCE

LIMIT = 100_000
"""Bytes that a message may have in these tests, for the broker."""

REFUSALS = 30
"""Times that the channel is closed while others send."""


@pytest.fixture(scope="module")
def small_messages(workqueue_broker):
    """Have the broker take small messages only, on channels that are opened from here on."""
    if Capability.CONFIGURE not in workqueue_broker.capabilities:
        pytest.skip("the broker is not ours to configure")
    # Releases differ in where they look.
    change = (
        "Key = max_message_size, {{ok, Before}} = application:get_env(rabbit, Key), "
        "application:set_env(rabbit, Key, {0}), persistent_term:put(Key, {0}), Before."
    )
    before = workqueue_broker.ctl("eval", change.format(LIMIT)).strip()
    yield
    workqueue_broker.ctl("eval", change.format(before))


@pytest.fixture
def connections(workqueue_broker):
    """The broker's own identities of the producers' connections."""

    def listed():
        listing = workqueue_broker.ctl("list_connections", "pid", "client_properties").splitlines()
        return {line.partition("\t")[0] for line in listing if "workqueue producer" in line}

    return listed


def told(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_a_message_that_is_too_large_costs_nothing_but_itself(url, queue, aside, small_messages, connections):
    events = []
    with Producer(url, observer=events.append) as producer:
        producer.send(queue, b"confirmed")
        before = connections()
        assert len(before) == 1

        # When a burst has two messages in it that the broker does not take,
        small = [b"%d" % number for number in range(30)]
        bodies = [*small[:10], bytes(LIMIT + 1), *small[10:20], bytes(LIMIT + 2), *small[20:]]
        futures = [producer.send_async(queue, body) for body in bodies]
        other = Queue(queue.name + ".dead", "classic")
        producer.declare(other)
        outcomes = [future.exception(PATIENCE) for future in futures]

        # I expect each of the two to be told so,
        for culprit in (10, 21):
            error = outcomes[culprit]
            assert isinstance(error, Refused), error
            assert (error.code, f"message size {len(bodies[culprit])}" in error.text) == (406, True)
        # those before to be confirmed, or to say that nobody can tell, since their confirmations may be lost,
        for early in (*outcomes[:10], *outcomes[11:21]):
            assert early is None or isinstance(early, OutcomeUnknown)
        # and those after to be confirmed without anybody's help, on the same connection.
        assert outcomes[22:] == [None] * 10
        producer.send(other, b"to another queue")
        assert connections() == before
        assert "0 of 1000 unconfirmed" in repr(producer)

    assert (len(told(events, Connected)), told(events, Disconnected)) == (1, [])
    # All are there once: also those whose confirmations were lost had arrived.
    assert [taken.body for taken in aside.take(queue, 31)] == [b"confirmed", *small]


def test_close_waits_for_what_followed_a_message_that_is_too_large(url, new_queue, aside, small_messages):
    queue = new_queue("quorum")
    with Producer(url) as producer:
        producer.send(queue, b"confirmed")
        refused = producer.send_async(queue, bytes(LIMIT + 1))
        last = producer.send_async(queue, b"last")

    assert (type(refused.exception(0)), last.exception(0)) == (Refused, None)
    assert [taken.body for taken in aside.take(queue, 2)] == [b"confirmed", b"last"]


def test_send_raises_what_the_broker_says_of_a_message_that_is_too_large(producer, queue, small_messages):
    with pytest.raises(Refused, match=r"406 PRECONDITION_FAILED - message size 100001 is larger") as caught:
        producer.send(queue, bytes(LIMIT + 1), message_id="large")
    assert caught.value.message_id == "large"

    producer.send(queue, b"small")


def test_refusals_while_others_send_cost_them_no_connection(url, queue, aside, small_messages, connections):
    events = []
    with Producer(url, observer=events.append) as producer:
        producer.send(queue, b"first")
        before = connections()
        refusals_are_over = threading.Event()

        def send(thread):
            outcomes = {}
            while not refusals_are_over.is_set():
                body = b"%d-%d" % (thread, len(outcomes))
                try:
                    producer.send(queue, body)
                    outcomes[body] = None
                except PublishError as error:
                    outcomes[body] = error
            return outcomes

        # When several threads send, and others get the channel closed over and over again,
        with concurrent.futures.ThreadPoolExecutor() as threads:
            senders = [threads.submit(send, thread) for thread in range(4)]
            try:
                for _ in range(REFUSALS):
                    with pytest.raises(Refused):
                        producer.send(queue, bytes(LIMIT + 1))
            finally:
                refusals_are_over.set()  # else a failure would leave the threads, and this test, at work for ever
            outcomes = {body: error for sender in senders for body, error in sender.result(PATIENCE).items()}

        # I expect the connection to last, and whoever is not confirmed to be told that nobody can tell.
        assert connections() == before
    assert (len(told(events, Connected)), told(events, Disconnected)) == (1, [])
    assert {type(error) for error in outcomes.values()} <= {type(None), OutcomeUnknown}
    taken = {taken.body for taken in aside.take(queue, aside.ready(queue))}
    assert {body for body, error in outcomes.items() if error is None} <= taken


@pytest.fixture
def stranger(workqueue_broker, url):
    """Makes users that may do what these patterns (configure, write, read) permit; returns their URL."""
    if Capability.CTL not in workqueue_broker.capabilities:
        pytest.skip("the broker's users are not ours to change")
    with contextlib.ExitStack() as ends:

        def make(*permissions):
            workqueue_broker.ctl("add_user", "stranger", "secret")
            ends.callback(workqueue_broker.ctl, "delete_user", "stranger")
            workqueue_broker.ctl("set_permissions", "stranger", *permissions)
            return f"amqp://stranger:secret@{url.rpartition('@')[2]}"

        yield make


def test_a_user_who_may_not_write_is_told_403_and_may_when_permitted(
    producer, new_queue, aside, stranger, workqueue_broker
):
    queue = new_queue("classic")
    producer.declare(queue)
    theirs = stranger("^$", "^$", ".*")
    events = []
    with Producer(theirs, observer=events.append) as forbidden:
        with pytest.raises(Refused, match="403 ACCESS_REFUSED"):
            forbidden.send(queue.name, b"task", retry=50)
        with pytest.raises(ChannelClosed, match="403 ACCESS_REFUSED"):
            forbidden.declare(Queue("not-mine"))

        workqueue_broker.ctl("set_permissions", "stranger", "^$", ".*", ".*")
        forbidden.send(queue.name, b"permitted")

    assert (len(told(events, Connected)), told(events, Disconnected)) == (1, [])
    assert [taken.body for taken in aside.take(queue, 1)] == [b"permitted"]


def test_a_user_who_may_not_read_is_told_403_at_once(producer, new_queue, stranger, work):
    queue = new_queue("quorum")
    producer.declare(queue)

    worker = work(stranger("^$", ".*", "^$"), queue.name)

    error = worker.wait()
    assert isinstance(error, ChannelClosed)
    assert error.code == 403
    assert "ACCESS_REFUSED" in error.text


def test_a_refused_declaration_tells_the_brokers_reason(producer):
    with pytest.raises(ChannelClosed, match=r"403 ACCESS_REFUSED.*reserved prefix"):
        producer.declare(Queue("amq.mine"))


def test_a_missing_queue_ends_the_worker_with_an_error(url, work):
    error = work(url, "nobody-declared-this").wait()

    assert isinstance(error, ChannelClosed)
    assert "404 NOT_FOUND" in str(error)
