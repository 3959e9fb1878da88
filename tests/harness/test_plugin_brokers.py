"""The pytest plugin: which broker a test gets."""

import pytest

BY_NAME = """
import unittest
import pytest

def test_by_name(request):
    assert request.getfixturevalue("workqueue_broker").spec == "fake"

class Case(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def have(self, workqueue_broker, workqueue_queue_type):
        self.broker, self.queue_type = workqueue_broker, workqueue_queue_type

    def test_it(self):
        assert (self.broker.spec, self.queue_type) == ("fake", "quorum")
"""


def test_a_test_that_cannot_have_parameters_gets_the_one_that_was_chosen(project):
    project.makepyfile(BY_NAME)

    project.runpytest_subprocess("--broker=fake", "--queue-type=quorum").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("options", "fixture", "among"),
    [
        (
            ["--broker=one", "--broker=amqp://me:secret@two/", "--queue-type=quorum"],
            "broker",
            r"one, amqp://me:\*\*\*@two/",
        ),
        (["--broker=one"], "queue_type", "classic, quorum"),
    ],
)
def test_a_test_that_cannot_have_parameters_is_not_given_any_of_several(project, options, fixture, among):
    project.makepyfile(BY_NAME)
    result = project.runpytest_subprocess(*options)

    words = (
        rf"This run has several choices for workqueue_{fixture} \({among}\), and nothing says which of them this "
        rf"test is to have\. Name workqueue_{fixture} as a parameter of the test"
    )
    result.stdout.re_match_lines([words])
    assert "AttributeError" not in result.stdout.str()
    assert "secret" not in result.stdout.str()


LEAVES_IT_DOWN = """
def test_leaves_it_down(workqueue_broker):
    workqueue_broker.kill()
    assert workqueue_broker.ended() == "it was killed by signal 9"
    raise RuntimeError("before it could be started")

def test_next(workqueue_broker):
    assert workqueue_broker.ended() is None

def test_after_that(workqueue_broker):
    pass
"""


@pytest.mark.parametrize("options", [[], ["-n1"], ["--behind=honest"]], ids=["alone", "xdist", "behind"])
def test_a_broker_that_a_test_left_down_is_started_again_and_the_test_is_named(project, options):
    project.makepyfile(test_it=LEAVES_IT_DOWN)
    result = project.runpytest_subprocess("--broker=mortal", "--broker=mortal2", *options)

    result.assert_outcomes(passed=4, failed=2, warnings=2)
    for spec in ("mortal", "mortal2"):
        words = f"The broker {spec} was down after this test (it was killed by signal 9), and was started again for the"
        result.stdout.fnmatch_lines_random(
            [f"test_it.py::test_leaves_it_down?{spec}?", f"*PytestWarning: {words} next.*"]
        )


def test_a_broker_that_does_not_start_again_is_what_the_tests_after_fail_by(project):
    project.makepyfile(test_it=LEAVES_IT_DOWN)
    result = project.runpytest_subprocess("--broker=mortal-once", "--broker=mortal")

    result.assert_outcomes(passed=2, failed=2, errors=2, warnings=2)
    words = (
        "The broker mortal-once is down since test_it.py::test_leaves_it_down?mortal-once? "
        "(it was killed by signal 9), and stays so: It did not start."
    )
    result.stdout.fnmatch_lines(["*ERROR at setup of test_next*", words, "*ERROR at setup of test_after*", words])


def test_a_fixture_may_keep_a_broker_down_for_its_tests(project):
    project.makepyfile(
        test_down="""
        import pytest

        @pytest.fixture(scope="module")
        def down(workqueue_broker):
            workqueue_broker.kill()
            yield
            workqueue_broker.start()

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(down, workqueue_broker, number):
            assert workqueue_broker.ended()
        """,
        test_up="def test_it(workqueue_broker): assert not workqueue_broker.ended()",
    )
    result = project.runpytest_subprocess("--broker=mortal")

    result.assert_outcomes(passed=3, warnings=0)


def test_a_fixture_that_leaves_a_broker_down_does_so_by_the_last_of_its_tests(project):
    project.makepyfile(
        test_down="""
        import pytest

        @pytest.fixture(scope="module")
        def down(workqueue_broker):
            workqueue_broker.kill()

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(down, workqueue_broker, number):
            assert workqueue_broker.ended()
        """,
        test_up="def test_it(workqueue_broker): assert not workqueue_broker.ended()",
    )
    result = project.runpytest_subprocess("--broker=mortal")

    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(["test_down.py::test_it?mortal-2?"])
