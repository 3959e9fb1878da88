"""`workqueue new-task -`: a task for each line of standard input."""

import contextlib
import itertools
import re
import signal
import socket
import subprocess

import pytest
from pika.spec import Basic

from workqueue.guarantee.waiting import PATIENCE
from workqueue.wire.liar import Liar, from_broker
from workqueue.wire.proxy import Proxy


@pytest.fixture
def queue(queue, channel):
    """A queue that is there."""
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    return queue


@pytest.fixture
def bodies(channel):
    """Returns all that is in a queue."""

    def get(queue):
        count = channel.queue_declare(queue, passive=True).method.message_count
        deliveries = channel.consume(queue, auto_ack=True, inactivity_timeout=PATIENCE) if count else ()
        found = [body for _, _, body in itertools.islice(deliveries, count)]
        channel.cancel()
        assert channel.basic_get(queue)[0] is None, f"there are more than {count}"
        return found

    return get


@pytest.fixture
def send(run, queue, tmp_path):
    """Run `new-task -` on these bytes."""

    def send(content, *options):
        path = tmp_path / "lines"
        path.write_bytes(content)
        with path.open("rb") as lines:
            return run("new-task", "--queue", queue, *options, "-", stdin=lines)

    return send


def sent(program):
    """The number in the summary, which is all that is written to standard output."""
    [line] = program.lines
    found = re.fullmatch(r"Sent ([\d,]+) tasks? in [\d.]+ s \([\d,]+ a second\)(, skipped [\d,]+ empty lines)?", line)
    assert found, line
    return int(found[1].replace(",", ""))


def test_ten_thousand_lines_are_ten_thousand_tasks_in_their_order(send, queue, bodies):
    lines = [f"task {number}".encode() for number in range(10_000)]

    program = send(b"\n".join(lines) + b"\n")

    assert program.exit_code() == 0, program.errors
    assert sent(program) == 10_000
    assert program.errors == ""
    assert bodies(queue) == lines


def test_bytes_come_as_they_are_and_empty_lines_do_not(send, queue, bodies):
    program = send(b"caf\xc3\xa9\nno UTF-8 \xff\n\n  spaces \r\n\x00\n\nlast, without a newline")

    assert program.exit_code() == 0, program.errors
    assert sent(program) == 5
    assert program.lines[0].endswith(", skipped 2 empty lines")
    assert bodies(queue) == [b"caf\xc3\xa9", b"no UTF-8 \xff", b"  spaces \r", b"\x00", b"last, without a newline"]


def test_nothing_is_nothing(send, queue, channel):
    channel.queue_delete(queue)

    program = send(b"")

    assert program.exit_code() == 0
    assert sent(program) == 0
    assert ready(channel, queue) == 0, "it was declared all the same"


def test_lines_are_sent_as_they_come(run, queue, get_when_ready):
    program = run("new-task", "--queue", queue, "-", stdin=subprocess.PIPE)
    program.process.stdin.write("first\n")
    program.process.stdin.flush()

    assert get_when_ready(queue)[2] == b"first"

    program.process.stdin.close()
    assert program.exit_code() == 0
    assert sent(program) == 1


def numbers(program, what):
    """The numbers of the lines of which standard error says this."""
    found = re.search(rf"^([\d,]+) tasks? {what}: line (.*)$", program.errors, re.MULTILINE)
    if found is None:
        return []
    listed = []
    for part in found[2].split(", "):
        first, _, last = part.partition("-")
        listed += range(int(first), int(last or first) + 1)
    assert len(listed) == int(found[1].replace(",", ""))
    return listed


def test_it_stops_when_the_broker_declines_and_says_which_are_in(
    send, workqueue_stage, workqueue_queue, workqueue_queue_type
):
    # Given a queue that is soon full, and more lines than may wait for their confirmation at a time,
    lines = [f"{number}".encode() for number in range(1, 20_001)]

    with workqueue_stage.operator.policy(workqueue_queue, max_length=10, overflow="reject-publish"):
        program = send(b"\n".join(lines), "--queue", workqueue_queue.name, "--queue-type", workqueue_queue_type)
        code = program.exit_code()

    # I expect the account to be that of the queue, and the rest not to have been tried.
    assert code == 1
    assert "Error: the broker refused a message for queue " in program.errors
    rest = int(re.search(r"^From line (\d+) on, nothing was sent\.$", program.errors, re.MULTILINE)[1])
    assert rest < 20_000
    declined = numbers(program, "not in the queue")
    assert len(declined) + sent(program) == rest - 1
    kept = [int(message.task) for message in workqueue_queue.drain()]
    assert kept == [number for number in range(1, rest) if number not in set(declined)]


class CountsConfirms(Liar):
    """Lies about nothing, and knows how many confirms have passed."""

    def __init__(self):
        super().__init__()
        self.confirms = 0

    @from_broker(Basic.Ack)
    def ack(self, channel, command):
        self.confirms += 1
        return [command]


@pytest.fixture
def wire(workqueue_broker):
    with Proxy.to(workqueue_broker.url, CountsConfirms()) as proxy:
        yield proxy


