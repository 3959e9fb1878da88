"""What observers make of events, without a broker."""

import io
import json
import logging

import pytest
from prometheus_client import CollectorRegistry

from workqueue import ConnectionFailed, ConnectionLost, Message, Nacked
from workqueue.events import (
    Blocked,
    Connected,
    Disconnected,
    Draining,
    PublishEnded,
    Subscribed,
    TaskEnded,
    TaskStarted,
    Unstarted,
)
from workqueue.observe import Observers
from workqueue.observe.logs import JSONLogs
from workqueue.observe.metrics import Metrics

BODY = b"the secret body"
TASK = Message(BODY, "tasks", "id-1", redelivered=True, headers={"x-delivery-count": 2, "token": "a secret header"})
FRESH = Message(BODY, "tasks", "id-2")
LOST = ConnectionLost("the broker at amqp://me:***@rabbit hung up")


def told(*events):
    """The log lines of these events, parsed."""
    stream = io.StringIO()
    logs = JSONLogs(stream)
    for event in events:
        logs(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class Counted:
    """The value of each series after these events."""

    def __init__(self, *events):
        self.metrics = Metrics()
        for event in events:
            self.metrics(event)

    def __call__(self, name, **labels):
        return self.metrics.registry.get_sample_value(f"workqueue_{name}", labels)


def test_tasks_are_counted_by_their_outcome():
    counted = Counted(
        TaskStarted(FRESH),
        TaskEnded(FRESH, "done", 0.25),
        TaskStarted(TASK),
        TaskEnded(TASK, "failed", 2.0, ValueError("no")),
        TaskStarted(TASK),
        TaskEnded(TASK, "given up", 4.0, ValueError("no"), settled=False),
    )

    assert counted("tasks_total", queue="tasks", outcome="done") == 1
    assert counted("tasks_total", queue="tasks", outcome="failed") == 1
    assert counted("tasks_total", queue="tasks", outcome="given_up") == 1
    assert counted("tasks_redelivered_total", queue="tasks") == 2
    assert counted("tasks_unsettled_total", queue="tasks") == 1
    assert counted("task_seconds_count", queue="tasks") == 3
    assert counted("task_seconds_sum", queue="tasks") == 6.25
    assert counted("task_seconds_bucket", queue="tasks", le="0.5") == 1


def test_what_a_worker_counts_is_zero_from_the_beginning():
    counted = Counted(Subscribed("tasks", 10))

    for outcome in ("done", "failed", "rejected", "given_up"):
        assert counted("tasks_total", queue="tasks", outcome=outcome) == 0
    for name in ("task_seconds_count", "tasks_in_hand", "tasks_redelivered_total", "tasks_unsettled_total"):
        assert counted(name, queue="tasks") == 0
    for name in ("tasks_dropped_total", "tasks_handed_back_total"):
        assert counted(name, queue="tasks") == 0


def test_a_task_is_in_hand_while_its_handler_is_at_work():
    counted = Counted(TaskStarted(FRESH), TaskStarted(TASK))
    assert counted("tasks_in_hand", queue="tasks") == 2

    counted.metrics(TaskEnded(FRESH, "rejected", 1.0))
    assert counted("tasks_in_hand", queue="tasks") == 1


def test_tasks_that_were_not_started_are_counted():
    counted = Counted(Unstarted("tasks", 0, 3), Unstarted("tasks", 2, 1))

    assert counted("tasks_dropped_total", queue="tasks") == 4
    assert counted("tasks_handed_back_total", queue="tasks") == 2


def test_publishing_is_counted_and_timed():
    failed = PublishEnded("tasks", "id", 0.016, Nacked("the queue is full", message_id="id"))
    counted = Counted(PublishEnded("tasks", "id", 0.002), PublishEnded("tasks", "id", 0.004), failed)

    assert counted("published_total", queue="tasks") == 2
    assert counted("publish_seconds_sum", queue="tasks") == pytest.approx(0.006)
    assert counted("publish_failed_total", queue="tasks", error="Nacked") == 1


def test_a_connection_is_up_until_it_is_lost():
    up = Connected("amqp://rabbit", "worker")
    counted = Counted(up)
    assert counted("connected", role="worker") == 1

    counted.metrics(Blocked("low on memory", "worker"))
    assert counted("blocked", role="worker") == 1
    counted.metrics(Blocked(None, "worker"))
    assert counted("blocked", role="worker") == 0

    counted.metrics(Blocked("low on disk", "worker"))
    counted.metrics(Disconnected(LOST, "worker", 1.0))
    assert counted("connected", role="worker") == 0
    assert counted("blocked", role="worker") == 0, "nothing is blocked that is not there"

    counted.metrics(Disconnected(ConnectionFailed("refused"), "worker", 2.0))
    counted.metrics(up)
    assert counted("connects_total", role="worker") == 2
    assert counted("disconnects_total", role="worker", reason="ConnectionLost") == 1
    assert counted("disconnects_total", role="worker", reason="ConnectionFailed") == 1


def test_metrics_are_exposed_as_the_scraper_asks_for_them():
    metrics = Counted(TaskStarted(FRESH), TaskEnded(FRESH, "done", 0.25)).metrics

    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain")
    assert b'\nworkqueue_tasks_total{outcome="done",queue="tasks"} 1.0\n' in body

    body, content_type = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_metrics_go_to_the_registry_given():
    registry = CollectorRegistry()
    Metrics(registry)(PublishEnded("tasks", "id", 0.1))

    assert registry.get_sample_value("workqueue_published_total", {"queue": "tasks"}) == 1


def test_a_log_line_says_what_happened_when_and_to_which_task():
    [line] = told(TaskEnded(TASK, "failed", 0.123456789, ValueError("no such file")))

    assert line.pop("timestamp").endswith("Z")
    assert isinstance(line.pop("pid"), int)
    assert line == {
        "level": "warning",
        "event": "task_ended",
        "queue": "tasks",
        "message_id": "id-1",
        "redelivered": True,
        "failures": 2,
        "outcome": "failed",
        "seconds": 0.123457,
        "error": "ValueError",
        "error_says": "no such file",
        "settled": True,
    }


EVENTS = [
    (Connected("amqp://me:***@rabbit", "worker"), "connected", "info"),
    (Disconnected(LOST, "worker", 2.0), "disconnected", "warning"),
    (Blocked("low on memory", "worker"), "blocked", "warning"),
    (Blocked(None, "worker"), "unblocked", "info"),
    (PublishEnded("tasks", "id", 0.1), "publish_ended", "info"),
    (PublishEnded("tasks", "id", 0.1, Nacked("full", message_id="id")), "publish_ended", "error"),
    (Subscribed("tasks", 10), "subscribed", "info"),
    (TaskStarted(TASK), "task_started", "info"),
    (TaskEnded(TASK, "done", 0.1), "task_ended", "info"),
    (TaskEnded(TASK, "done", 0.1, settled=False), "task_ended", "warning"),
    (TaskEnded(TASK, "rejected", 0.1, ValueError()), "task_ended", "warning"),
    (TaskEnded(TASK, "given up", 0.1, ValueError()), "task_ended", "error"),
    (Unstarted("tasks", 0, 3), "unstarted", "warning"),
    (Unstarted("tasks", 3, 0), "unstarted", "info"),
    (Draining("tasks", 1), "draining", "info"),
]


@pytest.mark.parametrize(("event", "name", "level"), EVENTS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_event_is_a_line_with_a_name_and_a_level(event, name, level):
    [line] = told(event)

    assert (line["event"], line["level"]) == (name, level)


def test_no_line_has_what_was_published():
    written = json.dumps(told(*(event for event, _, _ in EVENTS)))

    assert "secret" not in written


def test_what_the_process_logs_otherwise_becomes_json_too():
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    try:
        JSONLogs(stream).take_over_logging()
        try:
            raise ValueError("no")
        except ValueError:
            logging.getLogger("tasks").exception("%d failed", 3)
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]

    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("3 failed", "error", "tasks")
    assert line["exception"].endswith("ValueError: no")


def test_each_observer_hears_of_an_event_also_when_another_fails():
    heard = []

    def failing(event):
        raise RuntimeError("no")

    with pytest.raises(ExceptionGroup, match="observers failed"):
        Observers(heard.append, failing, heard.append)(Subscribed("tasks", 1))

    assert heard == [Subscribed("tasks", 1)] * 2
