"""The parts of the command line that need no broker and no process."""

import os
import socket
import subprocess
import threading

import click
import pytest

from workqueue import ConnectionFailed, ConnectionLost, Message, Queue, TopologyMismatch
from workqueue.cli import _sending
from workqueue.cli._lifeline import RETRYING, SUBSCRIBED, Lifeline
from workqueue.cli._options import Wanted, with_queue
from workqueue.cli._processes import Supervisor, how_it_ended
from workqueue.cli._sending import Sending, Shown, ranges
from workqueue.cli._telling import Telling
from workqueue.events import Blocked, Connected, Disconnected, Subscribed, TaskStarted
from workqueue.observe.hints import hint_for

WAITING = " [*] Waiting for messages. To exit press CTRL+C\n"
LOST = ConnectionLost("the connection to amqp://rabbit was lost")
TASK = Message(b"body", "tasks")


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([7], "7"), ([1, 2, 3], "1-3"), ([9, 1, 3, 2], "1-3, 9"), ([1, 3, 5, 6], "1, 3, 5-6")],
)
def test_numbers_are_written_as_people_write_them(numbers, text):
    assert ranges(numbers) == text


def mismatch(queue, argument="x-queue-type"):
    said = f"inequivalent arg '{argument}' for queue '{queue}' in vhost '/': received 'quorum' but current is 'classic'"
    return TopologyMismatch(406, f"PRECONDITION_FAILED - {said}")


def wanted(**options):
    return Wanted(**{"queue": "tasks", "queue_type": None, "dead_letter": None, "delivery_limit": None} | options)


def existing(*refused, argument="x-queue-type"):
    """What a broker would say that has these queues as classic ones."""

    def use(queue):
        tried.append(queue)
        for each in queue.with_dead_letters():
            if each.name in refused and each.type == "quorum":
                raise mismatch(each.name, argument)
        return queue

    tried: list[Queue] = []
    return use


def test_a_queue_of_the_other_type_is_used_as_it_is():
    assert with_queue(wanted(), existing("tasks")) == Queue("tasks", "classic")
    assert with_queue(wanted(dead_letter="dead"), existing("dead")) == Queue(
        "tasks", dead_letter=Queue("dead", "classic")
    )
    assert with_queue(wanted(dead_letter="dead"), existing("tasks", "dead")) == Queue(
        "tasks", "classic", dead_letter=Queue("dead", "classic")
    )


@pytest.mark.parametrize(
    ("options", "use"),
    [
        ({"queue_type": "quorum"}, existing("tasks")),
        ({"delivery_limit": 3}, existing("tasks")),
        ({}, existing("tasks", argument="x-max-length")),
    ],
    ids=["type-asked-for", "only-quorum-has-a-limit", "other-argument"],
)
def test_a_queue_that_is_not_as_asked_for_is_told(options, use):
    with pytest.raises(TopologyMismatch):
        with_queue(wanted(**options), use)


# The texts are those of RabbitMQ 3.10 to 4.3.
@pytest.mark.parametrize(
    "said",
    [
        "received the value 'quorum' of type 'longstr' but current is none",
        "received 'quorum' but current is 'classic'",
    ],
)
@pytest.mark.parametrize("name", ["tasks", "it's", "a\nb", "'' for queue ''", "q' in vhost 'v': received 'x'"])
def test_which_queue_is_of_another_type_is_read_from_whatever_the_broker_says(said, name):
    def use(queue):
        if queue.type == "quorum":
            problem = f"inequivalent arg 'x-queue-type' for queue '{name}' in vhost '/': {said}"
            raise TopologyMismatch(406, f"PRECONDITION_FAILED - {problem}")
        return queue

    assert with_queue(wanted(queue=name), use) == Queue(name, "classic")


def test_a_queue_that_is_neither_is_told_and_not_asked_for_again():
    asked = []

    def use(queue):
        asked.append(queue.type)
        raise mismatch("tasks")

    with pytest.raises(TopologyMismatch):
        with_queue(wanted(), use)
    assert asked == ["quorum", "classic"]


def test_a_queue_that_cannot_be_is_wrong_usage():
    with pytest.raises(click.UsageError, match="1 to 255 bytes"):
        with_queue(wanted(dead_letter="x" * 256), existing())


