"""Is every liar found by who is not told of it? For each liar, the same specs run against a URL that leads through it.

    python bench/blind.py [--broker SPEC]... [--jobs N] [LIAR]...

The specs are the fewest that, by their declared proofs, find all liars. `workqueue verify` has to end with 1 and to
call a guarantee broken that is proved by this liar; through an honest proxy it has to end with 0. Where a liar shows
only when the broker restarts, or in what rabbitmqctl lists, the URL is not enough, and `workqueue verify --behind` is
used instead.
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

from workqueue.broker import resolve
from workqueue.guarantee import catalogue
from workqueue.guarantee.catalogue import Guarantee
from workqueue.wire.liars import KNOWN, LIARS, Honest
from workqueue.wire.proxy import Proxy

URL_IS_ENOUGH = "a URL"
BEHIND = "--behind"


def finders(entries: list[Guarantee]) -> dict[str, list[str]]:
    """The guarantees by which each liar is found, those first that a URL is enough for."""
    found: dict[str, list[str]] = {}
    for entry in sorted(entries, key=lambda entry: (bool(entry.needs), entry.slug)):
        for caught in entry.proved_by:
            if caught.by in LIARS:
                found.setdefault(caught.by, []).append(entry.slug)
    return found


def fewest(found: dict[str, list[str]]) -> list[str]:
    """Few guarantees that find all of these liars: always the one that finds most of those that are left."""
    left, chosen = dict(found), []
    while left:
        candidates = {slug for slugs in left.values() for slug in slugs}
        best = max(sorted(candidates), key=lambda slug: sum(slug in slugs for slugs in left.values()))
        chosen.append(best)
        left = {liar: slugs for liar, slugs in left.items() if best not in slugs}
    return sorted(chosen)


def run(liar: str, spec: str, url: str, slugs: list[str], *, behind: bool) -> tuple[int, set[str], float]:
    """Run the specs; exit code, the guarantees that were broken by surprise, seconds."""
    only = [each for slug in slugs for each in ("--only", slug)]
    env = {**os.environ, "WORKQUEUE_PATIENCE": "4"}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        argv = [sys.executable, "-P", "-m", "workqueue", "verify", *only, "--json", str(report)]
        if behind:
            status = _status([*argv, "--behind", liar, "--broker", spec], env)
        else:
            parsed = urllib.parse.urlsplit(url)
            with Proxy(parsed.hostname or "127.0.0.1", parsed.port or 5672, KNOWN[liar]()) as proxy:
                credentials = parsed.netloc.rpartition("@")[0]
                through = parsed._replace(netloc=f"{credentials}@127.0.0.1:{proxy.port}").geturl()
                status = _status(argv, env | {"WORKQUEUE_BROKER": through})
        cells = json.loads(report.read_text())["cells"]
    return status, {cell["slug"] for cell in cells if cell["surprise"]}, time.monotonic() - started


def _status(argv: list[str], env: dict[str, str]) -> int:
    return subprocess.run(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def main() -> int:
    """Run all, and say which were found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", action="append", help="where each liar has to be found (default: auto)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("liars", nargs="*", metavar="LIAR", help="only these")
    options = parser.parse_args()
    known = catalogue.load()
    found = finders(list(known.values()))
    by_url = {liar: [slug for slug in slugs if not known[slug].needs] for liar, slugs in found.items()}
    by_url = {liar: slugs for liar, slugs in by_url.items() if slugs}
    others = {liar: slugs for liar, slugs in found.items() if liar not in by_url}
    plans = {URL_IS_ENOUGH: fewest(by_url), BEHIND: fewest(others)}
    missed = 0
    for spec in options.broker or ["auto"]:
        source = resolve(spec)
        source.prepare()
        with source.start() as broker, concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            wanted = options.liars or [Honest.name, *found]
            runs = {}
            for liar in wanted:
                behind = liar in others
                slugs = plans[BEHIND if behind else URL_IS_ENOUGH]
                runs[pool.submit(run, liar, source.spec, broker.url, slugs, behind=behind)] = liar
            for done in concurrent.futures.as_completed(runs):
                liar, (status, broken, seconds) = runs[done], done.result()
                right = sorted(broken & set(found.get(liar, ())))
                ok = (status, broken) == (0, set()) if liar == Honest.name else status == 1 and bool(right)
                missed += not ok
                say = "found" if ok else "MISSED"
                say = "honest" if ok and liar == Honest.name else say
                print(
                    f"{source.spec:16} {say:7} {liar:28} exit {status}, {seconds:5.1f} s, {', '.join(right or broken)}"
                )
                sys.stdout.flush()
    print(f"{missed} missed; {len(plans[URL_IS_ENOUGH])} specs against a URL, {len(plans[BEHIND])} behind the liar")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
