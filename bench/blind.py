"""Is every liar found by who is not told of it? For each liar, the same specs run against a URL that leads through it.

    python bench/blind.py [--broker SPEC]... [--jobs N] [--report REPORT.json] [LIAR]...

The specs are the fewest that, by their declared proofs, find all liars (or --at-once N of them). `workqueue verify` has
to end with 1 and to call a guarantee broken that is proved by this liar; through an honest proxy it has to end with 0.
Where a liar shows only when the broker restarts, or in what rabbitmqctl lists, the URL is not enough, and
`workqueue verify --behind` is used instead.
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workqueue.broker import About, resolve
from workqueue.broker.configuration import observe
from workqueue.guarantee import catalogue
from workqueue.guarantee.catalogue import Guarantee
from workqueue.guarantee.expectation import QUEUE_TYPES, expected
from workqueue.guarantee.verdict import Verdict
from workqueue.wire.liars import KNOWN, LIARS, Honest
from workqueue.wire.proxy import Proxy

Finders = dict[str, list[str]]


def finders(entries: list[Guarantee], queue_type: str, about: About) -> Finders:
    """The guarantees that find each liar on such a broker and queue, those first that a URL is enough for."""
    found: Finders = {}
    for entry in sorted(entries, key=lambda entry: (bool(entry.needs), entry.slug)):
        if queue_type not in entry.queue_types:
            continue
        if expected(entry.broken_on, queue_type, about.version, about.configuration)[0] is not Verdict.HOLDS:
            continue
        for caught in entry.proved_by:
            if caught.by in LIARS and queue_type in caught.on and caught.is_a_lie_on(about.version):
                found.setdefault(caught.by, []).append(entry.slug)
    return found


def fewest(found: Finders, seconds: Mapping[str, float]) -> list[str]:
    """Few guarantees that find all of these liars: always the one that finds most of those left for its time."""
    left, chosen = dict(found), []
    while left:
        candidates = {slug for slugs in left.values() for slug in slugs}
        worth = {slug: sum(slug in slugs for slugs in left.values()) / seconds.get(slug, 1.0) for slug in candidates}
        best = max(sorted(candidates), key=worth.__getitem__)
        chosen.append(best)
        left = {liar: slugs for liar, slugs in left.items() if best not in slugs}
    return sorted(chosen)


@dataclass(frozen=True)
class Plan:
    """How a liar is to be found: which specs are run, on which queues, and which of them have to find it."""

    liar: str
    queue_type: str
    slugs: list[str]
    finders: list[str]
    behind: bool


def plans(
    known: Sequence[Guarantee], about: About, liars: Sequence[str], seconds: Mapping[str, float], at_once: int
) -> Iterator[Plan]:
    """How to find each liar on a broker; they take turns with the queue types that they can be found on."""
    by_type = {queue_type: finders(list(known), queue_type, about) for queue_type in QUEUE_TYPES}
    needs = {entry.slug: bool(entry.needs) for entry in known}
    groups: dict[tuple[str, bool], Finders] = {}
    for turn, liar in enumerate(LIARS):
        types = [each for each in QUEUE_TYPES if liar in by_type[each]]
        if not types:
            print(f"{about.spec:16} nothing to lie about: {liar}")
            continue
        queue_type = types[turn % len(types)]
        slugs = by_type[queue_type][liar]
        by_url = [slug for slug in slugs if not needs[slug]]
        groups.setdefault((queue_type, not by_url), {})[liar] = by_url or slugs
    for (queue_type, behind), found in groups.items():
        names = list(found)
        for some in (names[at : at + at_once] for at in range(0, len(names), at_once)):
            chosen = fewest({liar: found[liar] for liar in some}, seconds)
            for liar in [Honest.name, *some]:
                if not liars or liar in liars:
                    yield Plan(liar, queue_type, chosen, by_type[queue_type].get(liar, []), behind)


def run(plan: Plan, spec: str, url: str) -> tuple[int, set[str], float]:
    """Run the specs; exit code, the guarantees that were broken by surprise, seconds."""
    only = [each for slug in plan.slugs for each in ("--only", slug)]
    env = dict(os.environ)
    if plan.liar != Honest.name:
        env["WORKQUEUE_PATIENCE"] = "4"  # what does not come is what most of them are found by
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        argv = [sys.executable, "-P", "-m", "workqueue", "verify", *only, "--queue-type", plan.queue_type]
        argv += ["--json", str(report)]
        if plan.behind:
            status = _status([*argv, "--behind", plan.liar, "--broker", spec], env)
        else:
            with Proxy.to(url, KNOWN[plan.liar]()) as proxy:
                status = _status(argv, env | {"WORKQUEUE_BROKER": proxy.through(url)})
        cells = json.loads(report.read_text())["cells"] if report.exists() else []
    return status, {cell["slug"] for cell in cells if cell["surprise"]}, time.monotonic() - started


def _status(argv: list[str], env: dict[str, str]) -> int:
    return subprocess.run(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def main() -> int:
    """Run all, and say which were found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", action="append", help="where each liar has to be found (default: auto)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=len(LIARS), help="look for so many liars with the same specs")
    parser.add_argument("--report", type=Path, help="of verify --json: how long each spec takes, to choose quick ones")
    parser.add_argument("liars", nargs="*", metavar="LIAR", help="only these")
    options = parser.parse_args()
    known = list(catalogue.load().values())
    seconds: dict[str, float] = {}
    if options.report:
        seconds = {
            cell["slug"]: max(cell["duration"], 0.05) for cell in json.loads(options.report.read_text())["cells"]
        }
    missed = 0
    for spec in options.broker or ["auto"]:
        source = resolve(spec)
        source.prepare()
        with source.start() as broker, concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            observe(broker)
            runs = {
                pool.submit(run, plan, source.spec, broker.url): plan
                for plan in plans(known, broker.about, options.liars, seconds, options.at_once)
            }
            for done in concurrent.futures.as_completed(runs):
                missed += not tell(source.spec, runs[done], *done.result())
    print(f"{missed} missed")
    return 1 if missed else 0


def tell(spec: str, plan: Plan, status: int, broken: set[str], seconds: float) -> bool:
    """Say how a run ended, and whether the liar was found (or the honest one left alone)."""
    right = sorted(broken & set(plan.finders))
    honest = plan.liar == Honest.name
    ok = (status, broken) == (0, set()) if honest else status == 1 and bool(right)
    say = "MISSED" if not ok else "honest" if honest else "found"
    how = f"{plan.queue_type}, {len(plan.slugs)} specs {'behind it' if plan.behind else 'by URL'}"
    what = ", ".join(right or sorted(broken))
    print(f"{spec:16} {say:7} {plan.liar:28} exit {status}, {seconds:5.1f} s, {how}: {what}", flush=True)
    return ok


if __name__ == "__main__":
    sys.exit(main())
