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
