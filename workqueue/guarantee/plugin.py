"""The pytest plugin: runs specs on every broker and queue type, and turns outcomes into verdicts.

It is loaded by every pytest run in an environment that has workqueue installed, so it imports nothing heavy until a
spec or a fixture is used.
"""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from workqueue.broker.hidden import shown
from workqueue.guarantee import hooks, proving, settings
from workqueue.guarantee.fixtures import (
    BROKER,
    EVIDENCE,
    LOG_MARK,
    workqueue_across,
    workqueue_broker,
    workqueue_liar,
    workqueue_publish,
    workqueue_queue,
    workqueue_queue_type,
    workqueue_stage,
    workqueue_workers,
)

__all__ = [
    "workqueue_across",
    "workqueue_broker",
    "workqueue_liar",
    "workqueue_publish",
    "workqueue_queue",
    "workqueue_queue_type",
    "workqueue_stage",
    "workqueue_workers",
]

#: The name under which a report carries its cell; xdist sends it along.
CELL = "workqueue"

#: The name under which a worker of xdist sends what was wrong with the choice of specs.
_WRONG = "workqueue-wrong-choice"

_LOG_LINES = 40
_PATIENCE_WITH_LIARS = "4"  # seconds

_RAISED = pytest.StashKey[tuple[BaseException | None, bool, float]]()
_SKIPPED = pytest.StashKey[bool]()
_COLLECTOR = pytest.StashKey["Collector"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    settings.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    if config.option.workqueue_prove:
        # A liar is often caught by what does not come, so this is what most of the time goes into. It is read when
        # the first spec is; an honest broker has the specs' own patience.
        os.environ.setdefault("WORKQUEUE_PATIENCE", _PATIENCE_WITH_LIARS)
    if not hasattr(config, "workerinput"):
        collector = Collector(settings.Settings.of(config).events)
        config.stash[_COLLECTOR] = collector
        config.pluginmanager.register(collector, "workqueue-collector")


def pytest_report_header(config: pytest.Config) -> str:
    told = settings.Settings.of(config)
    brokers = ", ".join(map(shown, told.brokers))
    return f"workqueue: broker {brokers}; queue types {', '.join(told.queue_types)}"


def _entry(item: pytest.Item) -> Any:
    return getattr(getattr(item, "function", None), "workqueue_guarantee", None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    told = settings.Settings.of(metafunc.config)
    if "workqueue_broker" in metafunc.fixturenames:
        ids = list(map(shown, told.brokers))
        metafunc.parametrize("workqueue_broker", told.brokers, indirect=True, scope="session", ids=ids)
    if "workqueue_queue_type" in metafunc.fixturenames:
        entry = getattr(metafunc.function, "workqueue_guarantee", None)
        speaks_of = settings.QUEUE_TYPES if entry is None else entry.queue_types
        types = [each for each in told.queue_types if each in speaks_of]
        if told.prove:
            proving.parametrize(metafunc, entry, types)
            return
        metafunc.parametrize("workqueue_queue_type", types, indirect=True)


@pytest.hookimpl(tryfirst=True)  # before anybody deselects anything, so that what is not there was not collected
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    told = settings.Settings.of(config)
    slugs = [entry.slug for item in items if (entry := _entry(item)) is not None]
    wrong = settings.wrong_choice(config, slugs)
    if wrong and not session.testsfailed:  # else it may be of a file that could not be imported, which is told
        if not hasattr(config, "workeroutput"):
            raise pytest.UsageError(wrong)
        config.workeroutput[_WRONG] = wrong  # a worker of xdist that raises would be one that crashed
        items.clear()
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        (kept if _is_wanted(item, told) else dropped).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if wrong := getattr(node, "workeroutput", {}).get(_WRONG):
        raise pytest.UsageError(wrong)


def _is_wanted(item: pytest.Item, told: settings.Settings) -> bool:
    entry = _entry(item)
    if told.prove and not proving.is_proof(item):
        return False
    if entry is None:
        return not (told.slugs or told.chapters)
    if not set(entry.queue_types) & set(told.queue_types):
        return False  # pytest keeps a placeholder where there is no parameter
    return not (told.slugs or told.chapters) or entry.slug in told.slugs or entry.chapter in told.chapters


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    entry = _entry(item)
    if entry is None or not isinstance(item, pytest.Function):
        return report
    error = None if call.excinfo is None else call.excinfo.value
    if isinstance(error, pytest.skip.Exception) or _SKIPPED in item.stash:
        item.stash[_SKIPPED] = True
        return report  # no broker, and nobody asked for one: nothing was tested, and there is no verdict
    known, in_call, spent = item.stash.get(_RAISED, (None, False, 0.0))
    if known is None and error is not None:
        known, in_call = _doubted(item, error), call.when == "call"
    item.stash[_RAISED] = (known, in_call, spent + call.duration)
    if call.when == "call" or error is not None:
        (proving.apply if proving.is_proof(item) else _apply_verdict)(item, report, _cell(item))
    if call.when == "teardown":
        report.user_properties.append(_property(item))
    return report


def _doubted(item: pytest.Function, error: BaseException) -> BaseException:
    """What the error says, as far as it is the broker's: before anything is torn down."""
    from workqueue.guarantee.doubt import doubted
    from workqueue.guarantee.evidence import Evidence

    broker = item.stash.get(BROKER, None)
    if broker is None or _entry(item).across is not None:  # nothing was asked of it; or its scene did that in time
        return error
    return doubted(error, broker, item.stash.get(EVIDENCE, Evidence()))


def _property(item: pytest.Function) -> tuple[str, object]:
    if proving.is_proof(item):
        return proving.PROOF, proving.proof_of(item, _cell(item))
    return CELL, _cell(item)


def _cell(item: pytest.Function) -> dict[str, Any]:
    from workqueue.guarantee.cell import Outcome, cell
    from workqueue.guarantee.evidence import Evidence
    from workqueue.guarantee.verdict import judge

    error, in_call, spent = item.stash[_RAISED]
    verdict, reason = judge(error, in_call=in_call)
    broker = item.stash.get(BROKER, None)
    params = {name: str(value) for name, value in item.callspec.params.items()}
    spec = shown(params["workqueue_broker"]) if broker is None else broker.spec
    return cell(
        _entry(item),
        params["workqueue_queue_type"],
        spec,
        None if broker is None else broker.about,
        Outcome(verdict, reason, spent),
        item.stash.get(EVIDENCE, Evidence()),
    )


def _apply_verdict(item: pytest.Item, report: pytest.TestReport, cell: dict[str, Any]) -> None:
    verdict = cell["verdict"]
    if verdict == "not-applicable":
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, cell["reason"])
    elif verdict == "broken" and not cell["surprise"]:
        report.outcome = "passed"
        report.longrepr = None
        report.workqueue_status = "broken as expected"  # type: ignore[attr-defined]  # reports carry what is put there
    elif verdict != "holds" or cell["surprise"]:
        report.outcome = "failed"
        if report.longrepr is None:
            report.longrepr = f"{cell['slug']} holds, and was expected to be broken: {cell['because']}"
        _explain(item, report, cell)


def _explain(item: pytest.Item, report: pytest.TestReport, cell: dict[str, Any]) -> None:
    story = [f"{note['at']:8.3f} s  {note['who']}: {note['what']}" for note in cell["timeline"]]
    head = [
        f"{cell['text']}",
        f"source   {cell['source']['title']} <{cell['source']['url']}>",
        f"verdict  {cell['verdict']}, expected {cell['expected']} {cell['because']}".rstrip(),
        f"reason   {cell['reason']}",
    ]
    report.sections.append((f"guarantee {cell['slug']}", "\n".join([*head, *story])))
    broker, mark = item.stash.get(BROKER, None), item.stash.get(LOG_MARK, None)
    if broker is not None and mark is not None:
        lines = broker.log_since(mark).splitlines()[-_LOG_LINES:]
        report.sections.append((f"log of {broker.spec}", "\n".join(lines)))


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    status = getattr(report, "workqueue_status", None)
    if status is not None and report.when == "call":
        return status, "b", status.upper()
    return None


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter", config: pytest.Config) -> None:
    cells = config.stash[_COLLECTOR].cells
    if not cells:
        return
    terminalreporter.section("guarantees")
    chapters: dict[str, dict[str, int]] = {}
    for each in cells:
        kind = "surprise" if each["surprise"] else each["verdict"]
        kind = "broken as expected" if kind == "broken" else kind
        counts = chapters.setdefault(each["chapter"], {})
        counts[kind] = counts.get(kind, 0) + 1
    for chapter, counts in chapters.items():
        terminalreporter.line(f"{chapter:20} " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))


class Collector:
    """Gathers the cells of a run, in the process that the user started (not in an xdist worker)."""

    def __init__(self, events: str | None) -> None:
        self.cells: list[dict[str, Any]] = []
        self.proofs: list[dict[str, Any]] = []
        self._events = None if events is None else Path(events)

    def _write(self, event: str, **details: object) -> None:
        if self._events is not None:
            with self._events.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, **details}) + "\n")

    def pytest_workqueue_no_broker(self, message: str) -> None:
        self._write("no-broker", message=message)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        planned = [
            {"slug": _entry(item).slug, "queue_type": item.callspec.params["workqueue_queue_type"]}
            for item in session.items
            if isinstance(item, pytest.Function) and _entry(item) is not None
        ]
        self._write("planned", cells=planned)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write("started", nodeid=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == CELL and isinstance(value, dict):
                self.cells.append(value)
                self._write("cell", cell=value)
            elif name == proving.PROOF and isinstance(value, dict):
                self.proofs.append(value)
                self._write("proof", proof=value)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._write("finished", status=int(exitstatus))