def test_trouble_is_told_in_lines_with_each_hint_once(capsys):
    tell = Telling()
    failed = ConnectionFailed("cannot connect to amqp://rabbit")
    for event in (Disconnected(failed, "worker", 0.25), Disconnected(failed, "worker", 2.0)):
        tell(event)
    tell(Connected("amqp://rabbit", "worker"))
    tell(Subscribed("tasks", 1))
    tell(Disconnected(LOST, "worker", 0.1))
    tell(Connected("amqp://rabbit", "worker"))
    tell(Subscribed("tasks", 1))

    told = capsys.readouterr()
    assert told.out == WAITING
    assert told.err.splitlines() == [
        "Warning: cannot connect to amqp://rabbit; trying again in 0.2 s.",
        f"Hint: {hint_for(failed)}",
        "Warning: cannot connect to amqp://rabbit; trying again in 2.0 s.",
        "Connected to amqp://rabbit.",
        "Warning: the connection to amqp://rabbit was lost; trying again in 0.1 s.",
        f"Hint: {hint_for(LOST)}",
        "Connected to amqp://rabbit.",
    ]


def test_a_task_may_come_before_the_news_that_tasks_can_arrive(capsys):
    tell = Telling()
    tell(TaskStarted(TASK))
    tell(Subscribed("tasks", 1))

    assert capsys.readouterr().out == WAITING


def test_what_ends_the_worker_is_for_whoever_runs_it_to_tell(capsys):
    Telling()(Disconnected(LOST, "worker", None))

    assert capsys.readouterr() == ("", "")


def test_an_alarm_of_the_broker_is_told(capsys):
    tell = Telling()
    tell(Blocked("low on memory", "worker"))
    tell(Blocked(None, "worker"))

    assert capsys.readouterr().err.splitlines() == [
        "Warning: the broker does not read from this connection: low on memory.",
        "The broker reads from this connection again.",
    ]


@pytest.mark.parametrize(
    ("status", "how"),
    [(1, "ended with status 1"), (-9, "was killed by SIGKILL"), (-99, "was killed by signal 99")],
)
def test_how_a_process_ended_is_told_in_words(status, how):
    assert how_it_ended(status) == how


def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch):
    # Given a machine that has no room for a process at first,
    told = []
    popen = subprocess.Popen

    def start(*arguments, **options):
        if not told:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return popen(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    supervisor = Supervisor([["--handler=nonsense"]], os.environ, shutdown_timeout=1.0, tell=told.append)

    # I expect it to be started later; its options are wrong, which ends all.
    assert supervisor.run() == 3
    first, second = told
    assert (first.pid, first.how) == (None, "cannot be started: [Errno 11] Resource temporarily unavailable")
    assert first.restart_in is not None
    assert (second.how, second.restart_in) == ("ended with status 3", None)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    lifeline = Lifeline(theirs.detach())
    with ours:
        yield ours, lifeline
    lifeline._socket.close()


def test_a_lifeline_tells_how_far_the_worker_is(ends):
    ours, lifeline = ends
    lifeline(Disconnected(LOST, "worker", 1.0))
    lifeline(Subscribed("tasks", 1))
    lifeline(Disconnected(LOST, "worker", None))  # it ends, which its exit status says

    assert ours.recv(10) == RETRYING + SUBSCRIBED


@pytest.mark.parametrize("heard", [True, False])
def test_a_worker_stops_when_its_supervisor_is_gone_heard_or_not(ends, heard):
    ours, lifeline = ends
    stopped = threading.Event()
    lifeline(Subscribed("tasks", 1))
    if heard:
        ours.recv(10)

    lifeline.follow(stopped.set)
    assert not stopped.is_set()
    ours.close()

    assert stopped.wait(10)


def test_a_lifeline_is_of_no_use_and_no_trouble_when_nobody_is_there(ends):
    ours, lifeline = ends
    ours.close()

    lifeline(Subscribed("tasks", 1))


def test_elsewhere_than_on_a_terminal_progress_is_a_line_now_and_then(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(_sending, "_SECONDS_ELSEWHERE", 0.0)
    with (tmp_path / "lines").open("wb+") as lines, Shown(lines) as shown:
        sending = Sending(lines, None, None)
        sending.read, sending.skipped, sending.confirmed = 2_005, 5, 1_500
        shown(sending)

    assert capsys.readouterr().err.startswith("2,000 sent, 1,500 confirmed (")


def test_progress_is_not_told_all_the_time(tmp_path, capsys):
    with (tmp_path / "lines").open("wb+") as lines, Shown(lines) as shown:
        shown(Sending(lines, None, None))

    assert capsys.readouterr().err == ""
