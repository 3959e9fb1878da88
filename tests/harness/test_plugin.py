"""The pytest plugin: outcomes become verdicts. No broker is needed: the specs here only end in different ways."""

import subprocess
import sys

import pytest

SPECS = """
from workqueue.guarantee.catalogue import guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.sources import Source
from workqueue.guarantee.verdict import Broken, NotApplicable, Unknown

SOURCE = Source("a page", "https://example.org")
BREAKS = [BrokenOn("classic", ">=4", "it was taken away", SOURCE)]

@guarantee("ends.holds", "It holds.", source=SOURCE)
def test_holds(workqueue_stage):
    workqueue_stage.evidence.proof("worker", "was killed")

@guarantee("ends.broken", "It breaks.", source=SOURCE)
def test_broken(workqueue_stage):
    workqueue_stage.evidence.note("broker", "lost a task")
    raise Broken("a task was lost")

@guarantee("ends.as-expected", "It breaks, as is known.", source=SOURCE, broken_on=BREAKS, queue_types=["classic"])
def test_broken_as_expected(workqueue_stage):
    raise Broken("it was taken away")

@guarantee("ends.stale", "It holds again.", source=SOURCE, broken_on=BREAKS, queue_types=["classic"])
def test_stale(workqueue_stage):
    pass

@guarantee("ends.unknown", "Nobody knows.", source=SOURCE)
def test_unknown(workqueue_stage):
    raise Unknown("no worker came up")

@guarantee("ends.not-applicable", "It says nothing.", source=SOURCE)
def test_not_applicable(workqueue_stage):
    raise NotApplicable("there is no such feature")

@guarantee("ends.needs-restart", "It needs more.", source=SOURCE, across="restart")
def test_needs_restart():
    yield

@hazard("ends.quorum-only", "It is for one type.", source=SOURCE, queue_types=["quorum"])
def test_quorum_only(workqueue_stage):
    assert workqueue_stage.queue_type == "quorum"
"""


@pytest.fixture
def specs(project):
    project.makepyfile(SPECS)
    return project


@pytest.fixture
def run(specs, verdicts):
    """Runs the specs; returns pytest's result and the cells by slug and queue type."""

    def run(*options, **broker):
        result, cells = verdicts(*options, **broker)
        return result, {(cell["slug"], cell["queue_type"]): cell for cell in cells}

    return run


def test_each_way_to_end_has_its_verdict(run):
    result, cells = run()

    verdicts = {slug: (cell["verdict"], cell["expected"], cell["surprise"]) for (slug, _), cell in cells.items()}
    assert verdicts == {
        "ends.holds": ("holds", "holds", False),
        "ends.broken": ("broken", "holds", True),
        "ends.as-expected": ("broken", "broken", False),
        "ends.stale": ("holds", "broken", True),
        "ends.unknown": ("unknown", "holds", False),
        "ends.not-applicable": ("not-applicable", "holds", False),
        "ends.needs-restart": ("not-applicable", "holds", False),
        "ends.quorum-only": ("holds", "holds", False),
    }
    # Twice each, but for those of one queue type; what is as expected passes.
    result.stdout.fnmatch_lines(["*5 failed, 3 passed, 4 skipped, 1 broken as expected*"])


def test_a_broker_that_is_gone_has_broken_nothing(run):
    result, cells = run(broker="dead")

    ends = {slug: (cell["verdict"], cell["surprise"]) for (slug, _), cell in cells.items()}
    assert ends["ends.broken"] == ends["ends.as-expected"] == ends["ends.unknown"] == ("unknown", False)
    assert ends["ends.not-applicable"] == ("not-applicable", False)
    assert cells["ends.broken", "quorum"]["reason"] == (
        "the broker does not answer any more: Connection refused. So nothing is known; "
        "the spec ended with: a task was lost"
    )
    result.stdout.fnmatch_lines(["verdict  unknown, expected holds"])


