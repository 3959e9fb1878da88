"""The pytest side of proofs: which runs there are, and what is reported of each."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from workqueue.guarantee.catalogue import Guarantee
    from workqueue.guarantee.stage import Stage  # noqa: F401 - in a string below

#: The name under which a report carries its proof; xdist sends it along.
PROOF = "workqueue-proof"

#: Where the fixtures leave the stage, which knows how often it was lied to.
STAGE = pytest.StashKey["Stage"]()

_LIAR = "workqueue_liar"


def parametrize(metafunc: pytest.Metafunc, entry: "Guarantee | None", queue_types: Sequence[str]) -> None:
    """Run a spec once for each of its proofs."""
    runs = [
        (queue_type, caught)
        for queue_type in queue_types
        for caught in (() if entry is None else entry.proved_by)
        if queue_type in caught.on
    ]
    ids = [f"{queue_type}-{caught.by}" for queue_type, caught in runs]
    metafunc.parametrize(("workqueue_queue_type", _LIAR), runs, indirect=True, ids=ids)


def is_proof(item: pytest.Item) -> bool:
    """Whether this is the run of a spec under a liar."""
    # Without any proof pytest keeps a placeholder.
    return isinstance(item, pytest.Function) and hasattr(
        getattr(item, "callspec", None) and item.callspec.params.get(_LIAR), "by"
    )


def proof_of(item: pytest.Function, cell: dict[str, Any]) -> dict[str, Any]:
    """What the run of a spec under a liar proves, as plain data.

    :param cell: the run's cell.
    """
    from workqueue.guarantee.lying import lies_told
    from workqueue.guarantee.proof import NOT_NEEDED, Proof, judge_proof
    from workqueue.guarantee.verdict import Verdict

    declared: Any = item.callspec.params[_LIAR]
    stage = item.stash.get(STAGE, None)
    lies = 0 if stage is None else lies_told(stage)
    if cell["verdict"] == Verdict.NOT_APPLICABLE:
        outcome, why = NOT_NEEDED, cell["reason"]
    elif cell["expected"] == Verdict.BROKEN:
        outcome, why = NOT_NEEDED, f"it is broken here without a liar: {cell['because']}"
    elif stage is not None and not declared.is_a_lie_on(stage.broker.about.version):
        outcome, why = NOT_NEEDED, f"{declared.by} is no lie on {stage.broker.about.version}"
    else:
        outcome, why = judge_proof(declared, Verdict(cell["verdict"]), cell["reason"], lies)
    proof = Proof(
        slug=cell["slug"],
        queue_type=cell["queue_type"],
        broker=cell["broker"],
        by=declared.by,
        outcome=outcome,
        verdict=cell["verdict"],
        reason=cell["reason"],
        lies=lies,
        why=why,
        duration=cell["duration"],
    )
    return dataclasses.asdict(proof)


def apply(item: pytest.Function, report: pytest.TestReport, cell: dict[str, Any]) -> None:
    """Turn the outcome of a spec under a liar into that of a proof."""
    proof = proof_of(item, cell)
    if proof["outcome"] == "not needed":
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, proof["why"])
    elif proof["outcome"] == "proven":
        report.outcome = "passed"
        report.longrepr = None
        report.workqueue_status = "proven"  # type: ignore[attr-defined]  # reports carry what is put there
    else:
        report.outcome = "failed"
        report.longrepr = f"{cell['slug']} is unproven by {proof['by']}: {proof['why']}"
