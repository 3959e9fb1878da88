"""Several consumers of one queue: priorities, a single active consumer, an exclusive one."""

from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONSUMER_PRIORITY, CONSUMERS, release_note, server_source
from workqueue.guarantee.waiting import claim, promised, refused

EXCLUSIVITY = CONSUMERS.section("exclusivity")
SINGLE_ACTIVE = CONSUMERS.section("single-active-consumer")

NO_PRIORITY_YET = BrokenOn(
    "quorum",
    "<3.8.10",
    "quorum queues ignore x-priority: all consumers take turns",
    release_note("3.8.10"),
)
IGNORES_EXCLUSIVE = BrokenOn(
    "quorum",
    "",
    "quorum queues ignore the exclusive flag, and accept any consumer",
    server_source("4.0.5", "deps/rabbit/src/rabbit_quorum_queue.erl"),
)


# Priorities


@guarantee(
    "consumers.high-priority-first",
    "The consumer with the highest priority receives all messages until its prefetch limit is reached; only then do "
    "those of lower priority get some.",
    source=CONSUMER_PRIORITY.section("overview"),
    broken_on=[NO_PRIORITY_YET],
    proved_by=[
        caught("ignores-consumer-priority", "`(high.tasks, low.tasks) == (tasks[:2], tasks[2:])"),
        caught("favours-one", "`(high.tasks, low.tasks) == (tasks[:2], tasks[2:])"),
    ],
)
def test_the_consumer_of_higher_priority_is_served_first(stage, queue, publish):
    low, high = stage.client(), stage.client()
    low.consume(queue.name)
    high.qos(2)
    high.consume(queue.name, arguments={"x-priority": 10})

    tasks = publish(*(f"task {n}" for n in range(1, 6)))

    claim("all are delivered", lambda: len(high.received) + len(low.received) == len(tasks))
    assert (high.tasks, low.tasks) == (tasks[:2], tasks[2:])
    high.ack(high.received[0])
    high.sync()
    publish("one more task")
    claim("it is delivered", lambda: len(high.received) + len(low.received) == len(tasks) + 1)
    assert high.tasks[2:] == ["one more task"]


@guarantee(
    "consumers.equal-priority-takes-turns",
    "Messages are delivered round-robin to the consumers that share the highest priority.",
    source=CONSUMER_PRIORITY.section("overview"),
    broken_on=[NO_PRIORITY_YET],
    proved_by=[
        caught("favours-one", "`low.tasks == []"),
        caught("favours-the-last", "`sorted((client.tasks for client in high)) == [tasks[0::2], tasks"),
    ],
)
def test_consumers_of_equal_priority_take_turns(stage, queue, publish):
    low, *high = (stage.client() for _ in range(3))
    low.consume(queue.name)
    for client in high:
        client.consume(queue.name, arguments={"x-priority": 10})

    tasks = publish(*(f"task {n}" for n in range(1, 9)))

    claim("all are delivered", lambda: sum(len(each.received) for each in (low, *high)) == len(tasks))
    assert low.tasks == []
    assert sorted(client.tasks for client in high) == [tasks[0::2], tasks[1::2]]


# A single active consumer, and an exclusive one


@guarantee(
    "consumers.single-active-gets-all",
    "With x-single-active-consumer only one consumer at a time receives messages: the first that registered.",
    source=SINGLE_ACTIVE,
    proved_by=[caught("ignores-single-active", "client 1 receives ['task 1', 'task 2', 'task 3', 'task 4', 'task 5")],
)
def test_only_the_single_active_consumer_gets_tasks(stage):
    queue = stage.declare(x_single_active_consumer=True)
    active, standby = stage.client(), stage.client()
    for client in (active, standby):
        client.consume(queue.name)

    tasks = stage.publish(*(f"task {n}" for n in range(1, 11)), queue=queue)

    active.receives(*tasks)
    standby.sync()
    assert active.tasks == tasks
    assert standby.tasks == []


@guarantee(
    "consumers.single-active-fails-over",
    "If the single active consumer dies, another takes over, and gets what the dead one held, in order, and all that "
    "follows.",
    source=SINGLE_ACTIVE,
    proved_by=[
        caught("acks-for-the-dead", "client 2 receives ['task 1', 'task 2', 'task 3', 'task 4', 'task 5']"),
        caught("ignores-single-active", "`standby.tasks == []"),
    ],
)
def test_another_consumer_takes_over_when_the_active_one_dies(stage, workers):
    queue = stage.declare(x_single_active_consumer=True)
    [active] = workers(1, queue=queue, prefetch=2, hold=True)
    standby = stage.client()
    standby.consume(queue.name)
    tasks = stage.publish(*(f"task {n}" for n in range(1, 6)), queue=queue)
    active.wait_until_holding(2)
    standby.sync()
    assert standby.tasks == []

    active.kill()

    standby.receives(*tasks)
    assert standby.tasks == tasks
    assert [each.redelivered for each in standby.received] == [True, True, False, False, False]