def test_a_cell_carries_evidence_and_story(run):
    _, cells = run("--guarantee=ends.holds", "--guarantee=ends.broken")

    assert cells["ends.holds", "classic"]["evidence"] == ["worker: was killed"]
    broken = cells["ends.broken", "quorum"]
    assert broken["reason"] == "a task was lost"
    assert [note["what"] for note in broken["timeline"]] == ["lost a task"]
    assert broken["about"]["version"] == "4.0.5"


def test_a_failure_tells_claim_source_and_story(run):
    result, _ = run("--guarantee=ends.broken", "--queue-type=classic")

    result.stdout.fnmatch_lines(
        [
            "*guarantee ends.broken*",
            "It breaks.",
            "source   a page <https://example.org>",
            "verdict  broken, expected holds",
            "reason   a task was lost",
            "*broker: lost a task",
            "*guarantees*",
            "ends * 1 surprise",
        ]
    )


def test_a_stale_expectation_fails(run):
    result, _ = run("--guarantee=ends.stale")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ends.stale holds, and was expected to be broken: it was taken away*"])


@pytest.mark.parametrize("options", [["--queue-type=quorum"], ["-o", "workqueue_queue_type=quorum"]])
def test_queue_types_can_be_chosen_on_the_command_line_and_in_ini(run, options):
    _, cells = run(*options)

    assert {queue_type for _, queue_type in cells} == {"quorum"}
    assert ("ends.quorum-only", "quorum") in cells


@pytest.mark.parametrize(
    "options", [["--broker-setting=heartbeat=17"], ["-o", "workqueue_broker_setting=heartbeat = 17"]]
)
def test_broker_settings_come_from_the_command_line_or_ini(specs, options):
    specs.makepyfile("def test_given(workqueue_broker): assert workqueue_broker.given == {'heartbeat': '17'}")

    specs.runpytest_subprocess("--broker=fake", *options).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--guarantee=ends.hold"], "is of a guarantee 'ends.hold'. Did you mean ends.holds"),
        (["--guarantee=ends.holds", "--guarantee=nope"], "is of a guarantee 'nope'. Chapters: ends."),
        (["--guarantee-chapter=end"], "is of a chapter 'end'. Did you mean ends?"),
        (["--guarantee=nope", "-n2"], "is of a guarantee 'nope'. Chapters: ends."),
    ],
)
def test_a_choice_that_no_test_is_of_is_wrong_usage(specs, options, words):
    result = specs.runpytest_subprocess("--broker=fake", *options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: None of the tests collected {words}" in result.stderr.str()


def test_a_choice_can_be_narrowed_further(specs):
    result = specs.runpytest_subprocess("--broker=fake", "--guarantee=ends.holds", "-k", "quorum")

    result.assert_outcomes(passed=1, deselected=12)


def test_a_file_that_cannot_be_imported_is_told_before_a_choice_that_may_be_in_it(specs):
    specs.makepyfile(test_torn="raise RuntimeError('out of luck')")
    result = specs.runpytest_subprocess("--broker=fake", "--guarantee=torn.apart")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*out of luck*"])


def test_specs_run_on_every_broker(specs):
    result = specs.runpytest_subprocess("--guarantee=ends.holds", "--broker=one", "--broker=two", "-v")

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*one-classic*", "*one-quorum*", "*two-classic*", "*two-quorum*"])


def test_the_broker_can_come_from_the_environment(specs, monkeypatch):
    monkeypatch.setenv("WORKQUEUE_BROKER", "one two")
    result = specs.runpytest_subprocess("--guarantee=ends.holds")

    result.stdout.fnmatch_lines(["workqueue: broker one, two; queue types classic, quorum"])


def test_a_password_is_never_shown(specs):
    result = specs.runpytest_subprocess("--broker=amqp://user:secret@127.0.0.1:1/", "-v", "-rA")

    assert "secret" not in result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["workqueue: broker amqp://user:[*][*][*]@127.0.0.1:1/*"])


