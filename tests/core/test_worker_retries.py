"""Which refusals end a worker, and which it tries again after."""

import pytest

from workqueue._explain import explain_refusal
from workqueue.errors import AccessRefused, ConnectionFailed, ConnectionLost, ConsumerCancelled, QueueUnavailable
from workqueue.worker import _is_final


@pytest.mark.parametrize(
    "text",
    [
        "home node 'rabbit@a' of durable queue 'q' in vhost '/' is down or inaccessible",
        "queue 'q' in vhost '/' process is stopped by supervisor",
        "queue 'q' in vhost '/' has crashed and failed to restart",
        "failed to perform operation on queue 'q' in vhost '/' due to timeout",
        "failed to perform operation on queue 'q' in vhost '/': its master replica <1.2.3> may be stopping",
        "queue 'no queue ' in vhost '/' process is stopped by supervisor",
    ],
)
def test_a_queue_that_cannot_be_reached_now_is_tried_again(text):
    error = explain_refusal(404, f"NOT_FOUND - {text}")

    assert isinstance(error, QueueUnavailable)
    assert (error.code, error.text) == (404, f"NOT_FOUND - {text}")
    assert not _is_final(error, declares=False)


@pytest.mark.parametrize("error", [ConnectionFailed("no"), ConnectionLost("no"), ConsumerCancelled("no")])
def test_a_lost_connection_or_subscription_is_tried_again(error):
    assert not _is_final(error, declares=False)


@pytest.mark.parametrize(
    "error",
    [
        AccessRefused("no"),
        explain_refusal(403, "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'u'"),
        explain_refusal(404, "NOT_FOUND - no queue 'q' in vhost '/'"),
        explain_refusal(406, "PRECONDITION_FAILED - inequivalent arg 'durable'"),
    ],
)
def test_what_waiting_does_not_mend_is_not(error):
    assert _is_final(error, declares=False)


def test_a_queue_that_is_deleted_right_after_its_declaration_is_declared_again():
    assert not _is_final(explain_refusal(404, "NOT_FOUND - no queue 'q' in vhost '/'"), declares=True)
