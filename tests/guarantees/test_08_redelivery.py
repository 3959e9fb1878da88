"""Redelivery: what becomes of a task that is handed back, refused, recovered, or held; and what is marked."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.holding import come_back, holder_of
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONFIRMS, LENGTH_LIMIT, NACK, RELIABILITY, server_source
from workqueue.guarantee.waiting import claim, disconnected, watch

REQUEUE = CONFIRMS.section("consumer-nacks-requeue")
CHANNEL_SOURCE = server_source("4.0.5", "deps/rabbit/src/rabbit_channel.erl")

TASKS = [f"task {n}" for n in range(1, 6)]


# Handing back, and refusing


def _goes_back_to_the_queue(stage, queue, give_back):
    worker = stage.client()
    [task] = stage.publish("a task", queue=queue)
    delivery = worker.get(queue.name)
    assert not delivery.redelivered

    give_back(worker, delivery)
    worker.sync()

    again = claim("it is in the queue again", lambda: worker.get(queue.name))
    assert (again.task, again.redelivered) == (task, True)


@guarantee(
    "redelivery.reject-returns",
    "A task that is rejected with requeue goes back to the queue, and is marked as redelivered.",
    source=REQUEUE,
    counter_example="redelivery.reject-without-requeue-discards",
    proved_by=[
        caught("discards", "it is in the queue again"),
        caught("hides-redelivered", "`(again.task, again.redelivered) == (task, True)"),
    ],
)
def test_a_rejected_task_goes_back(stage, queue):
    _goes_back_to_the_queue(stage, queue, lambda worker, delivery: worker.reject(delivery, requeue=True))


@guarantee(
    "redelivery.nack-returns",
    "A task that is nacked with requeue goes back to the queue, and is marked as redelivered.",
    source=REQUEUE,
    counter_example="redelivery.nack-without-requeue-discards",
    proved_by=[
        caught("discards", "it is in the queue again"),
        caught("hides-redelivered", "`(again.task, again.redelivered) == (task, True)"),
    ],
)
def test_a_nacked_task_goes_back(stage, queue):
    _goes_back_to_the_queue(stage, queue, lambda worker, delivery: worker.nack(delivery, requeue=True))


def _is_discarded(stage, queue, refuse):
    worker = holder_of(stage, queue, "refused", "held")

    refuse(worker, worker.received[0])
    worker.sync()
    worker.close()

    come_back(stage, queue, "held")


@hazard(
    "redelivery.reject-without-requeue-discards",
    "A task that is rejected without requeue is discarded for good, if the queue has no dead letter exchange.",
    source=REQUEUE,
    proved_by=[caught("requeues", "came back:"), caught("swallows-rejections", "came back: [Delivery(task='refused")],
)
def test_a_task_rejected_without_requeue_is_gone(stage, queue):
    _is_discarded(stage, queue, lambda worker, delivery: worker.reject(delivery, requeue=False))


@hazard(
    "redelivery.nack-without-requeue-discards",
    "A task that is nacked without requeue is discarded for good, if the queue has no dead letter exchange.",
    source=REQUEUE,
    proved_by=[caught("requeues", "came back:"), caught("swallows-rejections", "came back: [Delivery(task='refused")],
)
def test_a_task_nacked_without_requeue_is_gone(stage, queue):
    _is_discarded(stage, queue, lambda worker, delivery: worker.nack(delivery, requeue=False))


@guarantee(
    "redelivery.multiple-nack-returns-a-batch",
    "With multiple, a nack with requeue returns its task and all that the channel was sent before it, no later one.",
    source=NACK.section("overview"),
    proved_by=[
        caught("narrows-multiple", "the three are delivered again"),
        caught("widens-batches", "`sorted((delivery.task for delivery in again())) == [*TASKS[:3], fence]"),
    ],
)
def test_a_multiple_nack_returns_a_batch(stage, queue):
    worker = holder_of(stage, queue, *TASKS, prefetch=len(TASKS))
    other = stage.client()
    other.consume(queue.name)

    worker.nack(worker.received[2], multiple=True)
    worker.sync()

    def again():
        return [*other.received, *worker.received[len(TASKS) :]]

    claim("the three are delivered again", lambda: set(TASKS[:3]) <= {delivery.task for delivery in again()})
    # Nobody is sent this before what was returned by then; and then there is some time for what is returned late.
    [fence] = stage.publish("~ a task from afterwards", queue=queue)
    claim("what comes after them is delivered", lambda: fence in [*other.tasks, *worker.tasks])
    watch(1, lambda: len(again()) > 3 + 1)

    assert sorted(delivery.task for delivery in again()) == [*TASKS[:3], fence]
    assert all(delivery.redelivered for delivery in again() if delivery.task != fence)


@guarantee(
    "redelivery.goes-to-another-waiting-worker",
    "A task that one worker hands back goes to another one that is waiting, not to the same one again.",
    source=REQUEUE,
    broken_on=[
        BrokenOn(
            "classic",
            "",
            "it goes to whoever is next in turn, and that can be the worker that handed it back",
            server_source("4.0.5", "deps/rabbit/src/rabbit_queue_consumers.erl"),
        )
    ],
    proved_by=[
        caught("favours-one", "it went to the same worker again", versions=">=3.10"),
        caught("discards", "it is delivered again"),
    ],
)
def test_a_task_handed_back_goes_to_another_waiting_worker(stage, queue):
    first = holder_of(stage, queue, "a task", prefetch=1)
    second = stage.client()
    second.qos(1)
    second.consume(queue.name)

    first.reject(first.received[0])

    claim("it is delivered again", lambda: second.tasks or first.tasks[1:])
    assert second.tasks == ["a task"], "it went to the same worker again"
    assert second.received[0].redelivered


@hazard(
    "redelivery.single-worker-gets-it-again",
    "A task that the only worker hands back comes straight back to it, as often as it does so (10 times here): "
    "a task that cannot be done keeps it busy.",
    source=REQUEUE,
    proved_by=[caught("discards", "it comes straight back")],
)
def test_a_task_handed_back_by_the_only_worker_comes_straight_back(stage, queue):
    worker = holder_of(stage, queue, "a task", prefetch=1)

    for times in range(1, 11):
        worker.reject(worker.received[-1])
        claim("it comes straight back", lambda so_far=times: len(worker.received) == so_far + 1)

    assert set(worker.tasks) == {"a task"}
    assert all(delivery.redelivered for delivery in worker.received[1:])


# basic.recover


@guarantee(
    "redelivery.recover-returns-everything-held",
    "basic.recover with requeue returns all that the channel holds: it is delivered again, marked as redelivered.",
    source=CHANNEL_SOURCE,
    proved_by=[
        caught("ignores-recover", "all are delivered again"),
        caught("hides-redelivered", "`all((delivery.redelivered for delivery in again))"),
    ],
)
def test_recover_redelivers_everything_that_is_held(stage, queue):
    worker = holder_of(stage, queue, *TASKS)

    worker.recover(requeue=True)

    claim("all are delivered again", lambda: len(worker.received) == 2 * len(TASKS))
    again = worker.received[len(TASKS) :]
    assert sorted(delivery.task for delivery in again) == TASKS
    assert all(delivery.redelivered for delivery in again)


@guarantee(
    "redelivery.recover-without-requeue-disconnects",
    "basic.recover without requeue is not implemented: the broker closes the connection with 540, and what was held is "
    "back in the queue.",
    source=CHANNEL_SOURCE,
    proved_by=[
        caught("always-recovers", "recover without requeue is refused: it was accepted"),
        caught("renames-errors", "recover without requeue is refused: refused, but with 506"),
    ],
)
def test_recover_without_requeue_costs_the_connection(stage, queue):
    worker = holder_of(stage, queue, *TASKS)

    with disconnected("recover without requeue is refused", 540, "NOT_IMPLEMENTED"):
        worker.recover(requeue=False)

    come_back(stage, queue, *TASKS)


# What is held does not count, and what was never delivered is not marked


@hazard(
    "redelivery.length-limit-ignores-held-tasks",
    "A length limit does not protect from tasks that workers hold: with x-max-length 5, a queue can have 20 of them "
    "unacknowledged, and 5 more that are ready.",
    source=LENGTH_LIMIT.section("overview"),
    proved_by=[caught("limits-length", "five are ready beside the 20 that are held")],
)
def test_a_length_limit_does_not_count_what_is_held(stage):
    queue = stage.declare(x_max_length=5)
    worker = stage.client()
    worker.qos(20)
    worker.consume(queue.name)
    tasks = [f"task {n}" for n in range(1, 26)]
    for task in tasks:
        stage.publish(task, queue=queue)
        # One at a time, so that no more than five are ever ready on their way to the worker.
        if len(worker.received) < 20:
            worker.receives(task)

    claim("five are ready beside the 20 that are held", lambda: queue.ready() == 5)

    assert worker.tasks == tasks[:20]
    for delivery in worker.received:
        worker.ack(delivery)
    worker.receives(*tasks)


def _marked_as_redelivered(stage, queue):
    claim("the tasks are there", lambda: queue.ready() == len(TASKS))
    worker = stage.client()
    worker.consume(queue.name)
    return [delivery.task for delivery in worker.receives(*TASKS) if delivery.redelivered]


@guarantee(
    "redelivery.restart-marks-nothing-new",
    "A task that was never delivered is not marked as redelivered after a restart of RabbitMQ.",
    source=RELIABILITY.section("consumer-side"),
    across="restart",
    proved_by=[caught("forges-redelivered", "`_marked_as_redelivered(stage, queue) == []")],
)
def test_after_a_restart_a_task_never_delivered_is_not_marked(stage, queue, publish):
    publish(*TASKS)
    yield
    assert _marked_as_redelivered(stage, queue) == []


@guarantee(
    "redelivery.kill-marks-nothing-new",
    "A task that was never delivered is not marked as redelivered after a SIGKILL of RabbitMQ.",
    source=RELIABILITY.section("consumer-side"),
    across="kill",
    broken_on=[
        BrokenOn(
            "classic",
            "",
            "after a crash, a classic queue marks everything that it recovers as redelivered",
            server_source("4.0.5", "deps/rabbit/src/rabbit_variable_queue.erl"),
        )
    ],
    proved_by=[caught("forges-redelivered", "`_marked_as_redelivered(stage, queue) == []")],
)
def test_after_a_kill_a_task_never_delivered_is_not_marked(stage, queue, publish):
    publish(*TASKS)
    yield
    assert _marked_as_redelivered(stage, queue) == []
