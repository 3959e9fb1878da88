"""What a report says of proofs: which spec was seen to catch what, and which guarantees are unproven."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workqueue.guarantee.catalogue import Guarantee

Run = Mapping[str, Any]


def section(entries: Iterable[Guarantee], runs: Sequence[Run] | None, missing: Mapping[str, str]) -> dict[str, Any]:
    """The part of a report that speaks of proofs.

    :param entries: the guarantees that the report is about.
    :param runs: the proofs that ran, or None if none were asked for.
    :param missing: slugs of which a planned proof did not run, with the reason.
    """
    entries = list(entries)
    found: dict[str, Any] = {"unproven": _undeclared(entries)}
    if runs is not None:
        found["unproven"] |= {**missing, **_failed(runs)}
        found["runs"] = list(runs)
        found["matrix"] = matrix(runs)
    return found


def matrix(runs: Iterable[Run]) -> dict[str, dict[str, list[str]]]:
    """The kill matrix: guarantee → liar or mutant → where it was caught."""
    found: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        if run["outcome"] == "proven":
            found.setdefault(run["slug"], {}).setdefault(run["by"], []).append(f"{run['broker']} {run['queue_type']}")
    return found


def exit_code(proofs: Mapping[str, Any]) -> int:
    """1 if a spec did not see what it should, 2 if that is not known, else 0."""
    outcomes = {run["outcome"] for run in proofs.get("runs", ())}
    return 1 if "blind" in outcomes else 2 if "unknown" in outcomes else 0


def _undeclared(entries: Iterable[Guarantee]) -> dict[str, str]:
    return {entry.slug: entry.unproven for entry in entries if not entry.proved_by}


def _failed(runs: Iterable[Run]) -> dict[str, str]:
    proven = {(run["slug"], run["broker"], run["queue_type"]) for run in runs if run["outcome"] == "proven"}
    return {
        run["slug"]: f"on {run['broker']}, {run['queue_type']}: {run['why']}"
        for run in runs
        if run["outcome"] in ("blind", "unknown") and (run["slug"], run["broker"], run["queue_type"]) not in proven
    }
