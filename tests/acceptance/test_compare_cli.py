"""`workqueue compare` and `workqueue guarantees` as a person runs them; no broker is needed."""

import itertools
import json
import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from workqueue.guarantee import catalogue
from workqueue.report import measured

ROOT = Path(__file__).parents[2]
SLUG = "durability.queue-survives-kill"


def workqueue(*arguments, **options):
    argv = [sys.executable, "-P", "-m", "workqueue", *map(str, arguments)]
    return subprocess.run(argv, **{"capture_output": True, "text": True, "check": False, **options})


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


def test_markdown_goes_where_a_link_leads_and_through_an_open_pipe(before, tmp_path):
    page, link = tmp_path / "page.md", tmp_path / "link.md"
    page.write_text("yesterday's")
    link.symlink_to(page)
    read, written = os.pipe()  # a shell's >(command)

    with os.fdopen(read) as reader:
        with os.fdopen(written, "w"):
            runs = [
                workqueue("compare", before, before, "--markdown", each, pass_fds=[written])
                for each in (link, f"/dev/fd/{written}")
            ]
        through = reader.read()

    assert [run.returncode for run in runs] == [0, 0], runs
    assert link.is_symlink()
    assert through == page.read_text() != "yesterday's"


def small_files_only():
    """Let the kernel refuse what is larger than 100 bytes, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.mark.parametrize(("verdict", "code"), [("holds", 2), ("broken", 1)])
def test_what_cannot_be_written_is_still_shown(before, tmp_path, verdict, code):
    after, page = report(tmp_path / "after.json", verdict), tmp_path / "changes.md"
    page.write_text("yesterday's")

    run = workqueue("compare", before, after, "--markdown", page, preexec_fn=small_files_only)

    assert run.returncode == code, run.stderr
    assert run.stdout == workqueue("compare", before, after).stdout
    assert " ".join(run.stderr.split()) == f"Error: The comparison cannot be written to {page}: File too large."
    assert sorted(tmp_path.iterdir()) == sorted({before, after, page})
    assert page.read_text() == "yesterday's"


@pytest.mark.parametrize("arguments", [["compare", "BEFORE", "BEFORE"], ["guarantees"], ["guarantees", "--markdown"]])
def test_output_that_is_not_taken_is_no_verdict(before, tmp_path, arguments):
    arguments = [before if each == "BEFORE" else each for each in arguments]
    with (tmp_path / "output").open("w") as output:
        output.write("what was there before".ljust(100))
        output.flush()
        run = workqueue(
            *arguments, capture_output=False, stdout=output, stderr=subprocess.PIPE, preexec_fn=small_files_only
        )

    assert run.returncode == 2
    told = "Error: Standard output cannot be written to: File too large. Not all of it was shown."
    assert " ".join(run.stderr.split()) == told


@pytest.mark.parametrize("arguments", [["compare", "BEFORE", "BEFORE"], ["guarantees"]])
def test_a_reader_who_has_gone_is_no_verdict_and_no_news(before, arguments):
    read, written = os.pipe()
    os.close(read)
    with os.fdopen(written, "w") as output:
        arguments = [before if each == "BEFORE" else each for each in arguments]
        run = workqueue(*arguments, capture_output=False, stdout=output, stderr=subprocess.PIPE)

    assert run.returncode == 2
    assert run.stderr == ""


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
        (["BEFORE", "BEFORE", "--allow", "dispatch.round-robin"], "'dispatch.round-robin' is in neither report"),
        (["BOTH", "--allow", "dispatch.round-robin"], "'dispatch.round-robin' is not in the report"),
        (["BEFORE", "BEFORE", "--before-broker", "x"], "debian:bookworm"),
        (["BEFORE", "BEFORE", "--markdown", "/nowhere/x.md"], "cannot be written"),
    ],
)
def test_wrong_usage(before, tmp_path, options, words):
    paths = {"BEFORE": before, "BOTH": report(tmp_path / "both.json", "holds", "holds", brokers=("a", "b"))}
    run = workqueue("compare", *(paths.get(each, each) for each in options))

    assert run.returncode == 3, run.stdout + run.stderr
    assert words in " ".join(run.stderr.split())
    assert "Traceback" not in run.stderr


def test_what_is_allowed_has_to_be_among_what_is_compared(before):
    content = json.loads(before.read_text())
    other = {"slug": "dispatch.round-robin", "queue_type": "quorum"}
    content["cells"].append(content["cells"][0] | other)
    content["planned"].append(content["planned"][0] | other)
    content["footer"] |= {"planned": 2, "cells": 2}
    before.write_text(json.dumps(content))

    run = workqueue("compare", before, before, "--queue-type", "classic", "--allow", "dispatch.round-robin")

    assert run.returncode == 3, run.stdout + run.stderr
    assert "is reported, but not on the brokers and queue types that are compared" in " ".join(run.stderr.split())


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
