"""The project's own core: its worker comes back whatever ends its subscription, and settles nothing by mistake."""

from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.dead_letters import letters_of, queue_to
from workqueue.guarantee.holding import come_back
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONFIRMS, CONSUMER_CANCEL, CONSUMER_PREFETCH, README, RELIABILITY
from workqueue.guarantee.waiting import barrier, claim, landed

USE = README.section("use-the-core")


def cut(stage, wire):
    landed("the worker's connection is cut", wire.cut())
    stage.evidence.proof("wire", "the worker's connection was cut")


def subscribed_again(worker, queue):
    worker.wait_until_subscribed_again()
    barrier("the broker has ended the subscription of before", lambda: queue.consumers() == 1)


@guarantee(
    "core.subscribes-again-when-cancelled",
    "If its queue is deleted, `workqueue worker` makes it anew, and goes on with it.",
    source=CONSUMER_CANCEL.section("overview"),
    proved_by=[
        caught("mutant:quiet-when-cancelled", "the queue is there again: not within"),
        caught("mutant:deaf-to-cancel", "the queue is there again: not within"),
    ],
)
def test_the_worker_subscribes_again_when_its_subscription_was_ended(stage, queue):
    worker = stage.start("worker", "--queue", queue.name, "--queue-type", stage.queue_type)
    worker.wait_until_printed(" [*] Waiting for messages. To exit press CTRL+C")

    stage.client().delete(queue.name)

    claim("the queue is there again", queue.exists)
    stage.publish("a task", queue=queue)
    claim("the task is done", lambda: " [x] Done" in worker.output)


@guarantee(
    "core.connects-again-when-cut-off",
    "If its connection is lost in the middle of a task, the worker connects again, and does that task again.",
    source=RELIABILITY.section("consumer-side"),
    proved_by=[caught("mutant:quiet-when-cut", "the worker gets the task again: not within")],
)
def test_the_worker_connects_again_when_its_connection_was_lost(stage, publish, core):
    wire = stage.proxy()
    worker = core.worker(proxy=wire)
    [task] = publish("hold a task")
    worker.wait_until_started(task)

    cut(stage, wire)
    worker.finish()

    claim("the worker gets the task again", lambda: worker.started == [task, task])
    assert worker.redelivered == [False, True]
    worker.finish()
    publish("another task")
    claim("it goes on with the next", lambda: worker.done == [task, task, "another task"])


@guarantee(
    "core.stale-settlement-is-dropped",
    "A task that came by a lost connection is not settled on the next one, where its delivery tag means another task.",
    source=CONFIRMS.section("consumer-acks-delivery-tags"),
    counter_example="acknowledgement.other-channel-can-hit-another-task",
    proved_by=[caught("mutant:stale-tag", "receives ['hold a task']")],
)
def test_a_stale_settlement_is_dropped(stage, queue, publish, core):
    # Given a worker that has the same task twice: once in hand, from before, and once waiting.
    wire = stage.proxy()
    worker = core.worker(proxy=wire)
    [task] = publish("hold a task")
    worker.wait_until_started(task)
    cut(stage, wire)
    subscribed_again(worker, queue)
    barrier("it is given the task again", lambda: queue.ready() == 0)

    # When the first ends, and the worker is killed in the middle of the second,
    worker.finish()
    barrier("it starts the task again", lambda: worker.started == [task, task])
    worker.kill()

    # the task is still there: the end of the first was no ack of the second.
    come_back(stage, queue, task)


@guarantee(
    "core.unstarted-tasks-end-with-their-connection",
    "Tasks that the worker was given and has not started are forgotten with their connection: each is done once.",
    source=RELIABILITY.section("consumer-side"),
    proved_by=[caught("mutant:old-tasks-kept", "tasks were started more than once")],
)
def test_what_was_not_started_ends_with_its_connection(stage, queue, publish, core):
    wire = stage.proxy()
    worker = core.worker(proxy=wire, prefetch=3)
    in_hand, *unstarted = publish("hold a task", "a second task", "a third task")
    worker.wait_until_started(in_hand)
    barrier("it was given all three", lambda: queue.ready() == 0)

    cut(stage, wire)
    subscribed_again(worker, queue)
    barrier("it was given them again", lambda: queue.ready() == 0)
    worker.finish()
    worker.finish()

    claim("all are done", lambda: set(worker.done) >= {in_hand, *unstarted} and worker.done.count(in_hand) == 2)
    [last] = publish("a task from afterwards")
    claim("what comes after them is done", lambda: last in worker.done)
    again = [task for task in unstarted if worker.started.count(task) > 1]
    assert not again, f"tasks were started more than once: {again}"


@guarantee(
    "core.prefetch-is-set-again",
    "After it has connected again, a worker with prefetch 1 is given one task of a backlog, as before.",
    source=CONSUMER_PREFETCH.section("overview"),
    proved_by=[caught("mutant:no-qos-again", "with prefetch 1, the worker was given 10 tasks at once")],
)
def test_the_prefetch_is_set_again(stage, queue, publish, core):
    wire = stage.proxy()
    worker = core.worker(proxy=wire)
    cut(stage, wire)
    subscribed_again(worker, queue)

    tasks = publish(*(f"hold task {n}" for n in range(1, 11)))
    worker.wait_until_started(tasks[0])

    # The queue sent whatever the subscription allowed before it answers this.
    held = len(tasks) - queue.ready()
    assert held == 1, f"with prefetch 1, the worker was given {held} tasks at once"


@guarantee(
    "core.attempts-are-capped",
    "With max_attempts=3, a task whose handler always raises is tried three times, and dead-lettered then.",
    source=USE,
    counter_example="poison.nack-loop-never-rests",
    proved_by=[
        caught("mutant:failures-not-counted", "it was tried more than 3 times"),
        caught("mutant:ack-on-failure", "it is dead-lettered, or tried too often", on="quorum"),
    ],
)
def test_attempts_are_capped(stage, core):
    dead = stage.declare()
    queue = queue_to(dead)
    worker = core.worker(queue=queue, queue_type=stage.queue_type, dead_letter=dead.name, max_attempts=3)
    [task] = stage.publish("fail always", queue=queue)

    claim("it is dead-lettered, or tried too often", lambda: dead.ready() or len(worker.started) > 3)
    worker.kill()  # all that it has told is known then

    assert len(worker.started) <= 3, "it was tried more than 3 times"
    [letter] = letters_of(dead, 1)
    assert (letter.task, letter.headers["x-workqueue-failures"], len(worker.started)) == (task, 3, 3)
