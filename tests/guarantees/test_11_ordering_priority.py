"""Order: what a single active consumer keeps of it, and what priorities make of it."""

from workqueue.guarantee.answers import answered
from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.holding import work_off
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONSUMERS, PRIORITY, QUORUM_QUEUES, Source, release_note
from workqueue.guarantee.waiting import barrier, promised, refused

SINGLE_ACTIVE = CONSUMERS.section("single-active-consumer")
QUORUM_PRIORITY = QUORUM_QUEUES.section("priorities")

TASKS = [f"task {n}" for n in range(1, 6)]


# A single active consumer


@guarantee(
    "ordering.single-active-consumer-keeps-order",
    "With a single active consumer, the next one goes on in order if the active one's process dies.",
    source=SINGLE_ACTIVE,
    counter_example="ordering.cancelled-active-consumer-is-overtaken",
    proved_by=[
        caught("requeues-at-the-tail", "`work_off(standby, 4) == tasks[1:]"),
        caught("acks-for-the-dead", "client 2 receives 4 messages"),
    ],
)
def test_the_next_single_active_consumer_goes_on_in_order(stage):
    queue = stage.declare(x_single_active_consumer=True)
    active = stage.worker(queue=queue, prefetch=3, hold=True)
    tasks = stage.publish(*TASKS, queue=queue)
    standby = stage.client()
    standby.qos(3)
    standby.consume(queue.name)
    active.finish()
    active.wait_until_holding(4)
    active.sync()
    assert standby.tasks == [], "it stands by while the first one is active"

    active.kill()

    assert work_off(standby, 4) == tasks[1:]


@hazard(
    "ordering.cancelled-active-consumer-is-overtaken",
    "A single active consumer that cancels with messages in hand is overtaken: the next one starts after them.",
    source=SINGLE_ACTIVE,
    broken_on=[
        BrokenOn(
            "classic",
            versions,
            "the queue's process crashes at the next message, and the next consumer gets nothing any more",
            Source(
                "rabbitmq-server #5460, queue crash using SAC",
                "https://github.com/rabbitmq/rabbitmq-server/issues/5460",
            ),
        )
        for versions in ("<3.9.27", ">=3.10,<3.10.13", ">=3.11,<3.11.5")
    ],
    proved_by=[
        caught("returns-on-cancel", "`standby.tasks == [*TASKS[3:], later, *TASKS[:3]]"),
        caught("ignores-single-active", "client 2 receives ['task 4', 'task 5', 'a later task']"),
    ],
)
def test_an_active_consumer_that_cancels_is_overtaken(stage):
    queue = stage.declare(x_single_active_consumer=True)
    active, standby = stage.client(), stage.client()
    active.qos(3)
    tag = active.consume(queue.name)
    standby.consume(queue.name)
    stage.publish(*TASKS, queue=queue)
    active.wait_until_holding(3)

    active.cancel(tag)
    [later] = stage.client().publish("a later task", queue=queue.name)
    standby.receives(*TASKS[3:], later, within=5)
    active.close()

    standby.receives(*TASKS[:3])
    assert standby.tasks == [*TASKS[3:], later, *TASKS[:3]]


# Priorities


def by_priority(stage, queue, *published):
    """The order in which messages come that were published with these priorities (None for none), all waiting."""
    producer = stage.client()
    producer.confirm()
    for priority in published:
        producer.publish(f"priority {priority}", queue=queue.name, priority=priority)
    barrier("all are confirmed", lambda: len(answered(producer.confirms, len(published))) == len(published))
    consumer = stage.client()
    consumer.qos(1)
    consumer.consume(queue.name)
    return [task.removeprefix("priority ") for task in work_off(consumer, len(published))]


