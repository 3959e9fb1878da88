"""Round-robin dispatching: "By default, RabbitMQ will send each message to the next consumer, in sequence." """

from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.checkers import duplicated, falsely_marked, lost, unexpected
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import CONSUMERS, TUTORIAL_2
from workqueue.guarantee.waiting import claim

ROUND_ROBIN = TUTORIAL_2.section("round-robin-dispatching")


@guarantee(
    "dispatch.tutorial-transcript",
    "Of the tutorial's five messages, the first worker receives the first, third and fifth, the second the other two.",
    source=ROUND_ROBIN,
    proved_by=[
        caught("favours-one", "worker 2 gets and finishes ['Second message..', 'Fourth message....']", on="classic"),
        caught(
            "favours-one",
            "worker 2 gets and finishes ['Second message..', 'Fourth message....']",
            on="quorum",
            versions=">=3.10",
        ),
    ],
)
def test_the_tutorials_transcript(workers, publish):
    first, second = workers(2, auto_ack=True)

    publish("First message.", "Second message..", "Third message...", "Fourth message....", "Fifth message.....")

    first.finishes("First message.", "Third message...", "Fifth message.....")
    second.finishes("Second message..", "Fourth message....")
    assert first.tasks == ["First message.", "Third message...", "Fifth message....."]
    assert second.tasks == ["Second message..", "Fourth message...."]


@guarantee(
    "dispatch.round-robin",
    "With two workers, each message goes to the next worker in turn.",
    source=ROUND_ROBIN,
    counter_example="dispatch.late-worker-is-left-out",
    proved_by=[
        caught("favours-one", "worker 2 receives ['task 2', 'task 4', 'task 6', 'task 8', 'task 10", on="classic"),
        caught(
            "favours-one",
            "worker 2 receives ['task 2', 'task 4', 'task 6', 'task 8', 'task 10",
            on="quorum",
            versions=">=3.10",
        ),
    ],
)
def test_two_workers_take_turns(workers, publish):
    first, second = workers(2)

    tasks = publish(*(f"task {n}" for n in range(1, 21)))

    first.receives(*tasks[0::2])
    second.receives(*tasks[1::2])
    assert first.tasks == tasks[0::2]
    assert second.tasks == tasks[1::2]


@guarantee(
    "dispatch.round-robin-three",
    "With three workers, each message goes to the next worker in turn.",
    source=ROUND_ROBIN,
    proved_by=[
        caught("favours-one", "`worker.tasks == tasks[place::3]", on="classic"),
        caught("favours-one", "`worker.tasks == tasks[place::3]", on="quorum", versions=">=3.10"),
        caught("starves-one", "worker 1 receives ['task 1', 'task 4', 'task 7', 'task 10', 'task"),
    ],
)
def test_three_workers_take_turns(workers, publish):
    team = workers(3)

    tasks = publish(*(f"task {n}" for n in range(1, 22)))

    for place, worker in enumerate(team):
        worker.receives(*tasks[place::3])
        assert worker.tasks == tasks[place::3]


@guarantee(
    "dispatch.round-robin-many",
    "With any number of workers, each message goes to the next worker in turn.",
    source=ROUND_ROBIN,
    proved_by=[
        caught("favours-one", "`worker.tasks == tasks[place::6]", on="classic"),
        caught("favours-one", "`worker.tasks == tasks[place::6]", on="quorum", versions=">=3.10"),
        caught("starves-one", "`worker.tasks == tasks[place::6]"),
    ],
)
def test_any_number_of_workers_take_turns(workers, publish):
    team = workers(6)

    tasks = publish(*(f"task {n}" for n in range(1, 37)))

    for place, worker in enumerate(team):
        worker.receives(*tasks[place::6])
        assert worker.tasks == tasks[place::6]


