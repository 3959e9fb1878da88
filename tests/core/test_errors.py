"""Errors say what happened, and never a password."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workqueue
from workqueue import AccessRefused, ChannelClosed, ConnectionFailed, ConnectionLost, TopologyMismatch
from workqueue._explain import explain_closed, explain_refusal

URL = "amqp://me:***@rabbit:5672/%2F"


# The texts are those of RabbitMQ 3.10 to 4.3.
@pytest.mark.parametrize(
    ("said", "argument", "asked", "actual"),
    [
        (
            "arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'",
            "durable",
            "true",
            "false",
        ),
        (
            "arg 'x-queue-type' {Q} received the value 'quorum' of type 'longstr' but current is none",
            "x-queue-type",
            "quorum",
            None,
        ),
        (
            "arg 'x-queue-type' {Q} received 'quorum' but current is 'classic'",
            "x-queue-type",
            "quorum",
            "classic",
        ),
        (
            "arg 'x-message-ttl' {Q} received none but current is the value '1000' of type 'signedint'",
            "x-message-ttl",
            None,
            "1000",
        ),
        ("arg 'x-max-length' {Q} received '2' but current is '1'", "x-max-length", "2", "1"),
    ],
)
def test_a_mismatch_tells_what_differs(said, argument, asked, actual):
    error = explain_refusal(406, "PRECONDITION_FAILED - inequivalent " + said.format(Q="for queue 'q' in vhost '/':"))

    assert isinstance(error, TopologyMismatch)
    assert (error.queue, error.argument, error.asked, error.actual) == ("q", argument, asked, actual)
    assert f"queue 'q' exists with another {argument!r}" in str(error)


def test_a_mismatch_reads_like_a_sentence():
    error = TopologyMismatch("…", queue="q", argument="x-message-ttl", asked=None, actual="1000")

    assert str(error) == "queue 'q' exists with another 'x-message-ttl': asked for not set, the broker has '1000'"


@given(name=st.text(min_size=1, max_size=60))
def test_a_mismatch_survives_any_name_of_a_queue(name):
    text = f"inequivalent arg 'durable' for queue '{name}' in vhost '/': received 'true' but current is 'false'"

    assert TopologyMismatch.parse(text).queue == name


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (404, "NOT_FOUND - no queue 'q' in vhost '/'"),
        (406, "PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'q' in vhost '/': {value_negative,-3}"),
        (403, "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'"),
    ],
)
def test_other_refusals_are_told_as_the_broker_told_them(code, text):
    error = explain_refusal(code, text)

    assert type(error) is ChannelClosed
    assert (error.code, error.text) == (code, text)
    assert text in str(error)


class ClosedError(Exception):
    reply_code, reply_text = 320, "CONNECTION_FORCED - shutdown"


class WorkflowError(Exception):
    def __init__(self, *exceptions):
        super().__init__("wrapped")
        self.exceptions = exceptions


class PhaseError(Exception):
    def __init__(self, exception):
        super().__init__("wrapped")
        self.exception = exception


@pytest.mark.parametrize(
    ("reason", "kind", "text"),
    [
        (Exception("(403) 'ACCESS_REFUSED - Login was refused'"), AccessRefused, "refused the user name or password"),
        (Exception("(530) 'NOT_ALLOWED - vhost x not found'"), AccessRefused, "vhost x not found"),
        (Exception("(403) 'ACCESS_REFUSED - access to vhost'"), AccessRefused, "virtual host"),
        (
            Exception(WorkflowError(PhaseError(OSError(1, "a")), PhaseError(OSError(111, "refused")))),
            ConnectionFailed,
            "] refused",
        ),
        (Exception("Transport indicated EOF"), ConnectionFailed, "Transport indicated EOF"),
        (TimeoutError(), ConnectionFailed, "TimeoutError"),
    ],
)
def test_a_connection_that_never_began_is_told_by_its_root_cause(reason, kind, text):
    error = explain_closed(reason, URL, opened=False)

    assert type(error) is kind
    assert text in str(error)
    assert URL in str(error)


def test_a_connection_that_ended_tells_the_brokers_reason():
    error = explain_closed(ClosedError(), URL, opened=True)

    assert type(error) is ConnectionLost
    assert str(error).endswith("the broker closed it: 320 CONNECTION_FORCED - shutdown")


def test_every_public_name_is_there_and_documented():
    for name in workqueue.__all__:
        assert getattr(workqueue, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = workqueue.nonsense


def test_all_errors_of_the_core_have_one_root():
    errors = [getattr(workqueue, name) for name in workqueue.__all__]
    exceptions = {each for each in errors if issubclass(each, Exception)} - {workqueue.Reject}

    assert exceptions
    assert all(issubclass(each, workqueue.WorkqueueError) for each in exceptions)
    assert not issubclass(workqueue.Reject, workqueue.WorkqueueError)