FAILS = """
def test_fails(workqueue_broker, workqueue_queue_type):
    url = workqueue_broker.url
    assert url.endswith("nowhere")
"""
STYLES = [
    ["--tb=long"],
    ["--tb=long", "--showlocals"],
    ["--full-trace", "--showlocals", "--setup-show"],
    ["--tb=native"],
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("broker", ["amqp://user:secret@127.0.0.1:1/", "amqp:/user:secret@127.0.0.1"])
def test_a_password_is_in_no_traceback_of_a_broker_that_cannot_be_had(pytester, style, broker):
    pytester.makepyfile(FAILS)
    result = pytester.runpytest_subprocess(f"--broker={broker}", "-v", "-rA", *style)

    result.assert_outcomes(errors=2)
    assert "secret" not in result.stdout.str() + result.stderr.str()


def test_no_broker_is_told_in_a_line_and_not_in_a_traceback(pytester):
    pytester.makepyfile(FAILS)
    result = pytester.runpytest_subprocess("--broker=amqp://user:secret@127.0.0.1:1/", "--queue-type=classic")

    lines = result.stdout.str().splitlines()
    begin = next(number for number, line in enumerate(lines) if "ERROR at setup of" in line)
    assert lines[begin + 1].startswith("no broker: The broker amqp://user:***@127.0.0.1:1/ cannot be reached")
    assert "short test summary" in lines[begin + 2]


@pytest.mark.parametrize("style", STYLES)
def test_a_password_is_in_no_traceback_of_a_test_that_uses_the_broker(specs, style):
    specs.makepyfile(FAILS)
    conftest = specs.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace('"amqp://nobody@127.0.0.1:1/"', "spec"))
    result = specs.runpytest_subprocess("--broker=amqp://user:secret@127.0.0.1:1/", "-v", "-rA", *style)

    result.assert_outcomes(failed=2)
    assert "secret" not in result.stdout.str() + result.stderr.str()


def test_verdicts_travel_from_xdist_workers(run):
    result, cells = run("-n2", "--guarantee=ends.holds", "--guarantee=ends.as-expected")

    assert {(slug, cell["verdict"]) for (slug, _), cell in cells.items()} == {
        ("ends.holds", "holds"),
        ("ends.as-expected", "broken"),
    }
    result.stdout.fnmatch_lines(["ends * 2 holds, 1 broken as expected"])


def test_a_broker_that_was_asked_for_and_cannot_be_had_is_an_error(specs):
    result = specs.runpytest_subprocess("--broker=debian:none", "--guarantee=ends.holds")

    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*There is no Debian release 'none'. Use one of: trixie.*"])


def test_without_any_broker_people_get_a_skip_and_ci_gets_an_error(specs, monkeypatch):
    conftest = specs.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace('"debian:none"', '"auto"'))
    specs.runpytest_subprocess("--guarantee=ends.holds").assert_outcomes(skipped=2)

    monkeypatch.setenv("CI", "true")
    specs.runpytest_subprocess("--guarantee=ends.holds").assert_outcomes(errors=2)


def test_the_plugin_imports_nothing_heavy():
    """Every pytest run in the environment loads it, also those that never heard of RabbitMQ."""
    script = (
        "import sys, pytest; before = set(sys.modules); import workqueue.guarantee.plugin; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    heavy = {"pika", "docker", "testcontainers", "psutil", "rich", "click", "requests", "packaging", "platformdirs"}
    assert not heavy & set(run.stdout.split())


def test_the_plugin_can_be_imported_by_the_oldest_pytest_that_is_permitted():
    """8.3 has no TerminalReporter, and what cannot be imported there ends every pytest run in the environment."""
    script = "import pytest; vars(pytest).pop('TerminalReporter', 0); import workqueue.guarantee.plugin"
    subprocess.run([sys.executable, "-c", script], check=True)
