"""A function of yours as a worker: what `workqueue worker` says of it, and what can be asked of it while it works."""

import json
import os
import signal
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

WAITING = " [*] Waiting for messages. To exit press CTRL+C"

TASKS = """
import ctypes
import os
import signal
import time
import warnings
from pathlib import Path

from workqueue import Reject


def handle(message):
    word = message.body.decode()
    if word == "fail":
        raise ValueError("it fails, as it says")
    if word == "reject":
        raise Reject("never")
    if word == "warn":
        warnings.warn("this is odd", stacklevel=1)
    if word == "die" and not message.redelivered:
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "seize" and not message.redelivered:
        print("seized", flush=True)
        ctypes.PyDLL(None).usleep(8_000_000)  # without letting go of the GIL
    if word.startswith("hold "):
        path = Path(word.removeprefix("hold "))
        path.with_suffix(".started").touch()
        while not path.exists():
            time.sleep(0.01)
    print(f"did {word} in {os.getpid()}", flush=True)


async def coroutine(message): ...


def generator(message):
    yield


def nothing(): ...


number = 3
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a module `tasks`, to be worked in."""
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "typo.py").write_text("def handle(message:\n")
    (tmp_path / "needs.py").write_text("import no_such_package\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    return tmp_path


def get(url):
    try:
        answer = urllib.request.urlopen(url, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.read().decode()


def health(port):
    """The status of /health and what it says; None while nobody listens there."""
    try:
        status, body = get(f"http://127.0.0.1:{port}/health")
    except urllib.error.URLError:
        return None
    return status, json.loads(body)


def metrics(port):
    """The series of /metrics."""
    _, body = get(f"http://127.0.0.1:{port}/metrics")
    families = text_string_to_metric_families(body)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


@pytest.fixture
def send(run):
    """Send tasks to a queue."""

    def send(queue, *tasks, options=()):
        for task in tasks:
            assert run("new-task", "--queue", queue, *options, task).exit_code() == 0

    return send


def test_a_function_of_the_current_folder_does_the_tasks(run, queue, folder, send):
    send(queue, "one", "two")

    worker = run("worker", "--queue", queue, "--handler", "tasks:handle", cwd=folder)
    worker.wait_until(lambda: len(worker.lines) == 3, "both tasks")

    assert worker.lines == [WAITING, *(f"did {word} in {worker.process.pid}" for word in ("one", "two"))]
    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert worker.errors == ""


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        ("tasks", "'tasks' is not of the form package.module:function"),
        ("tasks:", "'tasks:' is not of the form package.module:function"),
        ("nowhere:handle", "'nowhere' cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("needs:handle", "'needs' cannot be imported: ModuleNotFoundError: No module named 'no_such_package' ("),
        ("broken:handle", "'broken' cannot be imported: ZeroDivisionError: division by zero ("),
        ("typo:handle", "'typo' cannot be imported: SyntaxError: "),
        ("leaves:handle", "'leaves' cannot be imported: SystemExit: 0 ("),
        ("tasks:handel", "has no 'handel'"),
        ("tasks:number", "'tasks:number': 3 is not callable"),
        ("tasks:nothing", "'tasks:nothing' cannot be called with one argument, the message: "),
        ("tasks:coroutine", "'tasks:coroutine': <function coroutine at "),
        ("tasks:generator", "is an async function or a generator; a handler works when it is called"),
    ],
)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_handler_that_is_none_is_told_once_with_code_3(run, folder, handler, problem, processes):
    worker = run("worker", "--handler", handler, "--processes", processes, cwd=folder)

    assert worker.exit_code() == 3
    assert worker.errors.count("Usage: ") == 1
    assert "Invalid value for --handler: " in worker.errors
    assert problem in worker.errors
    assert "Traceback" not in worker.errors
    assert worker.lines == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--max-attempts", "3"], "--max-attempts needs --dead-letter"),
        (["--concurrency", "4", "--prefetch", "2"], "and prefetch (2) from there to 65535"),
        (
            ["--queue-type", "classic", "--delivery-limit", "3"],
            "Error: These options do not go together: only quorum queues have a delivery limit, of -1 or more.",
        ),
        (["--queue", "x" * 256], "Error: --queue: a queue's name has 1 to 255 bytes"),
        (["--dead-letter", "x" * 256], "Error: --dead-letter: a queue's name has 1 to 255 bytes"),
        (["--queue", os.fsdecode(b"\xff")], r"Error: --queue: a queue's name is UTF-8, and '\udcff' is not."),
        (["--shutdown-timeout", "inf"], "inf is no number of seconds from 0 to 1,000,000,000."),
        (["--shutdown-timeout", "nan"], "nan is no number of seconds from 0 to 1,000,000,000."),
        (["--shutdown-timeout", "-1"], "-1 is no number of seconds from 0 to 1,000,000,000."),
        (["--dot", "1e99"], "1e99 is no number of seconds from 0 to 1,000,000,000."),
        (["--metrics", "65535", "--processes", "2"], "There are no 2 ports"),
        (["--metrics", "9187", "--metrics-host", "192.0.2.1"], "Metrics cannot be served at 192.0.2.1:9187: "),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(run, options, problem):
    worker = run("worker", *options)

    assert worker.exit_code() == 3
    assert problem in worker.errors.replace("\n", " ")
    assert "Traceback" not in worker.errors


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_longest_shutdown_timeout_is_none_too_many(run, queue, processes):
    worker = run("worker", "--queue", queue, "--shutdown-timeout", "1e9", "--processes", processes)
    worker.expect(WAITING, times=int(processes))

    worker.process.send_signal(signal.SIGTERM)

    assert worker.exit_code() == 0, worker.errors
    assert worker.errors == ""


@pytest.mark.parametrize("variable", ["AMQP_URL", "RABBITMQ_URL", "CLOUDAMQP_URL"])
def test_the_brokers_url_is_found_where_others_put_it(run, url, queue, variable):
    worker = run("worker", url="", WORKQUEUE_QUEUE=queue, **{variable: url})

    worker.expect(WAITING)


def test_options_can_come_from_the_environment(run, queue, folder, send):
    send(queue, "one")

    worker = run("worker", cwd=folder, WORKQUEUE_QUEUE=queue, WORKQUEUE_HANDLER="tasks:handle")

    worker.expect(f"did one in {worker.process.pid}")


def test_the_environment_is_in_the_help(run):
    program = run("worker", "--help", COLUMNS="200")

    assert program.exit_code() == 0
    text = " ".join(" ".join(program.lines).split())
    assert "WORKQUEUE_URL, AMQP_URL, RABBITMQ_URL, CLOUDAMQP_URL" in text
    for name in ("HANDLER", "QUEUE", "QUEUE_TYPE", "PREFETCH", "CONCURRENCY", "PROCESSES", "SHUTDOWN_TIMEOUT"):
        assert f"WORKQUEUE_{name}" in text
    for name in ("MAX_ATTEMPTS", "DEAD_LETTER", "DELIVERY_LIMIT", "METRICS", "METRICS_HOST", "LOG"):
        assert f"WORKQUEUE_{name}" in text


def test_a_task_that_holds_the_gil_is_given_to_another_worker_and_its_own_comes_back(run, queue, folder, send, url):
    # Given a worker whose connection lasts two or three seconds without heartbeats, and a task that holds up all of its
    # threads for eight,
    command = ["worker", "--queue", queue, "--handler", "tasks:handle"]
    first = run(*command, cwd=folder, url=f"{url}?heartbeat=1")
    first.expect(WAITING)
    send(queue, "seize")
    first.expect("seized")

    # When there is another worker, I expect that to do the task meanwhile,
    second = run(*command, cwd=folder)
    second.expect(f"did seize in {second.process.pid}")
    assert first.lines == [WAITING, "seized"]

    # and the first to notice, to come back, and to do the next.
    first.expect(f"did seize in {first.process.pid}")
    first.expect_error("trying again")
    second.process.send_signal(signal.SIGTERM)
    assert second.exit_code() == 0
    send(queue, "next")
    first.expect(f"did next in {first.process.pid}")
    first.process.send_signal(signal.SIGTERM)
    assert first.exit_code() == 0


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_rejected_tasks_and_those_given_up_are_dead_lettered(run, queue, folder, send, get_when_ready, channel, kind):
    options = ["--queue-type", kind, "--dead-letter", f"{queue}-dead"]
    send(queue, "fail", "reject", options=options)

    run("worker", "--queue", queue, *options, "--max-attempts", "2", "--handler", "tasks:handle", cwd=folder)

    assert {get_when_ready(f"{queue}-dead")[2] for _ in range(2)} == {b"fail", b"reject"}
    channel.queue_delete(f"{queue}-dead")


def test_the_dead_letters_queue_may_be_of_the_other_type(run, queue, folder, send, get_when_ready, channel):
    channel.queue_declare(f"{queue}-dead", durable=True)  # a classic one
    options = ["--dead-letter", f"{queue}-dead"]
    send(queue, "reject", options=options)

    run("worker", "--queue", queue, *options, "--handler", "tasks:handle", cwd=folder)

    assert get_when_ready(f"{queue}-dead")[2] == b"reject"
    channel.queue_delete(f"{queue}-dead")


def test_threads_do_tasks_at_the_same_time(run, queue, folder, send, wait_for):
    gates = [folder / name for name in ("a", "b", "c")]
    send(queue, *(f"hold {gate}" for gate in gates))

    run("worker", "--queue", queue, "--handler", "tasks:handle", "--concurrency", "3", cwd=folder)

    wait_for(lambda: all(gate.with_suffix(".started").exists() for gate in gates), "all three are at work")
    for gate in gates:
        gate.touch()


def test_metrics_and_health_can_be_asked_for(run, queue, folder, send, port, wait_for):
    worker = run("worker", "--queue", queue, "--handler", "tasks:handle", "--metrics", str(port), cwd=folder)
    worker.expect(WAITING)
    assert health(port) == (200, {"connected": True, "consuming": True, "blocked": False, "draining": False})
    wait_for(lambda: metrics(port).get(("workqueue_tasks_total", "done", queue)) == 0, "the queue's series")

    gate = folder / "gate"
    send(queue, "one", f"hold {gate}")
    wait_for(lambda: metrics(port)["workqueue_tasks_in_hand", queue] == 1, "a task in hand")
    assert metrics(port)["workqueue_tasks_total", "done", queue] == 1
    assert metrics(port)["workqueue_connected", "worker"] == 1

    worker.process.send_signal(signal.SIGTERM)
    wait_for(lambda: health(port)[1]["draining"], "draining")
    assert health(port)[0] == 200, "a worker that finishes its task is not to be killed for it"
    gate.touch()
    assert worker.exit_code() == 0
    assert health(port) is None


def test_a_worker_without_a_broker_says_so_and_is_not_healthy(run, port, wait_for):
    worker = run("worker", "--metrics", str(port), url="amqp://me:hunter2@127.0.0.1:1/%2F")
    worker.expect_error("Hint: ")

    assert health(port)[0] == 503
    wait_for(lambda: metrics(port).get(("workqueue_disconnects_total", "ConnectionFailed", "worker"), 0) >= 2, "two")
    assert worker.error_lines[1].startswith("Warning: cannot connect to amqp://me:***@127.0.0.1:1/%2F: ")
    assert worker.error_lines[1].endswith(" s.")
    assert worker.errors.count("Hint: ") == 1
    assert worker.lines == []
    assert "hunter2" not in worker.errors

    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0


def test_a_lost_connection_is_told_and_that_it_is_back(run, url, queue, workqueue_stage, send):
    proxy = workqueue_stage.proxy()
    worker = run("worker", "--queue", queue, "--dot", "0", url=workqueue_stage.url(proxy=proxy))
    worker.expect(WAITING)

    proxy.cut()

    worker.expect_error("Warning: ")
    worker.expect_error("Connected to amqp://")
    send(queue, "after")
    worker.expect(" [x] Received 'after'")
    assert worker.lines.count(WAITING) == 1
    trouble = [line for line in worker.error_lines if line.startswith("Warning: ")]
    assert len(trouble) == len([line for line in worker.error_lines if "trying again in " in line]), worker.errors


def events(worker):
    return [json.loads(line) for line in worker.error_lines]


def test_json_logs_are_a_line_for_each_event(run, queue, folder, send, url):
    send(queue, "fail", "one")
    worker = run(
        *("worker", "--queue", queue, "--handler", "tasks:handle", "--log", "json"),
        *("--queue-type", "quorum"),
        cwd=folder,
    )
    worker.expect(f"did one in {worker.process.pid}")
    worker.wait_until(lambda: '"outcome": "done"' in worker.errors, "the task's end")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0

    told = events(worker)
    assert all({"timestamp", "level", "event", "pid"} <= line.keys() for line in told)
    names = [line["event"] for line in told]
    assert names[0] == "connected"
    assert {"subscribed", "task_started", "task_ended", "draining"} <= set(names)
    failed = next(line for line in told if line.get("outcome") == "failed")
    assert (failed["error"], failed["error_says"]) == ("ValueError", "it fails, as it says")
    assert any("it fails, as it says" in line.get("exception", "") for line in told), "the traceback"
    password = url.split(":")[2].partition("@")[0]
    assert password not in worker.errors
    assert WAITING not in worker.lines


def test_what_a_handler_warns_of_is_a_line_of_json_too(run, queue, folder, send):
    send(queue, "warn")
    worker = run("worker", "--queue", queue, "--handler", "tasks:handle", "--log", "json", cwd=folder)
    worker.expect(f"did warn in {worker.process.pid}")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0

    [warned] = [line for line in events(worker) if line.get("logger") == "py.warnings"]
    assert warned["level"] == "warning"
    assert "UserWarning: this is odd" in warned["event"]


def test_json_logs_tell_of_trouble_and_of_the_end(run, queue, url, channel):
    channel.queue_declare(queue, durable=True, arguments={"x-message-ttl": 60000})

    worker = run("worker", "--queue", queue, "--queue-type", "classic", "--log", "json")

    assert worker.exit_code() == 1
    last = events(worker)[-1]
    assert (last["event"], last["level"], last["error"]) == ("ended", "error", "TopologyMismatch")
    assert "x-message-ttl" in last["error_says"]

    away = run("worker", "--log", "json", url="amqp://me:hunter2@127.0.0.1:1/%2F")
    away.expect_error('"event": "disconnected"')
    away.process.send_signal(signal.SIGTERM)
    assert away.exit_code() == 0
    assert all(line["event"] == "disconnected" for line in events(away)), away.errors
    assert "hunter2" not in away.errors


@pytest.mark.parametrize(
    ("module", "extra", "options"),
    [("prometheus_client", "metrics", ["--metrics", "9187"]), ("structlog", "logs", ["--log", "json"])],
)
def test_a_missing_extra_is_told(folder, module, extra, options, run):
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")

    worker = run("worker", *options, PYTHONPATH=str(folder))

    assert worker.exit_code() == 3
    assert f"pip install 'workqueue-guarantees[{extra}]'" in worker.errors
    assert "Traceback" not in worker.errors
