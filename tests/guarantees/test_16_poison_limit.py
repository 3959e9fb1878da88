"""Poison tasks, those that no worker can do: when a queue drops them, and what it drops with them."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.dead_letters import deliveries_until_dead, queue_to, reject
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CLASSIC_QUEUES, NACK, QUORUM_QUEUES, release_note, server_source
from workqueue.guarantee.waiting import barrier, claim, refused

POISON_HANDLING = QUORUM_QUEUES.section("poison-message-handling")
CONFIGURING = QUORUM_QUEUES.section("poison-message-handling-configuring-limit")

NO_LIMIT_YET = BrokenOn("quorum", "<4.0", "there is no delivery limit by default", release_note("4.0.1"))


@guarantee(
    "poison.default-limit-is-20",
    "A quorum queue has a delivery limit of 20 by default: a task that always fails is delivered 21 times, and then "
    "dead-lettered (or dropped) for the reason delivery_limit.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
    broken_on=[NO_LIMIT_YET],
    proved_by=[
        caught("lowers-delivery-limit", "`deliveries_until_dead(queue, dead, reject, most=40) == 21"),
        caught("ignores-delivery-limit", "`deliveries_until_dead(queue, dead, reject, most=40) == 21"),
    ],
)
def test_a_quorum_queue_gives_up_after_21_deliveries(stage):
    dead = stage.declare()
    queue = queue_to(dead)
    stage.publish("poison", queue=queue)

    assert deliveries_until_dead(queue, dead, reject, most=40) == 21

    [letter] = dead.drain()
    assert [death["reason"] for death in letter.deaths] == ["delivery_limit"]
    assert queue.drain() == []


@guarantee(
    "poison.limit-of-n",
    "With x-delivery-limit=n a quorum queue delivers a task that always fails n + 1 times.",
    source=CONFIGURING,
    queue_types=["quorum"],
    proved_by=[
        caught("lowers-delivery-limit", "`deliveries_until_dead(queue, dead, reject, most=20) == 4"),
        caught("ignores-delivery-limit", "`deliveries_until_dead(queue, dead, reject, most=20) == 4"),
    ],
)
def test_a_limit_of_n_means_n_plus_1_deliveries(stage):
    dead = stage.declare()
    queue = queue_to(dead, x_delivery_limit=3)
    stage.publish("poison", queue=queue)

    assert deliveries_until_dead(queue, dead, reject, most=20) == 4

    [letter] = dead.drain()
    assert [death["reason"] for death in letter.deaths] == ["delivery_limit"]


@guarantee(
    "poison.limit-can-be-switched-off",
    "With x-delivery-limit=-1 a quorum queue has no delivery limit.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
    broken_on=[
        BrokenOn(
            "quorum",
            "<4.0",
            "the task is dropped after its first delivery: one failure is more than -1",
            server_source("3.10.8", "deps/rabbit/src/rabbit_fifo.erl"),
        )
    ],
    proved_by=[caught("lowers-delivery-limit", "the queue dropped the task after 1 deliveries")],
)
def test_minus_1_switches_the_limit_off(stage):
    dead = stage.declare()
    queue = queue_to(dead, x_delivery_limit=-1)
    stage.publish("poison", queue=queue)

    deliveries = deliveries_until_dead(queue, dead, reject, most=60)

    assert deliveries == 60, f"the queue dropped the task after {deliveries} deliveries"


@guarantee(
    "poison.lower-limit-wins",
    "If a policy and the queue's own argument both set a delivery limit, the lower one applies.",
    source=CONFIGURING,
    queue_types=["quorum"],
    needs=["ctl"],
    proved_by=[
        caught("misreads-policies", "with 2 by a policy and 5 by itself, the queue gave it up after 6 deliveries"),
        caught("ignores-limit-argument", "with 5 by a policy and 2 by itself, the queue gave it up after 6 deliveries"),
    ],
)
def test_the_lower_limit_wins(stage):
    for by_policy, by_itself in ((2, 5), (5, 2)):
        dead = stage.declare()
        queue = queue_to(dead, x_delivery_limit=by_itself)
        stage.publish("poison", queue=queue)

        with stage.operator.policy(queue, delivery_limit=by_policy):
            deliveries = deliveries_until_dead(queue, dead, reject, most=20)

        limits = f"{by_policy} by a policy and {by_itself} by itself"
        assert deliveries == 3, f"with {limits}, the queue gave it up after {deliveries} deliveries"


@guarantee(
    "poison.classic-refuses-a-limit",
    "A classic queue cannot have a delivery limit: x-delivery-limit is refused.",
    source=CLASSIC_QUEUES,
    queue_types=["classic"],
    broken_on=[
        BrokenOn(
            "classic",
            "<3.10",
            "the argument is accepted, and ignored",
            server_source("3.8.9", "src/rabbit_amqqueue.erl"),
        )
    ],
    proved_by=[
        caught("ignores-arguments", "a classic queue has no delivery limit: it was accepted"),
        caught("forgives", "a classic queue has no delivery limit: it was accepted"),
    ],
)
def test_a_classic_queue_refuses_a_delivery_limit(stage):
    with refused("a classic queue has no delivery limit", 406, "x-delivery-limit"):
        stage.declare(x_delivery_limit=1)


@hazard(
    "poison.dropped-without-a-trace",
    "Without a dead-letter exchange, a task that exceeds the delivery limit of a quorum queue is gone without a trace.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
    proved_by=[caught("ignores-delivery-limit", "`body == b'healthy")],
)
def test_without_a_dead_letter_exchange_the_task_is_gone(stage):
    queue = stage.declare(x_delivery_limit=1)
    stage.publish("poison", queue=queue)
    channel = stage.connect().channel()
    for _ in range(2):
        method, _, body = barrier("the task is delivered", lambda: (got := channel.basic_get(queue.name))[0] and got)
        channel.basic_reject(method.delivery_tag)

    # Whatever the broker does to the one task, it has done when it delivers what was returned after it.
    stage.publish("healthy", queue=queue)
    method, _, body = barrier("a new task is delivered", lambda: (got := channel.basic_get(queue.name))[0] and got)
    assert body == b"healthy"
    channel.connection.close()
    barrier("it is back", lambda: queue.ready() == 1)

    assert [each.task for each in queue.drain()] == ["healthy"]


@hazard(
    "poison.bystanders-are-dropped-too",
    "With a prefetch above 1, the healthy tasks that a worker holds when a poison task kills it count as failed, too: "
    "a quorum queue drops them all.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
    proved_by=[caught("ignores-delivery-limit", "all are dead-lettered")],
)
def test_healthy_tasks_held_beside_a_poison_task_are_dropped_with_it(stage):
    dead = stage.declare()
    queue = queue_to(dead, x_delivery_limit=2)
    tasks = stage.publish("poison", "healthy 1", "healthy 2", "healthy 3", "healthy 4", queue=queue)
    doomed = stage.doomed(queue, prefetch=5)

    for _ in range(3):
        doomed.dies(holding=5)

    claim("all are dead-lettered", lambda: dead.ready() == 5)
    letters = dead.drain()
    assert sorted(each.task for each in letters) == sorted(tasks)
    assert {each.deaths[0]["reason"] for each in letters} == {"delivery_limit"}


@guarantee(
    "poison.prefetch-one-spares-bystanders",
    "With a prefetch of 1, the queue drops the poison task alone; the healthy tasks behind it stay in order.",
    source=POISON_HANDLING,
    queue_types=["quorum"],
    counter_example="poison.bystanders-are-dropped-too",
    proved_by=[caught("ignores-prefetch", "`doomed.dies() == ['poison']")],
)
def test_with_prefetch_1_only_the_poison_task_is_dropped(stage):
    dead = stage.declare()
    queue = queue_to(dead, x_delivery_limit=2)
    stage.publish("poison", "healthy 1", "healthy 2", "healthy 3", "healthy 4", queue=queue)
    doomed = stage.doomed(queue, prefetch=1)

    for _ in range(3):
        claim("all five are in the queue", lambda: queue.ready() == 5)
        assert doomed.dies() == ["poison"]

    claim("the poison task is dead-lettered", lambda: dead.ready() == 1)
    assert [each.task for each in dead.drain()] == ["poison"]
    assert [each.task for each in queue.drain()] == ["healthy 1", "healthy 2", "healthy 3", "healthy 4"]


@hazard(
    "poison.graceful-stop-counts-as-failure",
    "A pika worker that stops gracefully (stop_consuming) hands back the tasks that it has not begun by basic.reject: "
    "a quorum queue counts each such stop as a failure, and drops tasks that no worker ever began.",
    source=NACK.section("reject-vs-nack"),
    queue_types=["quorum"],
    broken_on=[NO_LIMIT_YET],
    proved_by=[
        caught("ignores-delivery-limit", "every task was done"),
        caught("takes-rejections-for-nacks", "every task was done", versions=">=4.3"),
    ],
)
def test_a_task_that_nobody_began_is_dropped_after_graceful_stops(stage):
    dead = stage.declare()
    queue = queue_to(dead)
    tasks = stage.publish(*(f"task {n}" for n in range(1, 26)), queue=queue)
    begun = []

    def work(channel, method, properties, body):
        begun.append(body.decode())
        barrier("the worker was sent all tasks", lambda: queue.ready() == 0)
        channel.basic_ack(method.delivery_tag)
        channel.stop_consuming()

    def waiting():
        """How many tasks still wait to be done, once none is held by a worker that is gone."""
        barrier("the tasks are back", lambda: len(begun) + queue.ready() + dead.ready() == len(tasks))
        return queue.ready()

    while waiting():
        channel = stage.connect().channel()
        channel.basic_qos(prefetch_count=len(tasks))
        channel.basic_consume(queue.name, work)
        barrier(
            "it does one task and stops",
            lambda c=channel: c.connection.process_data_events(time_limit=0.1) or not c.consumer_tags,
        )
        channel.connection.close()

    letters = dead.drain()
    stage.evidence.proof("broker", f"dropped {[each.task for each in letters]} after {len(begun)} stops")
    assert letters, "every task was done"
    assert sorted(begun + [each.task for each in letters]) == sorted(tasks)
    assert {each.deaths[0]["reason"] for each in letters} == {"delivery_limit"}
