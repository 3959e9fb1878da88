"""The pytest plugin: what a spec may look like, and what is said of one that cannot be one."""

import pytest

from workqueue.broker import Broker
from workqueue.guarantee.collecting import what_is_on_stage
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.stage import Stage

HEAD = """
from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.sources import Source

SOURCE = Source("a page", "https://example.org")
"""


class Any(Broker):
    spec = "any"
    capabilities = frozenset()

    def close(self):
        pass


def ends(cells):
    return [(cell["slug"], cell["queue_type"], cell["verdict"], cell["reason"]) for cell in cells]


def test_a_fixture_that_there_is_not_is_told_as_ever_and_leaves_the_verdict_unknown(project, verdicts):
    project.makepyfile(
        HEAD + "@guarantee('a.b', 'It.', source=SOURCE)\ndef test_spec(queue, publish): pass\n"
        "def test_other(workqueue_queue_type): pass"
    )
    result, cells = verdicts("--queue-type=classic")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E * fixture 'queue' not found"])
    assert ends(cells) == [("a.b", "classic", "unknown", "fixture 'queue' not found")]


@pytest.mark.parametrize("parameters", ["", "workqueue_broker", "workqueue_queue_type"])
def test_a_spec_runs_for_each_queue_type_of_its_guarantee_whatever_it_uses(project, verdicts, parameters):
    project.makepyfile(
        HEAD + f"@guarantee('a.b', 'It.', source=SOURCE)\ndef test_both({parameters}): pass\n"
        f"@guarantee('a.c', 'It.', source=SOURCE, queue_types=['quorum'])\ndef test_one({parameters}): pass\n"
    )
    result, cells = verdicts()

    result.assert_outcomes(passed=3)
    holds = [("a.b", "classic", "holds", ""), ("a.b", "quorum", "holds", ""), ("a.c", "quorum", "holds", "")]
    assert ends(cells) == holds
    assert {cell["about"]["version"] for cell in cells} == {"4.0.5"}


def test_a_spec_that_uses_the_broker_alone_is_not_run_on_one_that_cannot_do_what_it_needs(project, verdicts):
    project.makepyfile(
        HEAD + "@guarantee('a.b', 'It.', source=SOURCE, needs=['kill'])\ndef test_it(workqueue_broker): assert 0"
    )
    _, cells = verdicts("--queue-type=classic")

    assert ends(cells) == [("a.b", "classic", "not-applicable", "fake is not ours to: kill")]


def test_a_spec_can_be_a_method_and_have_parameters_of_its_own(project, verdicts):
    project.makepyfile(
        HEAD + "import pytest\nclass TestThem:\n    @pytest.mark.parametrize('number', [1, 2])\n"
        "    @guarantee('a.b', 'It.', source=SOURCE)\n    def test_it(self, number): assert number\n"
    )
    result, cells = verdicts("--queue-type=classic")

    result.assert_outcomes(passed=2)
    assert ends(cells) == [("a.b", "classic", "holds", "")] * 2


ACROSS = "@guarantee('a.b', 'It.', source=SOURCE, across='restart')\n"
WRONG = {
    "class TestThem:\n    " + ACROSS + "    def test_it(self, queue): yield": (
        "test_wrong.py::TestThem::test_it cannot be the spec of 'a.b': it is declared with across=, and so cannot be "
        "a method. Write it as a function."
    ),
    ACROSS + "def test_it(workqueue_queue): yield": (
        "test_wrong.py::test_it cannot be the spec of 'a.b': it is declared with across=, so its parameters are no "
        "fixtures, but what its stage has, and that has no 'workqueue_queue'. Did you mean queue?"
    ),
    ACROSS + "def test_it(tmp_path): yield": "and that has no 'tmp_path'. There are: broker, ",
    "import unittest\nclass Case(unittest.TestCase):\n"
    "    @guarantee('a.b', 'It.', source=SOURCE)\n    def test_it(self): pass": (
        "test_wrong.py::Case::test_it cannot be the spec of 'a.b': pytest runs it once, as it does the methods of "
        "unittest.TestCase, and it would have to run for each broker and queue type."
    ),
    "@guarantee('a.b', 'It.', source=SOURCE)\ndef test_one(): pass\n"
    "@guarantee('a.b', 'It.', source=SOURCE)\ndef test_two(): pass": (
        "The slug 'a.b' is used twice, by test_wrong.py::test_one and by test_wrong.py::test_two. It is the name of "
        "one guarantee: give one of them another."
    ),
}


@pytest.mark.parametrize("options", [[], ["-n1"]])
@pytest.mark.parametrize(("spec", "words"), WRONG.items(), ids=["method", "fixture", "unknown", "unittest", "twice"])
def test_what_cannot_be_a_spec_is_refused_before_any_is_run(project, options, spec, words):
    project.makepyfile(test_wrong=HEAD + spec)
    result = project.runpytest_subprocess("--broker=fake", *options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_the_parameters_of_a_spec_that_goes_across_a_fall_are_what_its_stage_has():
    broker = Any()
    broker.url = "amqp://nobody@127.0.0.1:1/"
    stage = Stage(broker, "classic", Evidence())

    assert what_is_on_stage() == [name for name in dir(stage) if not name.startswith("_")]
