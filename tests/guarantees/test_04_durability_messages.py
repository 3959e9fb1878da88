"""Message durability: what becomes of the messages when RabbitMQ restarts or is killed."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONFIRMS, QUEUES, QUORUM_QUEUES, TUTORIAL_2, Source

DURABILITY = TUTORIAL_2.section("message-durability")

TASKS = [f"task {n}" for n in range(1, 11)]


def bodies(drained):
    return [message.task for message in drained]


# The messages


@guarantee(
    "durability.persistent-survives-restart",
    "Persistent messages in a durable queue survive a graceful restart of RabbitMQ, in their order.",
    source=DURABILITY,
    across="restart",
    counter_example="durability.transient-message-is-lost",
    proved_by=[
        caught("forgets-messages", "`bodies(queue.drain()) == TASKS"),
        caught("reorders-publishes", "`bodies(queue.drain()) == TASKS"),
    ],
)
def test_persistent_messages_survive_a_restart(queue, publish):
    publish(*TASKS)
    yield
    assert bodies(queue.drain()) == TASKS


@guarantee(
    "durability.persistent-survives-kill",
    "Persistent messages in a durable queue that were confirmed survive a SIGKILL of RabbitMQ, in their order.",
    source=DURABILITY,
    across="kill",
    counter_example="durability.transient-message-is-lost",
    proved_by=[
        caught("forgets-messages", "`bodies(queue.drain()) == TASKS"),
        caught("forgets-persistence", "`bodies(queue.drain()) == TASKS", on="classic"),
        caught("forgets-the-first-queue", "the queue is gone"),
    ],
)
def test_persistent_messages_survive_a_kill(queue, publish):
    publish(*TASKS)
    yield
    assert bodies(queue.drain()) == TASKS


@hazard(
    "durability.transient-message-is-lost",
    "A message that is not marked as persistent is lost from a durable classic queue when RabbitMQ restarts.",
    source=DURABILITY,
    queue_types=["classic"],
    across="restart",
    proved_by=[
        caught("persists-everything", "`bodies(queue.drain()) == ['persistent']"),
        caught("forgets-messages", "`bodies(queue.drain()) == ['persistent']"),
        caught("forgets-the-first-queue", "the queue is gone"),
    ],
)
def test_transient_messages_are_lost_from_a_classic_queue(queue, publish):
    publish("transient", persistent=False)
    publish("persistent")
    yield
    assert bodies(queue.drain()) == ["persistent"]


@guarantee(
    "durability.quorum-keeps-transient-messages",
    "A quorum queue keeps messages over a restart even if they are not marked as persistent.",
    source=QUORUM_QUEUES.section("feature-comparison"),
    queue_types=["quorum"],
    across="restart",
    counter_example="durability.transient-message-is-lost",
    proved_by=[
        caught("forgets-messages", "`bodies(queue.drain()) == TASKS"),
        caught("declares-classic", "`bodies(queue.drain()) == TASKS"),
    ],
)
def test_a_quorum_queue_keeps_transient_messages(queue, publish):
    publish(*TASKS, persistent=False)
    yield
    assert bodies(queue.drain()) == TASKS


@guarantee(
    "durability.held-tasks-survive-restart",
    "Tasks that a worker held unacknowledged when RabbitMQ restarted are back in the queue, marked as redelivered.",
    source=CONFIRMS.section("automatic-requeueing"),
    across="restart",
    counter_example="acknowledgement.auto-ack-loses-tasks-already-sent",
    proved_by=[
        caught("forgets-messages", "`sorted(bodies(drained)) == sorted(TASKS)"),
        caught("auto-acks", "`sorted(bodies(drained)) == sorted(TASKS)"),
        caught("hides-redelivered", "`{each.task for each in drained if each.redelivered} >= set(TASKS[:3])"),
    ],
)
def test_held_tasks_survive_a_restart(queue, publish, workers):
    publish(*TASKS)
    [worker] = workers(1, prefetch=3, hold=True)
    worker.wait_until_holding(3)
    worker.sync()
    yield
    drained = queue.drain()
    assert sorted(bodies(drained)) == sorted(TASKS)
    assert {each.task for each in drained if each.redelivered} >= set(TASKS[:3])


@guarantee(
    "durability.held-tasks-survive-kill",
    "Tasks that a worker held unacknowledged when RabbitMQ was killed are back in the queue, marked as redelivered.",
    source=CONFIRMS.section("automatic-requeueing"),
    across="kill",
    counter_example="acknowledgement.auto-ack-loses-tasks-already-sent",
    proved_by=[
        caught("forgets-messages", "`sorted(bodies(drained)) == sorted(TASKS)"),
        caught("auto-acks", "`sorted(bodies(drained)) == sorted(TASKS)"),
        caught("hides-redelivered", "`{each.task for each in drained if each.redelivered} >= set(TASKS[:3])"),
    ],
)
def test_held_tasks_survive_a_kill(queue, publish, workers):
    publish(*TASKS)
    [worker] = workers(1, prefetch=3, hold=True)
    worker.wait_until_holding(3)
    worker.sync()
    yield
    drained = queue.drain()
    assert sorted(bodies(drained)) == sorted(TASKS)
    assert {each.task for each in drained if each.redelivered} >= set(TASKS[:3])


@guarantee(
    "durability.new-quorum-queue-survives-kill",
    "A quorum queue that was declared a moment before a SIGKILL of RabbitMQ survives it, with the messages that it "
    "confirmed.",
    source=CONFIRMS.section("when-publishes-are-confirmed"),
    queue_types=["quorum"],
    across="kill-at-once",
    broken_on=[
        BrokenOn(
            "quorum",
            "",
            "for half a second after its declaration a quorum queue's registration is not on disk; killed then, the "
            "node starts its member as a new one, without its messages",
            Source(
                "rabbitmq/ra, ra_directory.erl (auto_save)",
                "https://github.com/rabbitmq/ra/blob/08649c07f45f94b224c329bcf8ac2923cbdddc9e/src/ra_directory.erl",
            ),
        )
    ],
    unproven="it is broken in every release that was measured: RabbitMQ itself makes its spec fail",
)
def test_a_quorum_queue_just_declared_survives_a_kill_with_its_confirmed_messages(publish, workers):
    [task] = publish("a task")
    yield
    [worker] = workers(1, wait=False)
    worker.receives(task, within=3)


@hazard(
    "durability.new-classic-queue-has-a-window",
    "A durable classic queue that was declared a moment before a SIGKILL of RabbitMQ can be forgotten. (How many were "
    "is measured; any number from none up is possible.)",
    source=QUEUES.section("durability"),
    queue_types=["classic"],
    across="kill-at-once",
    proved_by=[caught("forgets-the-first-queue", "`forgotten == declarer.declared[len(declarer.declared) - len(forg")],
)
def test_a_classic_queue_just_declared_can_be_forgotten(stage):
    declarer = stage.keep_declaring()
    declarer.wait_until_declared(10)
    yield
    declarer.wait_until_cut_off()
    forgotten = [name for name in declarer.declared if not stage.knows(name)]
    stage.evidence.proof("broker", f"of {len(declarer.declared)} queues just declared, {len(forgotten)} were forgotten")
    # Only the latest can be: whatever was not forgotten is no younger than what was.
    assert forgotten == declarer.declared[len(declarer.declared) - len(forgotten) :]


# The note on message persistence


@hazard(
    "durability.unconfirmed-has-a-window",
    "Marking messages as persistent doesn't fully guarantee that a message won't be lost: without publisher confirms "
    "there is a window in which a task can vanish. (How many did is measured; any number from none up is possible.)",
    source=DURABILITY,
    across="kill",
    unproven="it measures a window: how many are lost is up to the moment of the kill, and any number is allowed",
)
def test_without_confirms_there_is_a_window(stage, queue):
    producer = stage.keep_publishing(queue, confirm=False)
    producer.wait_until_published(100)
    yield
    producer.wait_until_cut_off()
    survived = set(bodies(queue.drain()))
    lost = len(producer.published) - len(survived)
    stage.evidence.proof("producer", f"published {len(producer.published)} without confirms, {lost} were lost")
    assert survived <= set(producer.published)


@guarantee(
    "durability.confirmed-survive-kill",
    "Every task that the broker confirmed survives a SIGKILL of the broker, also in the middle of publishing.",
    source=CONFIRMS.section("when-publishes-are-confirmed"),
    across="kill",
    counter_example="durability.unconfirmed-has-a-window",
    proved_by=[caught("forgets-messages", "`lost == []"), caught("confirms-early", "`lost == []")],
)
def test_every_confirmed_task_survives_a_kill(stage, queue):
    producer = stage.keep_publishing(queue, confirm=True)
    producer.wait_until_published(100)
    yield
    producer.wait_until_cut_off()
    survived = set(bodies(queue.drain()))
    lost = [task for task in producer.confirmed if task not in survived]
    stage.evidence.proof("producer", f"{len(producer.confirmed)} were confirmed when it was cut off, {len(lost)} lost")
    assert lost == []
