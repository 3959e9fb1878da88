"""Gathers what a run of pytest has to tell of guarantees, and writes it down as it comes."""

import json
from pathlib import Path
from typing import Any

import pytest

from workqueue.guarantee import judging, proving
from workqueue.guarantee.collecting import entry_of, queue_type_of


class Collector:
    """Gathers the cells of a run, in the process that the user started (not in an xdist worker)."""

    def __init__(self, events: str | None) -> None:
        self.cells: list[dict[str, Any]] = []
        self.proofs: list[dict[str, Any]] = []
        self._events = None if events is None else Path(events)
        try:
            self._append("")
        except OSError as error:
            raise pytest.UsageError(
                f"--guarantee-events: {events} cannot be written: {error.strerror or error}. "
                "Name a file in a folder that is there and can be written to."
            ) from error

    def _write(self, event: str, **details: object) -> None:
        self._append(json.dumps({"event": event, **details}) + "\n")

    def _append(self, text: str) -> None:
        if self._events is not None:
            with self._events.open("a", encoding="utf-8") as file:
                file.write(text)

    def pytest_workqueue_no_broker(self, message: str) -> None:
        """A broker cannot be had."""
        self._write("no-broker", message=message)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What is going to run is known, or refused: then it may be there all the same."""
        planned = [
            {"slug": entry_of(item).slug, "queue_type": queue_type_of(item)}
            for item in session.items
            if isinstance(item, pytest.Function) and entry_of(item) is not None and hasattr(item, "callspec")
        ]
        self._write("planned", cells=planned)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._write("started", nodeid=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of a test is over; the last one brings what the test said of a guarantee."""
        for name, value in report.user_properties:
            if name == judging.CELL and isinstance(value, dict):
                self.cells.append(value)
                self._write("cell", cell=value)
            elif name == proving.PROOF and isinstance(value, dict):
                self.proofs.append(value)
                self._write("proof", proof=value)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Everything has run."""
        self._write("finished", status=int(exitstatus))
