"""The tutorial's programs: a work queue "to distribute time-consuming tasks among multiple workers"."""

import time

from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import TUTORIAL_2
from workqueue.guarantee.waiting import claim

PREPARATION = TUTORIAL_2.section("preparation")
DOT = 0.5  # seconds
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
        caught("corrupts-bodies", "workqueue worker (1) prints \" [x] Received 'Hello..."),
        caught("mutant:work-skipped", "prints \" [x] Received 'Hello...'\": not within"),
    ],
)
def test_every_dot_is_a_second_of_work(stage, queue, publish):
    worker = stage.start("worker", *to(queue), "--dot", str(DOT))
    worker.wait_until_printed(WAITING)

    began = time.monotonic()
    publish("Hello...", "Hello")

    seconds, ends = [], []
    for task in ("Hello...", "Hello"):
        received = worker.prints(f" [x] Received '{task}'")
        done = claim(
            f"{task} is done",
            lambda since=received: next(
                (line for line in worker.lines if line.at >= since.at and line.text == " [x] Done"), None
            ),
        )
        seconds.append((done.at - received.at) / DOT)
        ends.append((done.at - began) / DOT)
    stage.evidence.proof("worker", f"Hello... took {seconds[0]:.1f} s, Hello {seconds[1]:.1f} s")
    assert ends[0] >= 3
    # As far as a busy machine lets us see when a line was printed.
    assert seconds[0] < 6
    assert seconds[1] < 2.5


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
