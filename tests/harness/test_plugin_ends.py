"""The pytest plugin: the phases of a spec, of which one alone is what its verdict is about."""

import pytest

SPECS = """
import pytest
from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.sources import Source
from workqueue.guarantee.verdict import Broken, NotApplicable, Unknown

SOURCE = Source("a page", "https://example.org")
BREAKS = [BrokenOn("classic", "", "it was taken away", SOURCE)]

@pytest.fixture
def unclean():
    yield
    raise RuntimeError("could not clean up")

"""
CLASSIC = "@guarantee('a.b', 'It.', source=SOURCE, queue_types=['classic'])\n"
KNOWN = "@guarantee('a.b', 'It.', source=SOURCE, queue_types=['classic'], broken_on=BREAKS)\n"


@pytest.fixture
def ends(project, verdicts):
    """Runs one spec; returns pytest's result, and the verdicts and reasons that it told of."""

    def ends(spec, *options):
        project.makepyfile(SPECS + spec)
        result, cells = verdicts(*options)
        return result, [(cell["verdict"], cell["reason"]) for cell in cells]

    return ends


@pytest.mark.parametrize("option", ["--setup-plan", "--setup-only"])
def test_what_was_only_set_up_has_no_verdict(ends, option):
    result, told = ends(CLASSIC + "def test_it(workqueue_queue_type): assert 0", option)

    assert result.ret == pytest.ExitCode.OK
    assert told == []


def test_what_could_not_be_set_up_has_one_all_the_same(ends):
    _, told = ends(CLASSIC + "def test_it(nowhere): pass", "--setup-only")

    assert told == [("unknown", "fixture 'nowhere' not found")]


UNCLEAN = {
    KNOWN + "def test_it(unclean): raise Broken('it was taken away')": (("broken", "it was taken away"), {}),
    CLASSIC + "def test_it(unclean): raise Broken('lost')": (("broken", "lost"), {"failed": 1}),
    CLASSIC + "def test_it(unclean): raise NotApplicable('no such')": (("not-applicable", "no such"), {"skipped": 1}),
    CLASSIC + "def test_it(unclean): pass": (("unknown", "RuntimeError: could not clean up"), {"passed": 1}),
}


@pytest.mark.parametrize(("spec", "told"), UNCLEAN.items(), ids=["as-expected", "broken", "not-applicable", "holds"])
def test_an_error_in_tear_down_is_told_beside_the_verdict(ends, spec, told):
    result, verdicts = ends(spec)

    verdict, outcomes = told
    assert verdicts == [verdict]
    result.assert_outcomes(errors=1, **outcomes)
    result.stdout.fnmatch_lines(["E * RuntimeError: could not clean up"])


EXCUSED = {
    "@pytest.mark.xfail\n" + CLASSIC + "def test_it(): assert 0": {"xfailed": 1},
    "@pytest.mark.xfail\n" + CLASSIC + "def test_it(): pass": {"xpassed": 1},
    "@pytest.mark.xfail(run=False)\n" + CLASSIC + "def test_it(): pass": {"xfailed": 1},
    CLASSIC + "def test_it(): pytest.xfail('we know')": {"xfailed": 1},
    CLASSIC + "def test_it(): pytest.skip('not today')": {"skipped": 1},
    "@pytest.mark.skip\n" + CLASSIC + "def test_it(): pass": {"skipped": 1},
}


@pytest.mark.parametrize(("spec", "outcomes"), EXCUSED.items(), ids=map(str, range(len(EXCUSED))))
def test_what_is_excused_is_as_pytest_has_it_and_has_no_verdict(ends, spec, outcomes):
    result, told = ends(spec)

    result.assert_outcomes(**outcomes)
    assert told == []


def test_what_fails_otherwise_than_it_is_excused_for_has_its_verdict(ends):
    result, told = ends("@pytest.mark.xfail(raises=OSError)\n" + CLASSIC + "def test_it(): raise Broken('lost')")

    result.assert_outcomes(failed=1)
    assert told == [("broken", "lost")]
