"""Errors say what happened, and never a password."""

import pytest

import workqueue
from workqueue import AccessRefused, ChannelClosed, ConnectionFailed, ConnectionLost, TopologyMismatch
from workqueue._explain import explain_closed, explain_refusal

URL = "amqp://me:***@rabbit:5672/%2F"


# The texts are those of RabbitMQ 3.10 to 4.3.
@pytest.mark.parametrize(
    "said",
    [
        "arg 'durable' {Q} received 'true' but current is 'false'",
        "arg 'x-queue-type' {Q} received the value 'quorum' of type 'longstr' but current is none",
        "arg 'x-queue-type' {Q} received 'quorum' but current is 'classic'",
        "arg 'x-message-ttl' {Q} received none but current is the value '1000' of type 'signedint'",
        "arg 'x-max-length' {Q} received '2' but current is '1'",
        f"arg 'x-queue-type' for queue '{'q' * 186}...",  # of a long name, the broker does not tell more
    ],
)
def test_a_mismatch_tells_what_differs_as_the_broker_does(said):
    text = "PRECONDITION_FAILED - inequivalent " + said.format(Q="for queue 'q' in vhost '/':")
    error = explain_refusal(406, text)

    assert type(error) is TopologyMismatch
    assert (error.code, error.text, str(error)) == (406, text, f"the broker refused: 406 {text}")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (404, "NOT_FOUND - no queue 'q' in vhost '/'"),
        (406, "PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'q' in vhost '/': {value_negative,-3}"),
        (403, "ACCESS_REFUSED - configure access to queue 'inequivalent arg' in vhost '/' refused for user 'u'"),
    ],
)
def test_other_refusals_are_told_as_the_broker_told_them(code, text):
    error = explain_refusal(code, text)

    assert type(error) is ChannelClosed
    assert (error.code, error.text) == (code, text)
    assert text in str(error)


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
        (Exception("(403) 'ACCESS_REFUSED - Login was refused'"), AccessRefused, "Login was refused"),
        (Exception("(530) 'NOT_ALLOWED - vhost x not found'"), AccessRefused, "vhost x not found"),
        (Exception("(403) 'ACCESS_REFUSED - access to vhost'"), AccessRefused, "access to vhost"),
        (
            Exception(WorkflowError(PhaseError(OSError(1, "a")), PhaseError(OSError(111, "refused")))),
            ConnectionFailed,
            ": refused",
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
    error = explain_closed(Exception(320, "CONNECTION_FORCED - shutdown"), URL, opened=True)

    assert type(error) is ConnectionLost
    assert str(error).endswith("was lost: 320 CONNECTION_FORCED - shutdown")


def test_every_public_name_is_there_and_documented():
    for name in workqueue.__all__:
        assert getattr(workqueue, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = workqueue.nonsense


def test_all_that_is_public_is_imported_by_a_star_and_nothing_else():
    names: dict[str, object] = {}
    exec("from workqueue import *", names)

    assert names.keys() - {"__builtins__"} == set(workqueue.__all__)
    assert {"Message", "Producer", "Queue", "Worker", "Nacked", "Reject", "WorkqueueError"} < names.keys()
    assert all(isinstance(names[name], type) for name in workqueue.__all__)


def test_all_errors_of_the_core_have_one_root():
    errors = [getattr(workqueue, name) for name in workqueue.__all__]
    exceptions = {each for each in errors if issubclass(each, Exception)} - {workqueue.Reject}

    assert exceptions
    assert all(issubclass(each, workqueue.WorkqueueError) for each in exceptions)
    assert not issubclass(workqueue.Reject, workqueue.WorkqueueError)
