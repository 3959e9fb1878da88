"""Results as JSON: every sample, and what it was measured on."""

import dataclasses
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from workqueue.broker import About

from .bench import Extent
from .model import Sample


def describe(about: About, extent: Extent, versions: Mapping[str, str | None]) -> dict[str, object]:
    """The circumstances of a run."""
    return {
        "broker": {"product": about.product, "version": about.version, "erlang": about.erlang, "spec": about.spec},
        "python": platform.python_version(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "extent": dataclasses.asdict(extent),
        "versions": dict(versions),
    }


def heading(described: Mapping[str, object], repeats: int) -> str:
    """The same for people, in a line or two."""
    broker, versions = described["broker"], described["versions"]
    assert isinstance(broker, dict)
    assert isinstance(versions, dict)
    installed = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    missing = [name for name, version in versions.items() if version is None]
    where = f"{broker['product']} {broker['version']}, Erlang {broker['erlang']}; Python {described['python']}"
    taken = f"medians of {repeats} interleaved repeats (one of memory, redelivery and million)"
    lines = [f"{where}, {described['cpus']} CPUs; {taken}.", f"{installed}."]
    if missing:
        lines.append(f"MISSING, since not installed: {', '.join(missing)}.")
    return "\n".join(lines)


def save(path: Path, described: Mapping[str, object], samples: Sequence[Sample]) -> None:
    """Write it."""
    content = {**described, "samples": [dataclasses.asdict(each) for each in samples]}
    path.write_text(json.dumps(content, indent=1) + "\n")
