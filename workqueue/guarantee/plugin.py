"""The pytest plugin: runs specs on every broker and queue type, and turns outcomes into verdicts.

It is loaded by every pytest run in an environment that has workqueue installed, so it imports nothing heavy until a
spec or a fixture is used.
"""

import os
from collections.abc import Generator
from typing import Any

import pytest

from workqueue.broker.hidden import shown
from workqueue.guarantee import hooks, judging, proving, settings
from workqueue.guarantee.collecting import entry_of, give_what_specs_have, is_wanted, wrong_specs
from workqueue.guarantee.collector import Collector
from workqueue.guarantee.fixtures import (
    UPTIME,
    workqueue_across,
    workqueue_broker,
    workqueue_liar,
    workqueue_publish,
    workqueue_queue,
    workqueue_queue_type,
    workqueue_spec,
    workqueue_stage,
    workqueue_workers,
)
from workqueue.guarantee.uptime import Uptime

__all__ = [
    "workqueue_across",
    "workqueue_broker",
    "workqueue_liar",
    "workqueue_publish",
    "workqueue_queue",
    "workqueue_queue_type",
    "workqueue_spec",
    "workqueue_stage",
    "workqueue_workers",
]

#: The name under which a worker of xdist sends what was wrong with the choice of specs.
_WRONG = "workqueue-wrong-choice"

_PATIENCE_WITH_LIARS = "4"  # seconds

_COLLECTOR = pytest.StashKey[Collector]()


def pytest_addoption(parser: pytest.Parser) -> None:
    settings.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    if config.option.workqueue_prove:
        # A liar is often caught by what does not come, so this is what most of the time goes into. It is read when
        # the first spec is; an honest broker has the specs' own patience.
        os.environ.setdefault("WORKQUEUE_PATIENCE", _PATIENCE_WITH_LIARS)
    settings.check(config)
    config.stash[UPTIME] = uptime = Uptime()
    config.pluginmanager.register(uptime, "workqueue-uptime")
    if not hasattr(config, "workerinput"):
        collector = Collector(settings.Settings.of(config).events)
        config.stash[_COLLECTOR] = collector
        config.pluginmanager.register(collector, "workqueue-collector")


def pytest_report_header(config: pytest.Config) -> str:
    told = settings.Settings.of(config)
    brokers = ", ".join(map(shown, told.brokers))
    return f"workqueue: broker {brokers}; queue types {', '.join(told.queue_types)}"


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(obj: object) -> None:
    give_what_specs_have(obj)


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
    slugs = [entry.slug for item in items if (entry := entry_of(item)) is not None]
    wrong = wrong_specs(items)
    if not session.testsfailed:  # else it may be of a file that could not be imported, which is told
        wrong = wrong or settings.wrong_choice(config, slugs)
    if wrong:
        if not hasattr(config, "workeroutput"):
            raise pytest.UsageError(wrong)
        config.workeroutput[_WRONG] = wrong  # a worker of xdist that raises would be one that crashed
        items.clear()
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        (kept if is_wanted(item, told) else dropped).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if wrong := getattr(node, "workeroutput", {}).get(_WRONG):
        raise pytest.UsageError(wrong)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if entry_of(item) is not None and isinstance(item, pytest.Function):
        judging.judge_phase(item, call, report)
    return report


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