@guarantee(
    "ordering.classic-priority",
    "A classic queue declared with x-max-priority gives out messages of a higher priority first, and those of the same "
    "priority in order.",
    source=PRIORITY,
    queue_types=["classic"],
    counter_example="ordering.without-max-priority-classic-ignores-priority",
    proved_by=[
        caught("ignores-priorities", "`by_priority(stage, queue, None, 1, 5, 3, 5, 9) == ['5', '5', '9"),
        caught("ignores-message-priority", "`by_priority(stage, queue, None, 1, 5, 3, 5, 9) == ['5', '5', '9"),
    ],
)
def test_a_priority_queue_gives_out_the_higher_priority_first(stage):
    with promised("a queue can have priorities"):
        queue = stage.declare(x_max_priority=5)

    assert by_priority(stage, queue, None, 1, 5, 3, 5, 9) == ["5", "5", "9", "3", "1", "None"]


@hazard(
    "ordering.without-max-priority-classic-ignores-priority",
    "A classic queue declared without x-max-priority ignores the priority of messages.",
    source=PRIORITY,
    queue_types=["classic"],
    proved_by=[caught("reorders-publishes", "`by_priority(stage, queue, 1, 9, 5) == ['1', '9', '5']")],
)
def test_without_max_priority_a_classic_queue_ignores_priority(stage, queue):
    assert by_priority(stage, queue, 1, 9, 5) == ["1", "9", "5"]


@guarantee(
    "ordering.quorum-prefers-high-priority",
    "A quorum queue gives out a message of a high priority (5 or more) before those without a priority that were "
    "published earlier.",
    source=QUORUM_PRIORITY,
    queue_types=["quorum"],
    broken_on=[BrokenOn("quorum", "<4.0", "quorum queues ignore the priority of messages", release_note("4.0.1"))],
    proved_by=[caught("ignores-message-priority", "`by_priority(stage, queue, None, None, 5) == ['5', 'None', 'None")],
)
def test_a_quorum_queue_gives_out_a_high_priority_first(stage, queue):
    assert by_priority(stage, queue, None, None, 5) == ["5", "None", "None"]


@guarantee(
    "ordering.quorum-normal-priority-is-not-starved",
    "Normal messages are not starved by those of a high priority in a quorum queue: one is given out for every two.",
    source=release_note("4.0.1"),
    queue_types=["quorum"],
    broken_on=[
        BrokenOn("quorum", "<4.0", "quorum queues ignore the priority of messages", release_note("4.0.1")),
        BrokenOn("quorum", ">=4.3", "a higher priority always comes first", release_note("4.3.0")),
    ],
    proved_by=[caught("ignores-message-priority", "`came == ['5', '5', 'None', '5', '5', 'None']")],
)
def test_a_quorum_queue_gives_out_one_normal_message_for_two_of_high_priority(stage, queue):
    came = by_priority(stage, queue, None, None, 5, 5, 5, 5)
    assert came == ["5", "5", "None", "5", "5", "None"]


@guarantee(
    "ordering.quorum-priority-is-strict",
    "A quorum queue gives out messages strictly by priority, from 31 to 0; a message without one has 4.",
    source=release_note("4.3.0"),
    queue_types=["quorum"],
    broken_on=[
        BrokenOn("quorum", "<4.0", "quorum queues ignore the priority of messages", release_note("4.0.1")),
        BrokenOn("quorum", ">=4.0,<4.3", "there are two priorities only, high and normal", release_note("4.0.1")),
    ],
    proved_by=[caught("ignores-message-priority", "`by_priority(stage, queue, 0, None, 3, 31, 5, 30, 4) == ['31', '3")],
)
def test_a_quorum_queue_gives_out_strictly_by_priority(stage, queue):
    assert by_priority(stage, queue, 0, None, 3, 31, 5, 30, 4) == ["31", "30", "5", "None", "4", "3", "0"]


@guarantee(
    "ordering.quorum-refuses-max-priority",
    "A quorum queue cannot be declared with x-max-priority (406).",
    source=QUORUM_PRIORITY,
    queue_types=["quorum"],
    proved_by=[
        caught("ignores-priorities", "x-max-priority is for classic queues: it was accepted"),
        caught("forgives", "x-max-priority is for classic queues: it was accepted"),
    ],
)
def test_a_quorum_queue_refuses_max_priority(stage):
    with refused("x-max-priority is for classic queues", 406, "x-max-priority"):
        stage.declare(x_max_priority=5)
