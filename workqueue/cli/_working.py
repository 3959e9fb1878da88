"""What a process of ``workqueue worker`` does: put a worker together as it was asked for, and run it."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import click

from workqueue.cli._handler import dots, load_handler
from workqueue.cli._lifeline import Lifeline
from workqueue.cli._options import Wanted, exit_code, with_queue
from workqueue.cli._telling import Telling
from workqueue.errors import WorkqueueError
from workqueue.events import Health, Observer
from workqueue.observe import Observers
from workqueue.observe.hints import hint_for
from workqueue.observe.probe import Probe
from workqueue.queue import Queue
from workqueue.worker import Handler, Worker

if TYPE_CHECKING:
    from workqueue.observe.logs import JSONLogs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of ``workqueue worker``, named as they are; ``wanted`` has those of the queue."""

    url: str
    wanted: Wanted
    handler: str | None
    dot: float
    prefetch: int | None
    concurrency: int
    shutdown_timeout: float
    max_attempts: int | None
    metrics: int | None
    metrics_host: str
    log: Literal["text", "json"]
    lifeline: int | None


class _Work:
    """The worker as the probe and the lifeline see it: not there at first, and it may be replaced by another."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._stopped = False

    def run(self, worker: Worker) -> None:
        self._worker = worker
        if self._stopped:
            worker.stop()
        worker.run()

    def stop(self) -> None:
        self._stopped = True
        if self._worker is not None:
            self._worker.stop()

    def health(self) -> Health:
        if self._worker is None:
            return Health(connected=False, consuming=False, blocked=False, draining=False)
        return self._worker.health


def work(settings: Settings) -> int:
    """Work until stopped; returns the exit code."""
    logs = json_logs() if settings.log == "json" else None
    handler = (
        dots(settings.dot, silent=logs is not None) if settings.handler is None else load_handler(settings.handler)
    )
    observers: list[Observer] = [logs or Telling()]
    logging.getLogger("workqueue.connection").disabled = True  # the observer tells the same
    the_work = _Work()
    with contextlib.ExitStack() as stack:
        if settings.metrics is not None:
            observers.append(stack.enter_context(_probe(settings.metrics, settings.metrics_host, the_work, logs)))
        if settings.lifeline is not None:
            # The last one, so that a worker whose output nobody reads has not told that it is subscribed.
            lifeline = Lifeline(settings.lifeline)
            lifeline.follow(the_work.stop)
            observers.append(lifeline)
        try:
            with_queue(
                settings.wanted, lambda queue: the_work.run(_worker(settings, queue, handler, Observers(*observers)))
            )
        except WorkqueueError as error:
            if logs is None:
                raise
            logs.write(logging.ERROR, "ended", error=type(error).__name__, error_says=str(error), hint=hint_for(error))
            return exit_code(error)
    return 0


def _worker(settings: Settings, queue: Queue, handler: Handler, observer: Observer) -> Worker:
    try:
        return Worker(
            settings.url,
            queue,
            handler,
            prefetch=settings.prefetch,
            concurrency=settings.concurrency,
            shutdown_timeout=settings.shutdown_timeout,
            max_attempts=settings.max_attempts,
            observer=observer,
        )
    except WorkqueueError:
        raise
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextlib.contextmanager
def _probe(port: int, host: str, the_work: _Work, logs: "JSONLogs | None") -> Iterator[Observer]:
    from workqueue.observe.metrics import Metrics

    metrics = Metrics()
    try:
        probe = Probe(port, the_work.health, metrics.exposition, host=host)
    except OSError as error:
        raise click.UsageError(f"Metrics cannot be served at {host}:{port}: {error.strerror or error}.") from error
    with probe:
        if logs is None:
            click.echo(f"Metrics are at {probe.address}/metrics, health is at {probe.address}/health.", err=True)
        else:
            logs.write(logging.INFO, "probe_listening", url=probe.address)
        yield metrics


def json_logs() -> "JSONLogs":
    """Have all that this process logs, and the warnings of Python code, become JSON lines on standard error."""
    from workqueue.observe.logs import JSONLogs

    logs = JSONLogs()
    logs.take_over_logging()
    logging.captureWarnings(True)
    return logs
