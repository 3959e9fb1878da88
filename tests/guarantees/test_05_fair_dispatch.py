"""Fair dispatch: "don't dispatch a new message to a worker until it has acknowledged the previous one"."""

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONFIRMS, TUTORIAL_2
from workqueue.guarantee.waiting import claim

FAIR = TUTORIAL_2.section("fair-dispatch")

DOT = 0.1  # seconds
HEAVY, LIGHT = "." * 24, "."  # 2.4 s and 0.1 s of work


def makespan(team, tasks):
    """Seconds from the first delivery to the last task done."""
    claim("all tasks are done", lambda: sum(len(worker.done) for worker in team) == len(tasks), within=12)
    began = min(delivery.at for worker in team for delivery in worker.received)
    return max(worker.finished_at(task) for worker in team for task in worker.done) - began


@hazard(
    "fair-dispatch.without-prefetch-one-is-busy-one-idle",
    "When all odd messages are heavy and even messages are light, one worker will be constantly busy and the other "
    "one will do hardly any work.",
    source=FAIR,
    proved_by=[caught("lowers-prefetch", "worker 1 gets and finishes ['heavy 1........', 'heavy 2........")],
)
def test_without_prefetch_one_worker_is_busy_and_the_other_idle(stage, workers, publish):
    busy, idle = workers(2, dot=DOT)

    heavy = [f"heavy {n}{'.' * 8}" for n in (1, 2, 3)]
    light = [f"light {n}" for n in (1, 2, 3)]
    publish(*(task for pair in zip(heavy, light, strict=True) for task in pair))

    busy.finishes(*heavy)
    idle.finishes(*light)
    assert busy.tasks == heavy
    assert idle.tasks == light
    waited = busy.finished_at(heavy[-1]) - idle.finished_at(light[-1])
    stage.evidence.proof("worker 2", f"had nothing to do for the last {waited:.2f} s, while worker 1 had a backlog")
    assert idle.finished_at(light[-1]) < busy.finished_at(heavy[1])


