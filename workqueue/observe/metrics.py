"""Prometheus metrics of a producer or a worker. Needs the extra ``[metrics]``."""

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from workqueue.events import (
    Blocked,
    Connected,
    Disconnected,
    Event,
    Outcome,
    PublishEnded,
    Subscribed,
    TaskEnded,
    TaskStarted,
    Unstarted,
)

_TASK_SECONDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
_PUBLISH_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)


class Metrics:
    """An observer that counts what it hears of.

    * ``registry``: where the metrics are. One of its own by default, so that nothing else that the process counts
      appears among them. Two observers cannot share one.

    ``docs/worker.md`` lists the metrics.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = CollectorRegistry() if registry is None else registry

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"workqueue_{name}", says, labels, registry=registry)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(f"workqueue_{name}", says, labels, registry=registry)

        def histogram(name: str, says: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"workqueue_{name}", says, ["queue"], registry=registry, buckets=buckets)

        self._tasks = counter(
            "tasks", "Tasks whose handler ended: done, failed, rejected, given_up", "queue", "outcome"
        )
        self._task_seconds = histogram("task_seconds", "How long handlers were at work on a task", _TASK_SECONDS)
        self._in_hand = gauge("tasks_in_hand", "Tasks that a handler is at work on", "queue")
        self._redelivered = counter("tasks_redelivered", "Tasks started that had been delivered before", "queue")
        self._unsettled = counter(
            "tasks_unsettled", "Tasks that ended after their connection was lost; they are delivered again", "queue"
        )
        self._dropped = counter("tasks_dropped", "Tasks not started whose connection was lost", "queue")
        self._handed_back = counter("tasks_handed_back", "Tasks not started that were handed back at the end", "queue")
        self._published = counter("published", "Messages that the broker has confirmed", "queue")
        self._publish_failed = counter(
            "publish_failed", "Messages that were not published, or not provably", "queue", "error"
        )
        self._publish_seconds = histogram(
            "publish_seconds", "From a message being given to the producer to its confirmation", _PUBLISH_SECONDS
        )
        self._connects = counter("connects", "Connections that were opened", "role")
        self._disconnects = counter(
            "disconnects", "Connections and subscriptions that were lost, and attempts that failed", "role", "reason"
        )
        self._connected = gauge("connected", "1 while there is a connection to the broker", "role")
        self._blocked = gauge("blocked", "1 while the broker reads nothing from this connection (memory, disk)", "role")
        ProcessCollector(registry=registry)

    def __call__(self, event: Event) -> None:
        """Count the event."""
        match event:
            case TaskStarted() | TaskEnded() | Unstarted():
                self._task(event)
            case PublishEnded():
                self._message(event)
            case Connected() | Disconnected() | Blocked():
                self._connection(event)
            case Subscribed():
                self._begin(event.queue)
            case _:
                pass  # nothing to count

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """What to answer a scraper with that sends this Accept header: the body and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _begin(self, queue: str) -> None:
        """Have series at zero from the beginning, or nobody could see their first increase."""
        for outcome in get_args(Outcome):
            self._tasks.labels(queue, _label(outcome))
        for metric in (self._task_seconds, self._in_hand, self._redelivered, self._unsettled, self._dropped):
            metric.labels(queue)
        self._handed_back.labels(queue)

    def _task(self, event: TaskStarted | TaskEnded | Unstarted) -> None:
        match event:
            case TaskStarted(message):
                self._in_hand.labels(message.queue).inc()
                if message.redelivered:
                    self._redelivered.labels(message.queue).inc()
            case TaskEnded(message):
                self._in_hand.labels(message.queue).dec()
                self._tasks.labels(message.queue, _label(event.outcome)).inc()
                self._task_seconds.labels(message.queue).observe(event.seconds)
                if not event.settled:
                    self._unsettled.labels(message.queue).inc()
            case Unstarted(queue, handed_back, dropped):
                self._handed_back.labels(queue).inc(handed_back)
                self._dropped.labels(queue).inc(dropped)

    def _message(self, event: PublishEnded) -> None:
        if event.error is None:
            self._published.labels(event.queue).inc()
            self._publish_seconds.labels(event.queue).observe(event.seconds)
        else:
            self._publish_failed.labels(event.queue, type(event.error).__name__).inc()

    def _connection(self, event: Connected | Disconnected | Blocked) -> None:
        connected, blocked = self._connected.labels(event.role), self._blocked.labels(event.role)
        match event:
            case Connected():
                self._connects.labels(event.role).inc()
                connected.set(1)
                blocked.set(0)
            case Disconnected():
                self._disconnects.labels(event.role, type(event.reason).__name__).inc()
                connected.set(0)
                blocked.set(0)
            case Blocked():
                blocked.set(event.reason is not None)


def _label(outcome: str) -> str:
    return outcome.replace(" ", "_")
