"""How the phases of a spec end becomes its verdict, and what pytest shows of that."""

from dataclasses import dataclass
from typing import Any

import pytest

from workqueue.broker.hidden import shown
from workqueue.guarantee import proving
from workqueue.guarantee.collecting import entry_of, queue_type_of
from workqueue.guarantee.fixtures import BROKER, EVIDENCE, LOG_MARK

#: The name under which a report carries its cell; xdist sends it along.
CELL = "workqueue"

_LOG_LINES = 40


@dataclass(slots=True)
class _End:
    """How a spec has ended so far.

    :param error: the first that it raised, and
    :param phase: where: that phase's report is the one to say what it means.
    :param was_run: whether its body was.
    :param is_excused: whether it was skipped, or failed as ``xfail`` has it: that is pytest's to tell, and no verdict.
    :param spent: seconds.
    """

    error: BaseException | None = None
    phase: str = ""
    was_run: bool = False
    is_excused: bool = False
    spent: float = 0.0


_END = pytest.StashKey[_End]()


def judge_phase(item: pytest.Function, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Take note of how a phase of a spec ended, and change its report to say what that means."""
    end = item.stash.setdefault(_END, _End())
    error = None if call.excinfo is None else call.excinfo.value
    if isinstance(error, pytest.skip.Exception) or hasattr(report, "wasxfail"):
        error = None
        end.is_excused = end.is_excused or call.when != "teardown"  # when there is nothing that it could be excused of
    if end.is_excused:
        return
    end.spent += call.duration
    end.was_run = end.was_run or call.when == "call"
    is_news = error is not None and end.error is None
    if error is not None and is_news:
        end.error, end.phase = _doubted(item, error), call.when
    if is_news or call.when == "call":
        # What fails after that, in tear-down, is told as pytest does: it is not what the verdict is about.
        (proving.apply if proving.is_proof(item) else _apply_verdict)(item, report, _cell(item))
    if call.when == "teardown" and (end.was_run or end.error is not None):  # --setup-plan runs none
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

    end = item.stash[_END]
    verdict, reason = judge(end.error, in_call=end.phase == "call")
    broker = item.stash.get(BROKER, None)
    spec = shown(str(item.callspec.params["workqueue_broker"])) if broker is None else broker.spec
    return cell(
        entry_of(item),
        queue_type_of(item),
        spec,
        None if broker is None else broker.about,
        Outcome(verdict, reason, end.spent),
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