@guarantee(
    "dispatch.equal-shares",
    "On average every worker gets the same number of messages.",
    source=ROUND_ROBIN,
    proved_by=[
        caught("favours-one", "50 tasks were shared out as", on="classic"),
        caught("favours-one", "50 tasks were shared out as", on="quorum", versions=">=3.10"),
        caught("starves-one", "50 tasks were shared out as"),
    ],
)
def test_every_worker_gets_the_same_number(workers, publish):
    team = workers(3)

    tasks = publish(*(f"task {n}" for n in range(1, 51)))

    claim("all tasks are dispatched", lambda: sum(len(worker.tasks) for worker in team) >= len(tasks))
    shares = [len(worker.tasks) for worker in team]
    assert max(shares) - min(shares) <= 1, f"50 tasks were shared out as {shares}"


@guarantee(
    "dispatch.each-task-once",
    "As long as nothing fails, each task is given to exactly one worker, exactly once.",
    source=CONSUMERS.section("acknowledgement-modes"),
    counter_example="acknowledgement.work-can-be-done-twice",
    proved_by=[
        caught("repeats-deliveries", "Tasks that were delivered more than once, whatever their flag said."),
        caught("hands-to-two", "Tasks that were delivered more than once, whatever their flag said."),
    ],
)
def test_each_task_is_given_out_once(stage, queue, workers, publish):
    team = workers(3, prefetch=2)

    tasks = publish(*(f"task {n}" for n in range(1, 61)))

    claim("all tasks are done", lambda: set(tasks) <= {task for worker in team for task in worker.done})
    for worker in team:
        worker.sync()
    for wrong in (lost, unexpected, duplicated, falsely_marked):
        assert wrong(stage.history) == [], wrong.__doc__
    assert queue.ready() == 0


@guarantee(
    "dispatch.more-workers-drain-faster",
    "If a backlog builds up, adding workers drains it faster.",
    source=ROUND_ROBIN,
    proved_by=[caught("starves-one", "`together < alone * 2 / 3")],
)
def test_three_workers_drain_a_backlog_faster_than_one(stage, workers):
    def time_to_drain(count):
        backlog = stage.declare()
        tasks = stage.publish(*(f"task {n}..." for n in range(1, 10)), queue=backlog)
        team = workers(count, queue=backlog, prefetch=1, dot=0.1)
        claim(f"{count} workers drain it", lambda: sum(len(each.done) for each in team) == len(tasks), within=12)
        starts = [delivery.at for each in team for delivery in each.received]
        return max(each.finished_at(task) for each in team for task in each.done) - min(starts)

    alone, together = time_to_drain(1), time_to_drain(3)

    stage.evidence.proof("workers", f"drained it in {alone:.2f} s alone, in {together:.2f} s as three")
    assert together < alone * 2 / 3


@guarantee(
    "dispatch.late-worker-helps",
    "With a prefetch limit, a worker that joins late gets a share of the backlog at once.",
    source=TUTORIAL_2.section("fair-dispatch"),
    counter_example="dispatch.late-worker-is-left-out",
    proved_by=[caught("ignores-prefetch", "worker 2 receives ['task 2']")],
)
def test_with_prefetch_a_late_worker_gets_work(workers, publish):
    tasks = publish(*(f"task {n}" for n in range(1, 11)))
    [early] = workers(1, prefetch=1, hold=True)
    early.wait_until_started(tasks[0])

    [late] = workers(1, prefetch=1, hold=True)

    late.receives(tasks[1])


@hazard(
    "dispatch.late-worker-is-left-out",
    "Without a prefetch limit, a backlog that was already sent to one worker is not shared with a worker that joins "
    "late.",
    source=TUTORIAL_2.section("fair-dispatch"),
    proved_by=[caught("lowers-prefetch", "worker 1 receives ['task 1', 'task 2', 'task 3', 'task 4', 'task 5")],
)
def test_without_prefetch_a_late_worker_gets_nothing_of_the_backlog(queue, workers, publish):
    backlog = publish(*(f"task {n}" for n in range(1, 21)))
    [early] = workers(1, hold=True)
    early.receives(*backlog)

    [late] = workers(1, hold=True)

    # Of two new tasks one reaches it at once: it is up, and it is not by chance that it got nothing of the backlog.
    new = publish("new task 1", "new task 2")
    claim("a new task reaches the late worker", lambda: late.tasks)
    assert early.tasks[:20] == backlog
    assert set(late.tasks) <= set(new)
    assert queue.ready() == 0