@guarantee(
    "consumers.single-active-refuses-get",
    "A quorum queue with a single active consumer refuses basic.get (405): nobody gets past the active consumer.",
    source=SINGLE_ACTIVE,
    queue_types=["quorum"],
    proved_by=[
        caught("ignores-single-active", "basic.get is refused: it was accepted"),
        caught("renames-errors", "basic.get is refused: refused, but with 506 'RESOURCE_ERROR"),
    ],
)
def test_a_quorum_queue_with_a_single_active_consumer_refuses_get(stage):
    queue = stage.declare(x_single_active_consumer=True)
    active, other = stage.client(), stage.client()
    active.consume(queue.name)

    with refused("basic.get is refused", 405, "RESOURCE_LOCKED"):
        other.get(queue.name)

    [task] = stage.publish("a task", queue=queue)
    active.receives(task)


@guarantee(
    "consumers.single-active-heeds-priority",
    "On a queue with a single active consumer, one with a higher priority that registers later becomes the active one.",
    source=release_note("4.0.1"),
    broken_on=[
        BrokenOn(
            "classic",
            "",
            "the consumer that registered first stays active, whatever the priorities",
            SINGLE_ACTIVE,
        ),
        BrokenOn(
            "quorum",
            "<4.0",
            "the consumer that registered first stays active, whatever the priorities",
            release_note("4.0.1"),
        ),
    ],
    proved_by=[caught("ignores-consumer-priority", "the consumer of lower priority got it")],
)
def test_a_consumer_of_higher_priority_becomes_the_active_one(stage):
    queue = stage.declare(x_single_active_consumer=True)
    low, high = stage.client(), stage.client()
    low.consume(queue.name)
    high.consume(queue.name, arguments={"x-priority": 10})

    stage.publish("a task", queue=queue)

    claim("it is delivered", lambda: high.tasks or low.tasks)
    assert high.tasks == ["a task"], "the consumer of lower priority got it"


@guarantee(
    "consumers.single-active-keeps-others-idle",
    "While the single active consumer is busy, with its prefetch limit reached, tasks wait for it: no other consumer "
    "gets them.",
    source=SINGLE_ACTIVE,
    proved_by=[caught("ignores-single-active", "the others wait")],
)
def test_tasks_wait_for_a_busy_single_active_consumer(stage):
    queue = stage.declare(x_single_active_consumer=True)
    active, standby = stage.client(), stage.client()
    for client in (active, standby):
        client.qos(1)
        client.consume(queue.name)
    tasks = stage.publish("first task", "second task", "third task", queue=queue)
    active.receives(tasks[0])
    claim("the others wait", lambda: queue.ready() == 2)
    standby.sync()
    assert standby.tasks == []

    for task in tasks[1:]:
        active.ack(active.received[-1])
        active.receives(task)

    assert standby.tasks == []


@guarantee(
    "consumers.single-active-refuses-exclusive",
    "Registering with the exclusive flag is refused (403) on a queue with a single active consumer.",
    source=SINGLE_ACTIVE,
    broken_on=[IGNORES_EXCLUSIVE],
    proved_by=[
        caught("ignores-single-active", "an exclusive consumer is refused: it was accepted"),
        caught("shares-consumption", "an exclusive consumer is refused: it was accepted"),
    ],
)
def test_a_queue_with_a_single_active_consumer_refuses_an_exclusive_one(stage):
    queue = stage.declare(x_single_active_consumer=True)

    with refused("an exclusive consumer is refused", 403, "exclusive use"):
        stage.client().consume(queue.name, exclusive=True)


@guarantee(
    "consumers.exclusive-needs-unused-queue",
    "Registering with the exclusive flag succeeds only if no other consumer is registered; else it is refused (403).",
    source=EXCLUSIVITY,
    broken_on=[IGNORES_EXCLUSIVE],
    proved_by=[
        caught("shares-consumption", "an exclusive consumer is refused: it was accepted"),
        caught("forgives", "an exclusive consumer is refused: it was accepted"),
    ],
)
def test_an_exclusive_consumer_is_refused_where_another_is_registered(stage, queue, publish):
    first, second = stage.client(), stage.client()
    tag = first.consume(queue.name)

    with refused("an exclusive consumer is refused", 403, "exclusive use"):
        second.consume(queue.name, exclusive=True)

    first.cancel(tag)
    third = stage.client()
    with promised("alone, it may be exclusive"):
        third.consume(queue.name, exclusive=True)
    third.receives(*publish("a task"))


@guarantee(
    "consumers.exclusive-keeps-others-out",
    "While an exclusive consumer is registered, any other is refused with 403.",
    source=EXCLUSIVITY,
    broken_on=[IGNORES_EXCLUSIVE],
    proved_by=[
        caught("shares-consumption", "a second consumer is refused: it was accepted"),
        caught("forgives", "a second consumer is refused: it was accepted"),
    ],
)
def test_an_exclusive_consumer_keeps_others_out(stage, queue, publish):
    first, second = stage.client(), stage.client()
    first.consume(queue.name, exclusive=True)

    with refused("a second consumer is refused", 403, "exclusive use"):
        second.consume(queue.name)

    tasks = publish("first task", "second task")
    first.receives(*tasks)
