"""What was measured on RabbitMQ's releases: the verdicts of one ``workqueue verify``, short enough to be kept.

``measured.json`` is derived from a whole report (see `digest`), and never written by hand.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workqueue.report.comparison import brokers

KEPT = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Measured:
    """The kept verdicts.

    :param finished: when the run was over, ISO 8601.
    :param brokers: what is known of each broker, by its spec, in the order of the run.
    :param verdicts: slug → queue type → the verdict on each broker (None: not planned there).
    :param reasons: (slug, broker, queue type) → why a verdict is neither ``holds`` nor ``broken``.
    """

    finished: str
    brokers: Mapping[str, Mapping[str, Any]]
    verdicts: Mapping[str, Mapping[str, list[str | None]]]
    reasons: Mapping[tuple[str, str, str], str]

    def of(self, slug: str, queue_type: str) -> dict[str, str | None]:
        """The verdict on each broker; empty if this was not measured yet."""
        found = self.verdicts.get(slug, {}).get(queue_type)
        return dict(zip(self.brokers, found, strict=True)) if found else {}


def digest(report: Mapping[str, Any]) -> str:
    """A whole report (see `workqueue.report.reading.read`) as the text of ``measured.json``, a line a guarantee."""
    names = brokers(report)
    verdicts: dict[str, dict[str, list[str | None]]] = {}
    reasons = []
    for cell in report["cells"]:
        row = verdicts.setdefault(cell["slug"], {}).setdefault(cell["queue_type"], [None] * len(names))
        row[names.index(cell["broker"])] = cell["verdict"]
        if cell["verdict"] not in ("holds", "broken"):
            reasons.append([cell["slug"], cell["broker"], cell["queue_type"], cell["reason"]])
    about = {name: _about(report["brokers"].get(name) or {}) for name in names}
    head = {"tool": report["tool"], "finished": report["finished"], "brokers": about, "reasons": reasons}
    lines = [f"  {json.dumps(slug)}: {json.dumps(row)}" for slug, row in verdicts.items()]
    opening = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    return opening + ',\n "verdicts": {\n' + ",\n".join(lines) + "\n }\n}\n"


def _about(about: Mapping[str, Any]) -> dict[str, Any]:
    return {name: about.get(name) for name in ("product", "version", "erlang", "package", "configuration")}


def load(path: Path = KEPT) -> Measured:
    """Read what was kept."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    reasons = {(slug, broker, queue_type): reason for slug, broker, queue_type, reason in kept["reasons"]}
    return Measured(kept["finished"], kept["brokers"], kept["verdicts"], reasons)