def test_what_nobody_knows_of_is_told(run, workqueue_stage, queue, channel, wire, wait_for):
    program = run("new-task", "--queue", queue, "-", stdin=subprocess.PIPE, url=workqueue_stage.url(proxy=wire))

    def give(line, count):
        program.process.stdin.write(f"{line}\n")
        program.process.stdin.flush()
        wait_for(lambda: ready(channel, queue) == count, f"{line} is in the queue")

    give("one", 1)
    wait_for(lambda: wire.liar.confirms == 1, "its confirm has passed")
    wire.lose_answers()
    give("two", 2)
    give("three", 3)
    wire.cut()
    program.process.stdin.write("four\n")
    program.process.stdin.close()

    assert program.exit_code() == 1
    assert sent(program) == 1
    unknown = numbers(program, "in the queue or not, nobody knows which")
    assert unknown[:2] == [2, 3]
    # Whether it had noticed when it read the fourth is a race; in each case it says of it what is so.
    untried = "From line 4 on, nothing was sent." in program.error_lines
    assert [*unknown[2:], *numbers(program, "not in the queue"), *([4] if untried else [])] == [4]
    assert "Error: not confirmed: " in program.errors


def ready(channel, queue):
    """How many messages wait in a queue."""
    return channel.queue_declare(queue, passive=True).method.message_count


STOPS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


@STOPS
def test_interrupted_it_says_how_far_it_came(run, queue, channel, wait_for, number):
    program = run("new-task", "--queue", queue, "-", stdin=subprocess.PIPE)
    program.process.stdin.write("one\ntwo\n\nthree\n")
    program.process.stdin.flush()
    wait_for(lambda: ready(channel, queue) == 3, "three are in the queue")

    program.process.send_signal(number)

    assert program.exit_code() == 130
    assert sent(program) == 3
    assert program.errors == "From line 5 on, nothing was sent.\n"


@STOPS
def test_interrupted_in_the_middle_of_sending_its_account_is_that_of_the_queue(
    run, started, queue, channel, wait_for, number
):
    with started(["yes"], stdout=subprocess.PIPE) as yes:
        program = run("new-task", "--queue", queue, "-", stdin=yes.stdout)
        wait_for(lambda: ready(channel, queue) > 100, "it sends")
        # As timeout(1) does, to the command and to its group: those are one interrupt, not two.
        program.process.send_signal(number)
        program.process.send_signal(number)

        assert program.exit_code() == 130
        yes.kill()
    assert sent(program) == ready(channel, queue)
    assert program.errors == f"From line {sent(program) + 1} on, nothing was sent.\n"


def test_interrupted_again_it_waits_no_longer_for_what_is_not_confirmed(
    run, workqueue_stage, queue, channel, wire, wait_for
):
    program = run("new-task", "--queue", queue, "-", stdin=subprocess.PIPE, url=workqueue_stage.url(proxy=wire))
    program.process.stdin.write("one\n")
    program.process.stdin.flush()
    wait_for(lambda: wire.liar.confirms == 1, "its confirm has passed")
    wire.lose_answers()
    program.process.stdin.write("two\nthree\n")
    program.process.stdin.flush()
    wait_for(lambda: ready(channel, queue) == 3, "all are in the queue")

    program.process.send_signal(signal.SIGTERM)
    program.expect_error("The broker has not answered yet for 2 of the tasks.")
    program.process.send_signal(signal.SIGTERM)

    assert program.exit_code() == 130
    assert sent(program) == 1
    assert numbers(program, "in the queue or not, nobody knows which") == [2, 3]
    assert program.error_lines[-1] == "From line 4 on, nothing was sent."


@contextlib.contextmanager
def ignored(number):
    """What is started meanwhile has this signal ignored, as what a shell starts in the background has SIGINT."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


@STOPS
def test_interrupted_before_it_is_connected_it_leaves_at_once(run, number):
    # Given somebody who takes connections and says nothing,
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        with ignored(number):
            url = f"amqp://me:hunter2@127.0.0.1:{silent.getsockname()[1]}/%2F"
            program = run("new-task", "-", stdin=subprocess.PIPE, url=url)
        with silent.accept()[0]:
            program.process.send_signal(number)

            assert program.exit_code() == 130
    assert sent(program) == 0
    assert program.errors == "From line 1 on, nothing was sent.\n"


def test_interrupted_while_it_starts_in_the_background_it_does_not_go_on(run, tmp_path, wait_for):
    # Given a command that is only just being imported,
    begun = tmp_path / "begun"
    (tmp_path / "pika.py").write_text(f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(600)\n")
    with ignored(signal.SIGINT):
        program = run("new-task", "-", stdin=subprocess.PIPE, PYTHONPATH=str(tmp_path))
    wait_for(begun.exists, "pika is imported")

    program.process.send_signal(signal.SIGINT)

    assert program.exit_code() == 130
    assert program.lines == []
    assert program.errors.strip() == "Interrupted."


def test_what_cannot_be_read_is_told(run, queue, tmp_path):
    with (tmp_path / "written to").open("wb") as unreadable:
        program = run("new-task", "--queue", queue, "-", stdin=unreadable)

    assert program.exit_code() == 1
    assert sent(program) == 0
    assert program.error_lines[1:] == ["Error: standard input cannot be read: Bad file descriptor."]


def test_without_a_broker_nothing_is_read(send):
    program = send(b"one\n", "--url", "amqp://me:hunter2@127.0.0.1:1/%2F")

    assert program.exit_code() == 3
    assert program.errors.startswith("Error: cannot connect to amqp://me:***@127.0.0.1:1/%2F: ")
    assert program.lines == []
