"""Structured logs of a producer or a worker: one JSON line an event. Needs the extra ``[logs]``."""

import dataclasses
import logging
import os
import re
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from workqueue.errors import WorkqueueError
from workqueue.events import Blocked, Disconnected, Event, PublishEnded, TaskEnded, Unstarted
from workqueue.message import Message
from workqueue.observe.hints import hint_for


def _in_order(_: object, __: str, fields: EventDict) -> EventDict:
    first = {name: fields.pop(name) for name in ("timestamp", "level", "event")}
    return {**first, "pid": os.getpid(), **fields}


_STAMP: list[Processor] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
_RENDER: list[Processor] = [_in_order, structlog.processors.JSONRenderer()]


class JSONLogs:
    """An observer that writes each event as a line of JSON: ``timestamp`` (UTC), ``level``, ``event``, ``pid``, fields.

    * ``stream``: where to; standard error by default.

    An event is called after its class: ``task_ended``, ``disconnected``. Bodies are never written. Of an exception
    its class and what it says are; what a handler's exceptions say is the handler's business.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._log = structlog.wrap_logger(
            structlog.WriteLogger(self._stream),
            processors=[*_STAMP, *_RENDER],
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        )

    def __call__(self, event: Event) -> None:
        """Write the event."""
        name = re.sub(r"(?<=.)(?=[A-Z])", "_", type(event).__name__).lower()
        if isinstance(event, Blocked) and event.reason is None:
            name = "unblocked"
        self.write(_level(event), name, **_fields(event))

    def write(self, level: int, event: str, **fields: Any) -> None:
        """Write a line about something else; ``level`` is one of ``logging``'s."""
        self._log.log(level, event, **fields)

    def take_over_logging(self) -> None:
        """Have what the process logs by the standard library's ``logging`` written to the same stream as JSON lines."""
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[*_STAMP, structlog.stdlib.add_logger_name],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    *_RENDER,
                ],
            )
        )
        logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _level(event: Event) -> int:
    match event:
        case PublishEnded(error=WorkqueueError()) | TaskEnded(outcome="given up"):
            return logging.ERROR
        case Disconnected() | TaskEnded(outcome="failed" | "rejected") | TaskEnded(settled=False):
            return logging.WARNING
        case Blocked(None) | Unstarted(dropped=0):
            return logging.INFO
        case Blocked() | Unstarted():
            return logging.WARNING
        case _:
            return logging.INFO


def _fields(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, Message):
            fields |= {"queue": value.queue, "message_id": value.message_id, "redelivered": value.redelivered}
            if value.failures:
                fields["failures"] = value.failures
        elif isinstance(value, Exception):
            fields |= {field.name: type(value).__name__, f"{field.name}_says": str(value)}
            if hint := hint_for(value):
                fields["hint"] = hint
        elif field.name == "outcome":
            fields["outcome"] = value.replace(" ", "_")  # as in the metrics
        else:
            fields[field.name] = round(value, 6) if isinstance(value, float) else value
    return fields
