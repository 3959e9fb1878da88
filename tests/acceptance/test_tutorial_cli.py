"""The tutorial's two programs, as a user runs them: real processes, real signals, a real broker."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit, urlunsplit

import pika
import pytest

PATIENCE = 20.0
WAITING = " [*] Waiting for messages. To exit press CTRL+C"


def with_query(url, query):
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=query))


def with_login(url, login):
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port or 5672}"))


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_the_tutorials_transcript(run, queue, kind):
    worker = run("worker", "--queue", queue, "--queue-type", kind, "--dot", "0.1")
    worker.expect(WAITING)

    task = run("new-task", "--queue", queue, "--queue-type", kind, "First", "message.")

    assert task.exit_code() == 0
    assert task.lines == [" [x] Sent 'First message.'"]
    worker.expect(" [x] Done")
    assert worker.lines == [WAITING, " [x] Received 'First message.'", " [x] Done"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], "'Hello World!'"),
        (["It's"], '"It\'s"'),
        (["Grüße", "an", "你好"], "'Grüße an 你好'"),
        (["--", "--like", "-options"], "'--like -options'"),
        ([os.fsdecode(b"no UTF-8: \xff")], "'no UTF-8: \\udcff'"),
    ],
    ids=["none", "quote", "unicode", "dashes", "bytes"],
)
def test_any_text_arrives_as_it_was_sent(run, queue, words, shown):
    task = run("new-task", "--queue", queue, *words, PYTHONUTF8="1")
    assert task.exit_code() == 0, task.errors
    assert task.lines == [f" [x] Sent {shown}"]

    run("worker", "--queue", queue, PYTHONUTF8="1").expect(f" [x] Received {shown}")


@pytest.mark.parametrize("words", [[""], ["", ""]], ids=len)
def test_a_variable_that_is_not_set_is_no_task(run, queue, channel, words):
    program = run("new-task", "--queue", queue, *words)

    assert program.exit_code() == 3
    assert "The task is empty: is a variable in it not set?" in " ".join(program.errors.split())
    assert program.lines == []
    assert channel.queue_declare(queue, durable=True).method.message_count == 0, "nothing was sent"


def test_a_dot_takes_as_long_as_asked_for(run, queue):
    assert run("new-task", "--queue", queue, "....").exit_code() == 0
    began = time.monotonic()
    worker = run("worker", "--queue", queue, "--dot", "0.25")
    worker.expect(" [x] Received '....'")
    started = time.monotonic()

    worker.expect(" [x] Done")

    done = time.monotonic()
    assert done - began >= 1
    assert done - started < 3.5  # four seconds, if it were not asked for


@pytest.mark.parametrize("kind", ["classic", "quorum"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_finishes_the_task_in_hand_and_hands_back_the_rest(run, queue, get_when_ready, channel, number, kind):
    # Given a worker that holds three tasks and works on the first,
    options = ("--queue", queue, "--queue-type", kind)
    for text in ("first.", "second", "third"):
        assert run("new-task", *options, text).exit_code() == 0
    worker = run("worker", *options, "--prefetch", "3", "--dot", "3")
    worker.expect(" [x] Received 'first.'")

    # When it is told to stop,
    worker.process.send_signal(number)

    # I expect the first to be done and acknowledged, and the others back in the queue in their order.
    assert worker.exit_code() == 0, worker.errors
    assert worker.lines == [WAITING, " [x] Received 'first.'", " [x] Done"]
    assert worker.errors == ""
    left = [get_when_ready(queue)[2] for _ in range(2)]
    assert left == [b"second", b"third"]
    assert channel.basic_get(queue) == (None, None, None)


def test_a_worker_that_stops_takes_no_further_task(run, queue, get_when_ready):
    assert run("new-task", "--queue", queue, "first.").exit_code() == 0
    assert run("new-task", "--queue", queue, "second").exit_code() == 0
    worker = run("worker", "--queue", queue)
    worker.expect(" [x] Received 'first.'")

    worker.process.send_signal(signal.SIGTERM)

    assert worker.exit_code() == 0
    method, _, body = get_when_ready(queue)
    assert (body, method.redelivered) == (b"second", False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_leaves_at_once_and_the_task_comes_back(run, queue, get_when_ready, number):
    assert run("new-task", "--queue", queue, "forever" + "." * 600).exit_code() == 0
    worker = run("worker", "--queue", queue)
    worker.expect(f" [x] Received 'forever{'.' * 600}'")

    # Signals of a kind do not queue up, so a second one counts once the first was taken: repeat it.
    deadline = time.monotonic() + PATIENCE
    while worker.process.poll() is None and time.monotonic() < deadline:
        worker.process.send_signal(number)
        time.sleep(0.1)

    assert worker.exit_code() == -number
    method, _, body = get_when_ready(queue)
    assert body.startswith(b"forever")
    assert method.redelivered


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_an_idle_worker_at_once(run, queue, number):
    worker = run("worker", "--queue", queue)
    worker.expect(WAITING)
    started = time.monotonic()

    worker.process.send_signal(number)

    assert worker.exit_code() == 0
    assert time.monotonic() - started < 10


def test_heartbeats_are_answered_during_a_task_that_is_longer(run, url, queue):
    # The broker closes a connection that is silent for two of the heartbeats agreed on.
    assert run("new-task", "--queue", queue, ".....").exit_code() == 0
    worker = run("worker", "--queue", queue, url=with_query(url, "heartbeat=1"))
    worker.expect(" [x] Done")

    assert run("new-task", "--queue", queue, "next").exit_code() == 0
    worker.expect(" [x] Received 'next'")

    assert worker.lines.count(" [x] Received '.....'") == 1


@pytest.mark.parametrize("arguments", [{}, {"x-queue-type": "classic"}, {"x-queue-type": "quorum"}])
def test_the_programs_of_any_tutorial_share_the_queue(run, queue, channel, arguments):
    # The tutorial of 2019 gives no type, that of today says quorum.
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.basic_publish("", queue, b"from the tutorial's new_task.py")

    worker = run("worker", "--queue", queue)
    worker.expect(' [x] Received "from the tutorial\'s new_task.py"')

    assert run("new-task", "--queue", queue, "ours").exit_code() == 0
    worker.expect(" [x] Received 'ours'")


@pytest.mark.parametrize("command", ["worker", "new-task"])
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            {"x-queue-type": "classic", "x-message-ttl": 60000},
            ["--queue-type", "classic"],
            "inequivalent arg 'x-message-ttl' for queue {queue!r} in vhost '/': received none but current is",
        ),
        (
            {"x-queue-type": "quorum"},
            ["--queue-type", "classic"],
            "inequivalent arg 'x-queue-type' for queue {queue!r} ",
        ),
    ],
    ids=["ttl", "type"],
)
def test_a_queue_with_other_properties_is_told_and_left_alone(
    run, queue, get_when_ready, channel, command, arguments, options, message
):
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.basic_publish("", queue, b"precious")

    program = run(command, "--queue", queue, *options)

    assert program.exit_code() == 1
    assert f"Error: the broker refused: 406 PRECONDITION_FAILED - {message.format(queue=queue)}" in program.errors
    assert "Hint: " in program.errors
    assert "Traceback" not in program.errors
    assert get_when_ready(queue)[2] == b"precious"


@pytest.mark.parametrize("command", [["worker"], ["new-task", "task"], ["new-task", "-"]], ids=" ".join)
def test_a_queue_is_not_its_own_dead_letter_queue(run, queue, channel, command):
    program = run(*command, "--queue", queue, "--dead-letter", queue)

    assert program.exit_code() == 3
    assert f"The queue {queue!r} cannot be its own dead letter queue" in " ".join(program.errors.split())
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="404"):  # it was not made, either
        channel.queue_declare(queue, passive=True)


@pytest.mark.parametrize("command", ["worker", "new-task"])
def test_wrong_credentials_fail_at_once_and_show_no_password(run, url, queue, command):
    program = run(command, "--queue", queue, url=with_login(url, "nobody:hunter2"))

    assert program.exit_code() == 3
    assert "Error: the broker refused access to amqp://nobody:***@" in program.errors
    assert "ACCESS_REFUSED - Login was refused" in program.errors
    assert "hunter2" not in program.errors
    assert "Traceback" not in program.errors


@pytest.mark.parametrize("command", ["worker", "new-task"])
@pytest.mark.parametrize(
    ("bad_url", "message"),
    [
        ("amqp://me:hunter2/@127.0.0.1/%2F", "not a broker URL like amqp://"),
        ("http://me:hunter2@127.0.0.1/", "not a broker URL like amqp://"),
        ("amqp://me:hunter2@127.0.0.1/?heart=1", "the part of the URL after ? cannot be used: "),
    ],
    ids=["malformed", "scheme", "query"],
)
def test_a_url_that_cannot_be_used_is_told(run, command, bad_url, message):
    program = run(command, url=bad_url)

    assert program.exit_code() == 3
    assert f"Error: {message}" in program.errors
    assert "Hint: " in program.errors
    assert "hunter2" not in program.errors
    assert "Traceback" not in program.errors


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"], ids=["refused", "unresolvable"])
def test_no_broker_to_be_had_is_told_within_seconds(run, host):
    # A machine whose name servers do not answer would wait for each of them several times.
    task = run("new-task", url=f"amqp://me:hunter2@{host}/%2F", RES_OPTIONS="timeout:1 attempts:1")
    worker = run("worker", url=f"amqp://me:hunter2@{host}/%2F", RES_OPTIONS="timeout:1 attempts:1")

    # A task cannot be sent, and that is that.
    assert task.exit_code() == 3
    assert f"Error: cannot connect to amqp://me:***@{host}/%2F: " in task.errors

    # A worker tries again, until it is told to stop.
    worker.expect_error(f"Warning: cannot connect to amqp://me:***@{host}/%2F: ")
    worker.expect_error("trying again in ")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0
    for program in (task, worker):
        assert "Hint: " in program.errors
        assert "hunter2" not in program.errors
        assert "Traceback" not in program.errors


def test_a_deleted_queue_is_made_again(run, queue, channel):
    worker = run("worker", "--queue", queue)
    worker.expect(WAITING)

    channel.queue_delete(queue)

    worker.expect_error(f"Warning: the broker ended the subscription to queue {queue!r}; trying again in ")
    worker.expect_error("Connected to amqp://")
    assert run("new-task", "--queue", queue, "after").exit_code() == 0
    worker.expect(" [x] Received 'after'")


@contextlib.contextmanager
def useless_output(kind):
    """A descriptor for standard output that takes nothing: of a pipe that nobody reads, of a disk that is full."""
    if kind == "closed":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open("/dev/full", os.O_WRONLY)
    yield write
    os.close(write)


USELESS = pytest.mark.parametrize(
    ("kind", "why"), [("closed", "Broken pipe"), ("full", "No space left on device")], ids=["closed", "full"]
)


@USELESS
def test_a_worker_whose_output_goes_nowhere_leaves_its_task_to_another(
    run, started, queue, url, get_when_ready, kind, why
):
    assert run("new-task", "--queue", queue, "task").exit_code() == 0
    arguments = [sys.executable, "-m", "workqueue", "worker", "--queue", queue, "--url", url]
    with useless_output(kind) as output:
        worker = started(arguments, stdout=output, stderr=subprocess.PIPE, text=True)

    # I expect it to leave, to say why, and its task to be there for another.
    _, errors = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 1
    assert errors.startswith(f"Error: standard output cannot be written to: {why}. So this worker ends, ")
    assert errors.count("\n") == 1
    assert get_when_ready(queue)[2] == b"task"


@USELESS
@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["a", "task"], "The task is in the queue: 'a task'"), (["-"], "Sent 1 task in ")],
    ids=["words", "lines"],
)
def test_a_task_that_is_in_the_queue_is_told_where_it_can_be(
    started, queue, url, get_when_ready, channel, kind, why, arguments, said
):
    command = [sys.executable, "-m", "workqueue", "new-task", "--queue", queue, "--url", url, *arguments]
    with useless_output(kind) as output:
        program = started(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.PIPE, text=True)

    _, errors = program.communicate("a task\n", timeout=PATIENCE)

    # A status that says "it failed" would have a script send it again.
    assert program.returncode == 0, errors
    assert errors.startswith(f"Warning: standard output cannot be written to: {why}. {said}")
    assert errors.count("\n") == 1
    assert get_when_ready(queue)[2] == b"a task"
    assert channel.basic_get(queue) == (None, None, None)


@pytest.mark.parametrize(
    "arguments",
    [["worker", "--prefetch", "0"], ["worker", "--dot", "-1"], ["new-task", "--nonsense"], ["nonsense"]],
    ids=" ".join,
)
def test_wrong_usage_is_told_with_code_3(run, arguments):
    program = run(*arguments)

    assert program.exit_code() == 3
    assert "Usage: workqueue" in program.errors


@pytest.mark.parametrize("arguments", [["--help"], ["worker", "--help"], ["new-task", "--help"]], ids=" ".join)
def test_help_teaches_by_example(run, arguments):
    program = run(*arguments)

    assert program.exit_code() == 0
    assert "Examples:" in "\n".join(program.lines)
    assert "Exit codes:" in "\n".join(program.lines)


def test_without_click_it_says_what_to_install():
    script = "import sys; sys.modules['click'] = None; from workqueue.cli import main; main()"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)

    assert done.returncode == 3
    assert "pip install 'workqueue-guarantees[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
