"""The acknowledgement timeout: whom it does not concern, and where it can be set."""

import contextlib
import time

from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONSUMERS, release_note, server_source
from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import PATIENCE, barrier, claim, promised

TIMEOUT = CONSUMERS.section("acknowledgement-timeout")
PER_QUEUE = CONSUMERS.section("per-queue-delivery-timeouts-using-an-optional-queue-argument")
BY_POLICY = CONSUMERS.section("per-queue-delivery-timeouts-using-a-policy")
NODE = ["ctl", "configure"]
SOON = 4

NEVER_ON_CLASSIC = BrokenOn(
    "classic", ">=4.3", "the timeout is never evaluated on classic queues", release_note("4.3.0")
)


def not_yet(version, because):
    """Exceptions for both queue types before a version."""
    return [BrokenOn(kind, f"<{version}", because, release_note(f"{version}.0")) for kind in ("classic", "quorum")]


def late_elsewhere(stage):
    """A client that is late on a queue of its own, on which every version enforces the timeout: the control."""
    queue = stage.declare(x_queue_type="quorum")
    stage.publish("a long task", queue=queue)
    client = stage.client()
    assert client.get(queue.name) is not None
    return client


@contextlib.contextmanager
def acks_by(deadline):
    """What a worker acks inside, it has acked in time, or nothing can be said: we were too slow ourselves."""
    try:
        yield
    finally:
        if (late := time.monotonic() - deadline) >= 0:
            raise Unknown(f"a task that was to be acked in time was acked {late:.1f} s too late, if at all")


def is_taken_back(stage, queue, **options):
    """A task that nobody acks goes from one client to another."""
    stage.publish("a long task", queue=queue)
    late, other = stage.client(), stage.client()
    late.qos(1)
    late.consume(queue.name, **options)
    late.wait_until_holding(1)
    other.consume(queue.name)
    other.receives("a long task", within=SOON)


# Whom it does not concern


@guarantee(
    "ack-timeout.who-acks-in-time-is-left-alone",
    "A worker that acknowledges each task in time is left alone, however long it works in all.",
    source=TIMEOUT,
    needs=NODE,
    proved_by=[
        caught("swallows-acks", "it is left alone, and given the next task: "),
        caught("closes-channels", "it is left alone, and given the next task: "),
        caught("cancels-consumers", "it is left alone, and given the next task: "),
    ],
)
def test_a_worker_that_acks_in_time_is_left_alone(stage, queue):
    timeout, promise = 1.5, "it is left alone, and given the next task"
    with stage.operator.configured("consumer_timeout", f"{timeout * 1000:.0f}"):
        worker = stage.client()
        worker.qos(1)
        worker.consume(queue.name)
        late = late_elsewhere(stage)

        # Until the control, which began at the same time, has been given up for the lack of a single ack.
        deadline = time.monotonic() + PATIENCE
        while late.is_open:
            if time.monotonic() > deadline:
                raise Unknown(f"a client that acks nothing was not given up within {PATIENCE:g} s")
            began = time.monotonic()
            [task] = stage.publish(f"task {len(worker.received) + 1}", queue=queue)
            claim(promise, lambda task=task: task in worker.tasks or worker.closed_by)
            assert task in worker.tasks, f"{promise}: holding nothing, it lost its channel: {worker.closed_by!r}"
            with acks_by(began + timeout), promised(promise):
                worker.ack(worker.received[-1])
                worker.sync()

    assert worker.is_open
    assert worker.cancelled == []
    worker.close()
    assert queue.drain() == []


@guarantee(
    "ack-timeout.idle-consumer-is-left-alone",
    "A consumer that holds no task is left alone, however long it waits for one.",
    source=TIMEOUT,
    needs=NODE,
    proved_by=[caught("cancels-consumers", "client 1 receives ['at last']")],
)
def test_an_idle_consumer_is_left_alone(stage, queue):
    with stage.operator.configured("consumer_timeout", "500"):
        idle = stage.client()
        idle.consume(queue.name)
        late = late_elsewhere(stage)

        barrier("the control is given up", lambda: not late.is_open)

    stage.publish("at last", queue=queue)
    idle.receives("at last")
    assert idle.cancelled == []


# Where it is set


@guarantee(
    "ack-timeout.undefined-switches-it-off",
    "With consumer_timeout = undefined a worker is not given up. (On RabbitMQ 4.3.3 and newer, quorum queues take that "
    "for 24 hours, which is longer than this can tell.)",
    source=TIMEOUT,
    needs=NODE,
    proved_by=[caught("cancels-consumers", "`patient.cancelled == []"), caught("closes-channels", "`patient.is_open")],
)
def test_with_consumer_timeout_undefined_no_worker_is_given_up(stage, queue, publish):
    publish("a long task")
    with stage.operator.configured("consumer_timeout", "undefined"), promised("consumers can be registered"):
        patient = stage.client()
        patient.consume(queue.name)
        patient.wait_until_holding(1)
    with stage.operator.configured("consumer_timeout", "500"):
        late = late_elsewhere(stage)

    # It began later, and has half a second.
    barrier("the control is given up", lambda: not late.is_open)

    assert patient.is_open
    assert patient.cancelled == []
    patient.ack(patient.received[0])
    patient.sync()
    patient.close()
    assert queue.drain() == []


@guarantee(
    "ack-timeout.queue-argument",
    "The queue argument x-consumer-timeout sets the timeout for the consumers of that queue.",
    source=PER_QUEUE,
    broken_on=[
        *not_yet("3.12", "the argument is not known yet, and ignored"),
        BrokenOn("classic", ">=4.3", "classic queues refuse the argument", release_note("4.3.2")),
    ],
    proved_by=[caught("ignores-arguments", "client 2 receives ['a long task']")],
)
def test_a_queue_can_have_a_timeout_of_its_own(stage):
    with promised("a queue can be declared with x-consumer-timeout"):
        queue = stage.declare(x_consumer_timeout=500)

    is_taken_back(stage, queue)


@guarantee(
    "ack-timeout.policy",
    "The policy key consumer-timeout sets the timeout for the consumers of the queues that it applies to.",
    source=BY_POLICY,
    needs=["ctl"],
    broken_on=[*not_yet("3.12", "there is no such policy key yet; it is refused"), NEVER_ON_CLASSIC],
    proved_by=[caught("misreads-policies", "client 2 receives ['a long task']")],
)
def test_a_policy_can_set_the_timeout(stage, queue):
    with stage.operator.policy(queue, consumer_timeout=500):
        is_taken_back(stage, queue)


@guarantee(
    "ack-timeout.consumer-argument",
    "The consumer argument x-consumer-timeout sets the timeout for that consumer.",
    source=release_note("3.12.0"),
    broken_on=[
        BrokenOn(
            "classic",
            "",
            "the argument is ignored",
            server_source("4.0.5", "deps/rabbit/src/rabbit_amqqueue.erl"),
        ),
        BrokenOn(
            "quorum",
            "<4.3",
            "the argument is ignored",
            server_source("4.0.5", "deps/rabbit/src/rabbit_amqqueue.erl"),
        ),
    ],
    proved_by=[caught("ignores-consumer-timeout", "client 2 receives ['a long task']")],
)
def test_a_consumer_can_have_a_timeout_of_its_own(stage, queue):
    with promised("a consumer can be registered with x-consumer-timeout"):
        is_taken_back(stage, queue, arguments={"x-consumer-timeout": 500})
