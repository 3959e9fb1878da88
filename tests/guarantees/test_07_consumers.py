"""Consumers: how a worker registers with a queue or fetches from it, and how a subscription ends."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONFIRMS, CONSUMER_CANCEL, CONSUMERS, PUBLISHERS
from workqueue.guarantee.waiting import PATIENCE, claim, promised, refused

BASICS = CONSUMERS.section("basics")
CANCELLING = CONSUMERS.section("unsubscribing")


# Registering


@guarantee(
    "consumers.backlog-is-delivered-at-once",
    "If there are messages in the queue when a worker registers, deliveries start immediately, the oldest first.",
    source=BASICS,
    proved_by=[
        caught("never-delivers", "client 1 receives ['first task', 'second task', 'third task']"),
        caught("swaps-deliveries", "`worker.tasks == tasks"),
    ],
)
def test_a_backlog_is_delivered_to_a_new_consumer(stage, queue, publish):
    tasks = publish("first task", "second task", "third task")
    worker = stage.client()

    worker.consume(queue.name)

    worker.receives(*tasks)
    assert worker.tasks == tasks


@guarantee(
    "consumers.new-task-is-pushed",
    "A worker that registers with an empty queue is sent each task when it is published, without asking for it.",
    source=BASICS,
    proved_by=[caught("never-delivers", "client 1 receives ['first task']")],
)
def test_a_new_task_is_pushed_to_a_waiting_consumer(stage, queue, publish):
    worker = stage.client()
    worker.consume(queue.name)
    assert worker.tasks == []

    for task in ("first task", "second task"):
        publish(task)
        worker.receives(task)

    assert worker.tasks == ["first task", "second task"]


@guarantee(
    "consumers.missing-queue-is-refused",
    "An attempt to consume from a queue that does not exist closes the channel with 404; the connection and its other "
    "channels live on.",
    source=BASICS,
    proved_by=[
        caught("escalates", "a missing queue cannot be consumed from: refused, but the whole"),
        caught("forgives", "a missing queue cannot be consumed from: it was accepted"),
        caught("creates-what-is-missing", "a missing queue cannot be consumed from: it was accepted"),
    ],
)
def test_consuming_from_a_missing_queue_closes_only_the_channel(stage, queue, publish):
    [task] = publish("a task")
    mistaken = stage.client()
    healthy = stage.client(beside=mistaken)

    with refused("a missing queue cannot be consumed from", 404, "no queue"):
        mistaken.consume(f"{queue.name}-misspelt")

    healthy.consume(queue.name)
    healthy.receives(task)
    assert healthy.connection.is_open


@hazard(
    "consumers.publish-to-missing-queue-vanishes",
    "A task that is published to a queue that does not exist vanishes without an error, and is confirmed all the same.",
    source=PUBLISHERS.section("unroutable"),
    proved_by=[
        caught("refuses-publishes", "the broker confirms it"),
        caught("keeps-for-the-missing", "`queue.drain() == []"),
    ],
)
def test_a_task_for_a_missing_queue_vanishes(stage, queue):
    producer = stage.client()
    producer.confirm()
    producer.delete(queue.name)

    producer.publish("a task", queue=queue.name)

    claim("the broker confirms it", lambda: producer.confirms and producer.confirms[-1].ok)
    producer.declare(queue.name, arguments=dict(queue.arguments))
    assert producer.is_open
    assert queue.drain() == []


@hazard(
    "consumers.nobody-registers-again",
    "After a restart of RabbitMQ a worker that does nothing about it is registered no more: new tasks wait, until a "
    "worker connects and registers again.",
    source=CONSUMERS.section("connection-recovery"),
    across="restart",
    proved_by=[
        caught("forgets-messages", "the tasks are back"),
        caught("registers-again", "the others wait: not within"),
    ],
)
def test_after_a_restart_nobody_registers_the_worker_again(stage, queue, publish):
    worker = stage.client()
    worker.qos(1)
    worker.consume(queue.name)
    held, waiting = publish("held", "waiting")
    worker.wait_until_holding(1)
    yield
    claim("the connection is gone", lambda: not worker.is_open)
    claim("the tasks are back", lambda: queue.ready() == 2)
    other = stage.client()
    back = other.get(queue.name)
    [new] = publish("new")
    claim("the others wait", lambda: queue.ready() == 2)

    other.consume(queue.name)

    *_, last = other.receives(waiting, new)
    assert back.task == held
    assert not last.redelivered, "somebody got it in the meantime"
    assert worker.tasks == [held]


@guarantee(
    "consumers.same-tag-again",
    "A worker can unsubscribe and subscribe again under the same consumer tag, 50 times here: it is given every task.",
    source=CONSUMERS.section("consumer-tags"),
    proved_by=[
        caught("refuses-second-consumer", "it can subscribe, and subscribe again: the broker refused:"),
        caught("never-delivers", "client 1 receives ['task 1']"),
    ],
)
def test_a_consumer_tag_can_be_used_again_and_again(stage, queue, publish):
    tasks = publish(*(f"task {n}" for n in range(1, 51)))
    worker = stage.client()
    worker.qos(1)

    for done, task in enumerate(tasks):
        with promised("it can subscribe, and subscribe again"):
            worker.consume(queue.name, tag="the-worker")
        worker.receives(task)
        # While it holds the only task that it may hold, no other is on its way when it unsubscribes.
        worker.cancel("the-worker")
        worker.ack(worker.received[done])

    worker.sync()
    assert worker.tasks == tasks
    assert queue.drain() == []


# Unsubscribing


@guarantee(
    "consumers.cancel-stops-deliveries",
    "After a worker has cancelled its subscription, no further tasks are sent to it: all go to the others.",
    source=CANCELLING,
    proved_by=[caught("ignores-cancel", "client 2 receives ['task 1', 'task 2', 'task 3', 'task 4', 'task 5']")],
)
def test_a_cancelled_consumer_gets_nothing_new(stage, queue, publish):
    leaving, staying = stage.client(), stage.client()
    tag = leaving.consume(queue.name)
    staying.consume(queue.name)

    leaving.cancel(tag)
    tasks = publish(*(f"task {n}" for n in range(1, 6)))

    staying.receives(*tasks)
    leaving.sync()
    assert leaving.tasks == []


@guarantee(
    "consumers.cancel-keeps-tasks-in-hand",
    "Cancelling a subscription neither discards nor requeues what was delivered: the worker still holds it, and can "
    "acknowledge it.",
    source=CANCELLING,
    proved_by=[
        caught("returns-on-cancel", "`other.tasks == [*tasks[3:], 'one more task']"),
        caught("refuses-settling", "it can acknowledge what it holds: the broker refused:"),
    ],
)
def test_a_cancelled_consumer_keeps_what_it_holds(stage, queue, publish):
    leaving, other = stage.client(), stage.client()
    leaving.qos(3)
    tag = leaving.consume(queue.name)
    tasks = publish(*(f"task {n}" for n in range(1, 6)))
    held = leaving.wait_until_holding(3)

    leaving.cancel(tag)
    other.consume(queue.name)
    other.receives(*tasks[3:], *publish("one more task"))

    assert other.tasks == [*tasks[3:], "one more task"]
    with promised("it can acknowledge what it holds"):
        for delivery in held[:2]:
            leaving.ack(delivery)
        leaving.sync()
    # The third comes back when the channel ends, so the two that were acknowledged had every chance.
    leaving.close()
    other.receives(tasks[2])
    assert other.tasks == [*tasks[3:], "one more task", tasks[2]]


@guarantee(
    "consumers.channel-close-after-cancel-returns-tasks",
    "To give back what it holds after cancelling its subscription, a worker closes its channel.",
    source=CANCELLING,
    proved_by=[
        caught("acks-for-the-dead", "client 2 receives ['first task', 'second task', 'third task']"),
        caught("returns-on-cancel", "`other.tasks == [new]"),
    ],
)
def test_closing_the_channel_after_a_cancel_returns_what_was_held(stage, queue, publish):
    leaving, other = stage.client(), stage.client()
    tag = leaving.consume(queue.name)
    tasks = publish("first task", "second task", "third task")
    leaving.wait_until_holding(3)
    leaving.cancel(tag)
    other.consume(queue.name)
    [new] = publish("a new task")
    other.receives(new)
    assert other.tasks == [new]

    leaving.close()

    returned = other.receives(*tasks)
    assert all(delivery.redelivered for delivery in returned)


@guarantee(
    "consumers.queue-deletion-is-notified",
    "When its queue is deleted, a consumer is told so with basic.cancel; its channel stays open.",
    source=CONSUMER_CANCEL.section("overview"),
    proved_by=[
        caught("hides-cancels", "the broker cancels its consumer"),
        caught("closes-what-it-cancels", "its channel stays open: the broker refused:"),
    ],
)
def test_a_consumer_is_told_when_its_queue_is_deleted(stage, queue):
    worker, operator = stage.client(), stage.client()
    tag = worker.consume(queue.name)

    operator.delete(queue.name)

    claim("the broker cancels its consumer", lambda: worker.cancelled == [tag])
    with promised("its channel stays open"):
        worker.sync()


@hazard(
    "consumers.queue-deletion-ends-worker-in-silence",
    "When its queue is deleted, the tutorial's worker ends as if all were well: start_consuming() returns and raises "
    "nothing.",
    source=CONSUMER_CANCEL.section("overview"),
    proved_by=[caught("hides-cancels", "start_consuming() went on")],
)
def test_start_consuming_returns_in_silence_when_the_queue_is_deleted(stage, queue, publish):
    connection = stage.connect()
    channel = connection.channel()
    done, overdue = [], []

    def callback(ch, method, properties, body):
        ch.basic_ack(method.delivery_tag)
        done.append(body.decode())
        stage.client().delete(queue.name)

    def give_up():
        overdue.append(True)
        channel.stop_consuming()

    channel.basic_consume(queue.name, callback)
    connection.call_later(PATIENCE, give_up)
    publish("a task")

    channel.start_consuming()

    assert not overdue, "start_consuming() went on"
    assert done == ["a task"]
    assert channel.is_open


# Fetching one by one


@guarantee(
    "consumers.get-ignores-prefetch",
    "The prefetch limit does not bind basic.get: a worker can fetch more tasks than prefetch_count allows.",
    source=CONFIRMS.section("channel-qos-prefetch"),
    proved_by=[caught("finds-nothing", "`[delivery and delivery.task for delivery in fetched] == tasks")],
)
def test_get_ignores_the_prefetch_limit(stage, queue, publish):
    tasks = publish("first task", "second task", "third task")
    worker = stage.client()
    worker.qos(1)

    fetched = [worker.get(queue.name) for _ in tasks]

    assert [delivery and delivery.task for delivery in fetched] == tasks


@guarantee(
    "consumers.fetched-task-comes-back",
    "A task fetched with basic.get is held like any other until it is acknowledged: nobody else gets it, and it comes "
    "back if the channel closes.",
    source=CONFIRMS.section("automatic-requeueing"),
    proved_by=[caught("auto-acks", "client 2 receives ['fetched']")],
)
def test_a_fetched_task_comes_back_when_the_channel_closes(stage, queue, publish):
    fetched, waiting = publish("fetched", "waiting")
    fetching, other = stage.client(), stage.client()
    assert fetching.get(queue.name).task == fetched
    other.consume(queue.name)
    other.receives(waiting)
    assert other.tasks == [waiting]

    fetching.close()

    [returned] = other.receives(fetched)
    assert returned.redelivered
