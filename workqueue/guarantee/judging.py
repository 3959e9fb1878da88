"""How the phases of a spec end becomes its verdict, and what pytest shows of that."""

from typing import Any

import pytest

from workqueue.broker.hidden import shown
from workqueue.guarantee import proving
from workqueue.guarantee.collecting import entry_of, queue_type_of
from workqueue.guarantee.fixtures import BROKER, EVIDENCE, LOG_MARK

#: The name under which a report carries its cell; xdist sends it along.
CELL = "workqueue"

_LOG_LINES = 40

_RAISED = pytest.StashKey[tuple[BaseException | None, bool, float]]()
_SKIPPED = pytest.StashKey[bool]()


def judge_phase(item: pytest.Function, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Take note of how a phase of a spec ended, and change its report to say what that means."""
    error = None if call.excinfo is None else call.excinfo.value
    if isinstance(error, pytest.skip.Exception) or _SKIPPED in item.stash:
        item.stash[_SKIPPED] = True
        return  # no broker, and nobody asked for one: nothing was tested, and there is no verdict
    known, in_call, spent = item.stash.get(_RAISED, (None, False, 0.0))
    if known is None and error is not None:
        known, in_call = _doubted(item, error), call.when == "call"
    item.stash[_RAISED] = (known, in_call, spent + call.duration)
    if call.when == "call" or error is not None:
        (proving.apply if proving.is_proof(item) else _apply_verdict)(item, report, _cell(item))
    if call.when == "teardown":
        report.user_properties.append(_property(item))


def _doubted(item: pytest.Function, error: BaseException) -> BaseException:
    """What the error says, as far as it is the broker's: before anything is torn down."""
    from workqueue.guarantee.doubt import doubted
    from workqueue.guarantee.evidence import Evidence
    from workqueue.guarantee.verdict import Unknown

    if isinstance(error, pytest.FixtureLookupError):  # whose words are made for pytest's own report alone
        return Unknown(error.msg or f"fixture {error.argname!r} not found")
    broker = item.stash.get(BROKER, None)
    if broker is None or entry_of(item).across is not None:  # nothing was asked of it; or its scene did that in time
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
    spec = shown(str(item.callspec.params["workqueue_broker"])) if broker is None else broker.spec
    return cell(
        entry_of(item),
        queue_type_of(item),
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