@guarantee(
    "fair-dispatch.never-holds-two",
    "With prefetch_count=1, RabbitMQ gives no worker more than one message at a time.",
    source=FAIR,
    counter_example="fair-dispatch.without-prefetch-holds-many",
    proved_by=[
        caught("raises-prefetch", "`[worker.most_held_at_once for worker in team] == [1, 1]"),
        caught("ignores-prefetch", "`[worker.most_held_at_once for worker in team] == [1, 1]"),
    ],
)
def test_with_prefetch_1_no_worker_ever_holds_two(queue, workers, publish):
    team = workers(2, prefetch=1, hold=True)
    tasks = publish(*(f"task {n}" for n in range(1, 13)))

    for _ in range(len(tasks) // 2):
        for worker in team:
            worker.finish()
            worker.sync()

    assert [worker.most_held_at_once for worker in team] == [1, 1]
    assert sorted(task for worker in team for task in worker.done) == sorted(tasks)


@hazard(
    "fair-dispatch.without-prefetch-holds-many",
    "Without prefetch_count, RabbitMQ doesn't look at the number of unacknowledged messages of a worker: it is sent "
    "everything at once.",
    source=FAIR,
    proved_by=[caught("lowers-prefetch", "worker 1 receives ['task 1', 'task 2', 'task 3', 'task 4', 'task 5")],
)
def test_without_prefetch_a_worker_is_sent_everything(queue, workers, publish):
    [worker] = workers(1, hold=True)

    tasks = publish(*(f"task {n}" for n in range(1, 51)))

    worker.receives(*tasks)
    assert worker.started == tasks[:1]
    assert queue.ready() == 0


@guarantee(
    "fair-dispatch.next-task-goes-to-a-free-worker",
    "With prefetch_count=1, a message is not dispatched to a busy worker, but to the next one that is not busy.",
    source=FAIR,
    counter_example="fair-dispatch.without-prefetch-one-is-busy-one-idle",
    proved_by=[caught("raises-prefetch", "worker 2 receives ['task 2', 'task 3', 'task 4', 'task 5', 'task 6']")],
)
def test_the_next_task_goes_to_the_worker_that_is_free(queue, workers, publish):
    busy, free = workers(2, prefetch=1, hold=True)
    tasks = publish(*(f"task {n}" for n in range(1, 7)))
    busy.wait_until_started(tasks[0])

    for _ in tasks[1:-1]:
        free.finish()

    free.receives(*tasks[1:])
    assert busy.tasks == tasks[:1]
    assert queue.ready() == 0


@guarantee(
    "fair-dispatch.makespan-bound",
    "With prefetch_count=1, heavy, light, heavy, light takes two workers no longer than Graham's bound for list "
    "scheduling: half of all the work plus half of the longest task.",
    source=FAIR,
    counter_example="fair-dispatch.prefetch-two-is-unfair",
    proved_by=[caught("raises-prefetch", "`took <= bound")],
)
def test_with_prefetch_1_the_makespan_keeps_grahams_bound(stage, workers, publish):
    team = workers(2, prefetch=1, dot=DOT)

    tasks = publish(f"A{HEAVY}", f"b{LIGHT}", f"C{HEAVY}", f"d{LIGHT}")
    took = makespan(team, tasks)

    work = [task.count(".") * DOT for task in tasks]
    bound = sum(work) / 2 + max(work) / 2
    stage.evidence.proof("workers", f"took {took:.2f} s; the bound is {bound:.2f} s")
    assert took <= bound


@hazard(
    "fair-dispatch.prefetch-two-is-unfair",
    "With prefetch_count=2, heavy, light, heavy, light gives both heavy tasks to the same worker.",
    source=FAIR,
    proved_by=[caught("lowers-prefetch", "`first.tasks == tasks[0::2]")],
)
def test_with_prefetch_2_one_worker_gets_both_heavy_tasks(stage, workers, publish):
    first, second = workers(2, prefetch=2, dot=DOT / 2)

    tasks = publish(f"A{HEAVY}", f"b{LIGHT}", f"C{HEAVY}", f"d{LIGHT}")
    took = makespan([first, second], tasks)

    heavy = HEAVY.count(".") * DOT / 2
    stage.evidence.proof("workers", f"took {took:.2f} s; one heavy task takes {heavy:.2f} s")
    assert first.tasks == tasks[0::2]
    assert took >= 2 * heavy


@guarantee(
    "fair-dispatch.prefetch-n-is-a-bound",
    "With prefetch_count=n a worker never holds more than n messages, and each ack brings exactly one more.",
    source=CONFIRMS.section("channel-qos-prefetch"),
    counter_example="fair-dispatch.without-prefetch-holds-many",
    proved_by=[
        caught("raises-prefetch", "`worker.tasks == tasks[:3 + finished]"),
        caught("ignores-prefetch", "`worker.tasks == tasks[:3 + finished]"),
    ],
)
def test_prefetch_n_bounds_what_a_worker_holds(queue, workers, publish):
    [worker] = workers(1, prefetch=3, hold=True)
    tasks = publish(*(f"task {n}" for n in range(1, 11)))

    for finished in range(6):
        if finished:
            worker.finish()
        worker.wait_until_holding(3 + finished)
        worker.sync()
        assert worker.tasks == tasks[: 3 + finished]

    assert worker.most_held_at_once == 3


@hazard(
    "fair-dispatch.forgotten-ack-stalls",
    "With prefetch_count=1, a worker that forgets to acknowledge gets one message and then nothing, while the queue "
    "fills up.",
    source=FAIR,
    proved_by=[
        caught("ignores-prefetch", "`queue.ready() == len(tasks) - 1"),
        caught("raises-prefetch", "`queue.ready() == len(tasks) - 1"),
    ],
)
def test_with_prefetch_1_a_forgotten_ack_stalls_the_worker(queue, workers, publish):
    [worker] = workers(1, prefetch=1, forget_ack=True)
    tasks = publish(*(f"task {n}" for n in range(1, 11)))
    worker.finishes(tasks[0])

    worker.sync()
    assert queue.ready() == len(tasks) - 1
    assert worker.tasks == tasks[:1]
