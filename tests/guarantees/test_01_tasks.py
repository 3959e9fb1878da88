"""The tutorial's programs: a work queue "to distribute time-consuming tasks among multiple workers"."""

import math
import time

from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import TUTORIAL_2
from workqueue.guarantee.waiting import HARNESS_PATIENCE, claim

PREPARATION = TUTORIAL_2.section("preparation")
DOT = 0.5  # seconds
ROUNDS = 3
WAITING = " [*] Waiting for messages. To exit press CTRL+C"


def to(queue):
    """The options that make the programs use the queue under test."""
    return ["--queue", queue.name, "--queue-type", queue.arguments["x-queue-type"]]


@guarantee(
    "tasks.any-text",
    "Arbitrary messages can be sent from the command line: the words after the program's name are the task.",
    source=PREPARATION,
    proved_by=[
        caught("corrupts-bodies", "in the queue are ['Überprüfe the résumé... --no?']"),
        caught("mutant:text-as-ascii", "in the queue are ['?berpr?fe the r?sum?... --now']"),
        caught("mutant:send-twice", "in the queue are ['Überprüfe the résumé... --now', 'Überprüfe"),
    ],
)
def test_any_text_from_the_command_line_is_a_task(stage, queue):
    sent = stage.run("new-task", *to(queue), "Überprüfe", "the", "résumé...", "--", "--now")

    assert sent.output == " [x] Sent 'Überprüfe the résumé... --now'\n"
    in_queue = [each.task for each in queue.drain()]
    assert in_queue == ["Überprüfe the résumé... --now"], f"in the queue are {in_queue}"


@guarantee(
    "tasks.hello-world-by-default",
    'Without any words, the task is "Hello World!".',
    source=PREPARATION,
    proved_by=[
        caught("corrupts-bodies", "in the queue are ['Hello World?']"),
        caught("mutant:send-twice", "in the queue are ['Hello World!', 'Hello World!']"),
    ],
)
def test_hello_world_is_the_default(stage, queue):
    sent = stage.run("new-task", *to(queue))

    assert sent.output == " [x] Sent 'Hello World!'\n"
    in_queue = [each.task for each in queue.drain()]
    assert in_queue == ["Hello World!"], f"in the queue are {in_queue}"


@guarantee(
    "tasks.a-dot-is-a-second",
    "Every dot in a task accounts for one second of work: Hello... takes three. (Here a second is compressed to 0.5.)",
    source=PREPARATION,
    proved_by=[
        caught("mutant:half-the-time", "`from_publish >= 3"),
        caught("mutant:twice-the-time", "`three_dots < 4"),
        caught("mutant:always-a-second", "`no_dots < 1"),
    ],
)
def test_every_dot_is_a_second_of_work(stage, queue, publish):
    worker = stage.start("worker", *to(queue), "--dot", str(DOT))
    worker.wait_until_printed(WAITING)

    three_dots = no_dots = math.inf
    # A busy machine makes a task longer, and not each time: of a few, the shortest counts. One is enough if it is good.
    for _ in range(ROUNDS):
        _, seen = done_in(worker, publish, "Hello")
        no_dots = min(no_dots, seen)
        from_publish, seen = done_in(worker, publish, "Hello...")
        assert from_publish >= 3
        three_dots = min(three_dots, seen)
        if three_dots < 4 and no_dots < 1:
            break

    stage.evidence.proof("worker", f"Hello... took {three_dots:.1f} s, Hello {no_dots:.1f} s")
    assert three_dots < 4
    assert no_dots < 1


def done_in(worker, publish, task):
    """Seconds, compressed, until a task is done: since it was published, and since it was seen to be received."""
    before, published = len(worker.lines), time.monotonic()
    publish(task)
    claim(f"{task} is received and done", lambda: len(worker.lines) >= before + 2, within=HARNESS_PATIENCE)
    received, done = worker.lines[before : before + 2]
    assert (received.text, done.text) == (f" [x] Received {task!r}", " [x] Done")
    return (done.at - published) / DOT, (done.at - received.at) / DOT


@guarantee(
    "tasks.shared-between-workers",
    "When you run many workers the tasks will be shared between them.",
    source=TUTORIAL_2.section("overview"),
    proved_by=[
        caught("starves-one", "each worker does one task"),
        caught("mutant:work-skipped", "each worker does one task: not within"),
    ],
)
def test_tasks_are_shared_between_workers(stage, queue, publish):
    first, second = (stage.start("worker", *to(queue), "--dot", "0.2") for _ in range(2))
    for worker in (first, second):
        worker.wait_until_printed(WAITING)

    publish("First message.", "Second message.")

    def done():
        return [worker.output.count(" [x] Done") for worker in (first, second)]

    claim("each worker does one task", lambda: done() == [1, 1])
