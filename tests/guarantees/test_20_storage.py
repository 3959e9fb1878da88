"""The note on message persistence: when a task is really on the disk, and not only on its way."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONFIRMS, TUTORIAL_2, Source
from workqueue.guarantee.waiting import barrier

STORAGE = Source(
    "How are the messages stored? (blog, 2025)",
    "https://www.rabbitmq.com/blog/2025/01/17/how-are-the-messages-stored",
)


def publish_one_by_one(client, queue, tasks):
    """Publish each task when the one before was confirmed; the moments of the confirms."""
    client.confirm()
    for number, task in enumerate(tasks):
        client.publish(task, queue=queue.name)
        barrier(f"{task} is confirmed", lambda number=number: len(client.confirms) > number)
    return [confirm.at for confirm in client.confirms]


@guarantee(
    "storage.confirm-follows-fsync",
    "A persistent message is confirmed only after it was written through to disk with fsync(2), so that it survives "
    "even a loss of power.",
    source=CONFIRMS.section("when-publishes-are-confirmed"),
    needs=["ctl", "configure"],
    counter_example="storage.no-fsync-for-each-message",
    broken_on=[
        BrokenOn("classic", ">=3.13", "classic queues do not sync to disk before they confirm", STORAGE),
    ],
    proved_by=[
        caught("confirms-early", "syncs before the confirm of the file with the task, for each of 5: [0, 0, 0, 0, 0]")
    ],
)
def test_a_confirm_follows_an_fsync(stage, queue):
    client = stage.client()
    tasks = [f"{queue.name}: task {n}" for n in range(1, 6)]  # as nothing else that is written meanwhile

    with stage.operator.syncs(stage.declare(x_queue_type="quorum")) as syncs:
        confirmed_at = publish_one_by_one(client, queue, tasks)

    synced = [syncs.of(task, by=moment) for task, moment in zip(tasks, confirmed_at, strict=True)]
    assert all(synced), f"syncs before the confirm of the file with the task, for each of {len(tasks)}: {synced}"


@hazard(
    "storage.no-fsync-for-each-message",
    "RabbitMQ does not do fsync(2) for every message: many are written through at once, if at all.",
    source=TUTORIAL_2.section("message-durability"),
    needs=["ctl", "configure"],
    unproven="what a broker writes to disk is seen with strace, and nothing between it and its clients can change that",
)
def test_there_is_no_fsync_for_each_message(stage, queue):
    client = stage.client()
    client.confirm()
    count = 1000

    with stage.operator.syncs(stage.declare(x_queue_type="quorum")) as syncs:
        client.publish(*(f"task {n}" for n in range(1, count + 1)), queue=queue.name)
        barrier("all are confirmed", lambda: client.confirms and client.confirms[-1].tag == count)

    calls = syncs.between(client.published_at[0], client.confirms[-1].at)
    stage.evidence.proof("strace", f"{calls} syncs for {count} persistent messages")
    assert queue.ready() == count
    assert calls < count / 4
