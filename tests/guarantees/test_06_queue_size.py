"""The note about queue size: "if all the workers are busy, your queue can fill up"."""

import time

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import TTL, TUTORIAL_2, release_note
from workqueue.guarantee.waiting import claim, promised

QUEUE_SIZE = TUTORIAL_2.section("fair-dispatch")

#: Milliseconds that a message may wait, where there is a limit.
TTL_MS = 300

NO_TTL_YET = BrokenOn(
    "quorum",
    "<3.10",
    "quorum queues refuse x-message-ttl (406), or ignore the TTL of a message",
    release_note("3.10.0"),
)


@hazard(
    "queue-size.fills-up-when-all-are-busy",
    "If all the workers are busy, the queue fills up: every publish is accepted, and the backlog grows without limit.",
    source=QUEUE_SIZE,
    proved_by=[caught("limits-length", "two are held, the rest wait")],
)
def test_with_all_workers_busy_the_queue_fills_up_and_nothing_is_refused(queue, workers, publish):
    first, second = workers(2, prefetch=1, hold=True)
    tasks = publish(*(f"task {n}" for n in range(1, 501)))

    claim("two are held, the rest wait", lambda: queue.ready() == len(tasks) - 2)
    for worker in (first, second):
        worker.wait_until_holding(1)
    assert len(first.tasks) == len(second.tasks) == 1


@guarantee(
    "queue-size.more-workers-relieve",
    "Adding workers relieves a queue that fills up.",
    source=QUEUE_SIZE,
    counter_example="queue-size.fills-up-when-all-are-busy",
    proved_by=[
        caught("starves-newcomers", "the added workers do the rest"),
        caught("miscounts", "`queue.ready() == 0"),
    ],
)
def test_adding_workers_empties_the_queue(queue, workers, publish):
    [stuck] = workers(1, prefetch=1, hold=True)
    tasks = publish(*(f"task {n}" for n in range(1, 101)))
    stuck.wait_until_started(tasks[0])

    added = workers(2, prefetch=1)

    claim("the added workers do the rest", lambda: sum(len(each.done) for each in added) == len(tasks) - 1)
    assert queue.ready() == 0
    assert stuck.tasks == tasks[:1]


def assert_waited(began):
    """What was published after this moment was there until its TTL was over, as exactly as a node's clock is ours."""
    waited = 1000 * (time.monotonic() - began)
    assert waited >= 0.95 * TTL_MS, f"the latest was removed before it had waited too long: {waited:.0f} of {TTL_MS} ms"


@guarantee(
    "queue-size.queue-ttl-relieves",
    "A message TTL on the queue relieves it: what waited too long is removed.",
    source=TTL.section("per-queue-message-ttl"),
    counter_example="queue-size.fills-up-when-all-are-busy",
    broken_on=[NO_TTL_YET],
    proved_by=[
        caught("ignores-ttl", "the backlog expires"),
        caught("shortens-ttl", "was removed before it had waited too long"),
    ],
)
def test_a_message_ttl_on_the_queue_empties_it(stage, workers):
    with promised("a queue can have a message TTL"):
        queue = stage.declare(x_message_ttl=TTL_MS)
    [busy] = workers(1, queue=queue, prefetch=1, hold=True)
    tasks = stage.publish(*(f"task {n}" for n in range(1, 101)), queue=queue)
    busy.wait_until_started(tasks[0])

    began = time.monotonic()
    stage.publish("the latest", queue=queue)
    claim("the backlog expires", lambda: queue.ready() == 0)
    assert_waited(began)
    assert busy.tasks == tasks[:1], "what the worker holds does not expire"


@guarantee(
    "queue-size.message-ttl-relieves",
    "A TTL on the messages themselves relieves the queue: what waited too long is removed.",
    source=TTL.section("per-message-ttl-in-publishers"),
    counter_example="queue-size.fills-up-when-all-are-busy",
    broken_on=[NO_TTL_YET],
    proved_by=[
        caught("ignores-message-ttl", "the backlog expires"),
        caught("shortens-ttl", "was removed before it had waited too long"),
    ],
)
def test_a_ttl_on_each_message_empties_the_queue(queue, workers, publish):
    [busy] = workers(1, prefetch=1, hold=True)
    tasks = publish(*(f"task {n}" for n in range(1, 101)), ttl=TTL_MS)
    busy.wait_until_started(tasks[0])

    began = time.monotonic()
    publish("the latest", ttl=TTL_MS)
    claim("the backlog expires", lambda: queue.ready() == 0, within=5)
    assert_waited(began)
    assert busy.tasks == tasks[:1], "what the worker holds does not expire"
