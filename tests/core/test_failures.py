"""What becomes of a failed task where no copy of it can be made: the worker goes on, and the original goes back."""

import logging

import pytest

from workqueue import Message, Queue
from workqueue._failures import Failures
from workqueue._frames import plain_properties


class UnspeakableError(Exception):
    def __repr__(self):
        raise RuntimeError("no repr either")


@pytest.mark.parametrize(
    ("properties", "error"),
    [(plain_properties("m1", persistent=True), UnspeakableError()), (b"\xff", ValueError("x"))],
    ids=["an error without a repr", "properties that nobody can decode"],
)
def test_a_copy_that_cannot_be_made_is_logged_and_the_original_goes_back(properties, error, caplog):
    failures = Failures("amqp://localhost", Queue("q", "classic", dead_letter="dead"), max_attempts=1)

    with caplog.at_level(logging.ERROR, "workqueue"):
        assert failures.copy(Message(b"task", "q", "m1"), properties, error) is None

    assert "goes back uncounted" in caplog.text
