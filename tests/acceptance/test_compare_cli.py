"""`workqueue compare` and `workqueue guarantees` as a person runs them; no broker is needed."""

import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from workqueue.guarantee import catalogue
from workqueue.report import measured

ROOT = Path(__file__).parents[2]
SLUG = "durability.queue-survives-kill"


def workqueue(*arguments):
    return subprocess.run(
        [sys.executable, "-P", "-m", "workqueue", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def cell(broker, verdict, *, slug=SLUG, kind="guarantee", queue_type="classic"):
    """A cell of a report; what is broken is a surprise."""
    return {
        "slug": slug,
        "chapter": slug.partition(".")[0],
        "kind": kind,
        "text": "It survives.",
        "broker": broker,
        "queue_type": queue_type,
        "verdict": verdict,
        "expected": "holds",
        "because": "",
        "surprise": verdict == "broken",
        "reason": "",
        "trials": 1,
    }


def report(path, *verdicts, brokers=("debian:bookworm",)):
    """Write a report with a cell for each broker and verdict."""
    return write(path, [cell(broker, verdict) for broker, verdict in zip(brokers, verdicts, strict=True)])


def write(path, cells):
    brokers = dict.fromkeys(cell["broker"] for cell in cells)
    path.write_text(
        json.dumps(
            {
                "schema": 1,
                "tool": {"version": "0.1.0"},
                "finished": "2026-01-01T00:00:00+00:00",
                "planned": [{key: cell[key] for key in ("slug", "broker", "queue_type")} for cell in cells],
                "brokers": {broker: {"version": "3.10.8"} for broker in brokers},
                "cells": cells,
                "footer": {"complete": True, "planned": len(cells), "cells": len(cells), "missing": 0},
            }
        )
    )
    return path


@pytest.fixture
def before(tmp_path):
    return report(tmp_path / "before.json", "holds")


def test_nothing_lost(before):
    run = workqueue("compare", before, before)
    assert run.returncode == 0, run.stderr
    assert "Nothing was lost." in run.stdout


def test_a_loss_fails_until_it_is_allowed(before, tmp_path):
    after, page = report(tmp_path / "after.json", "broken"), tmp_path / "changes.md"

    run = workqueue("compare", before, after, "--markdown", page)
    allowed = workqueue("compare", before, after, "--allow", SLUG)
    stale = workqueue("compare", before, before, "--allow", SLUG)

    assert run.returncode == 1
    assert f"Lost: {SLUG}." in run.stdout
    assert f"`{SLUG}`" in page.read_text()
    assert allowed.returncode == 0
    assert stale.returncode == 1
    assert "Remove the --allow" in stale.stdout


def test_one_report_with_two_brokers_will_do(tmp_path):
    both = report(tmp_path / "both.json", "broken", "holds", brokers=("debian:bookworm", "debian:forky"))

    assert workqueue("compare", both).returncode == 0
    assert workqueue("compare", both, "--before-broker", "debian:forky").returncode == 1


def test_a_report_that_is_cut_short_is_not_comparable(before, tmp_path):
    cut = tmp_path / "cut.json"
    cut.write_text(json.dumps({k: v for k, v in json.loads(before.read_text()).items() if k != "footer"}))

    run = workqueue("compare", before, cut)

    assert run.returncode == 2
    assert "incomplete" in run.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["/nowhere.json"], "/nowhere.json"),
        (["BEFORE"], "nothing to compare it with"),
        (["BEFORE", "BEFORE", "--allow", "durability.queue-survives-kil"], SLUG),
        (["BEFORE", "BEFORE", "--before-broker", "x"], "debian:bookworm"),
        (["BEFORE", "BEFORE", "--markdown", "/nowhere/x.md"], "cannot be written"),
    ],
)
def test_wrong_usage(before, options, words):
    run = workqueue("compare", *(before if each == "BEFORE" else each for each in options))

    assert run.returncode == 3, run.stdout + run.stderr
    assert words in " ".join(run.stderr.split())
    assert "Traceback" not in run.stderr


def test_guarantees_are_listed_and_explained():
    assert f"  {SLUG}\n" in workqueue("guarantees").stdout
    one = workqueue("guarantees", SLUG).stdout
    assert "How it is tested:" in one
    assert "durability.transient-queue-is-forgotten" in one
    wrong = workqueue("guarantees", "durability.queue-survives-kil")
    assert wrong.returncode == 3
    assert SLUG in wrong.stderr


def test_a_whole_report_is_digested_and_a_cut_one_is_not(before):
    digest = json.loads(workqueue("guarantees", "--measured", before).stdout)
    assert digest["verdicts"] == {SLUG: {"classic": ["holds"]}}

    before.write_text("{}")
    assert workqueue("guarantees", "--measured", before).returncode == 2


def options(command, name):
    return [value for option, value in itertools.pairwise(command) if option == name]


def test_the_upgrade_that_the_documentation_shows_passes_with_what_it_allows(tmp_path, monkeypatch):
    page = (ROOT / "CI.md").read_text(encoding="utf-8").replace("\\\n", " ")
    [(verify, compare)] = re.findall(r"^(workqueue verify .*)\n(workqueue compare .* --allow .*)$", page, re.MULTILINE)
    verified, command = shlex.split(verify), shlex.split(compare)
    chapters, brokers = options(verified, "--chapter"), options(verified, "--broker")
    [queue_type], kept = options(verified, "--queue-type"), measured.load()
    cells = [
        cell(broker, kept.of(entry.slug, queue_type)[broker], slug=entry.slug, kind=entry.kind, queue_type=queue_type)
        for entry in catalogue.load().values()
        if entry.chapter in chapters and queue_type in entry.queue_types
        for broker in brokers
    ]
    monkeypatch.chdir(tmp_path)
    write(tmp_path / options(verified, "--json")[0], cells)

    run = workqueue(*command[1:])

    # Neither is anything else lost, nor is an --allow stale.
    assert run.returncode == 0, run.stdout + run.stderr
    assert " 5 lost" in run.stdout
