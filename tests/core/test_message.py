"""A message as a handler sees it: its body read, and its failures counted."""

import dataclasses
import json
import pickle

import pytest

from workqueue import Message, Reject
from workqueue.message import FAILURES_HEADER

COUNT = "x-delivery-count"


def test_a_body_is_read_as_utf_8():
    assert Message("Grüße, 世界".encode(), "q").text() == "Grüße, 世界"
    assert Message(b"", "q").text() == ""


@pytest.mark.parametrize("body", [b"\xff", "Grüße".encode("latin-1"), "世".encode()[:-1], b"\xed\xa0\x80"])
def test_a_body_that_is_no_utf_8_is_refused_for_good(body):
    for read in (Message(body, "q").text, Message(body, "q").json):
        with pytest.raises(Reject, match=r"its body is no UTF-8: .*can't decode") as refused:
            read()
        assert isinstance(refused.value.__cause__, UnicodeDecodeError)


@pytest.mark.parametrize("value", [None, True, 1.5, "Grüße", [1, [2]], {"do": "resize", "width": 10}])
def test_a_body_is_read_as_json(value):
    assert Message(json.dumps(value).encode(), "q").json() == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"'one'",
        b"1 2",
        b"\xef\xbb\xbf1",  # a byte order mark, which RFC 8259 forbids
        pytest.param(b"[" * 100_000, id="nested too deep"),
        pytest.param(b"9" * 10_000, id="more digits than Python reads"),
    ],
)
def test_a_body_that_is_no_json_is_refused_for_good(body):
    with pytest.raises(Reject, match="its body is no JSON: "):
        Message(body, "q").json()


def test_a_message_that_never_failed_has_no_failures():
    message = Message(b"", "q")

    assert message.delivery_count is None
    assert message.failures == 0


def test_a_broker_that_says_zero_says_something():
    assert Message(b"", "q", headers={COUNT: 0}).delivery_count == 0


def test_failures_are_those_that_the_queue_and_a_worker_have_counted():
    assert Message(b"", "q", headers={COUNT: 2}).failures == 2
    assert Message(b"", "q", headers={FAILURES_HEADER: 3}).failures == 3
    assert Message(b"", "q", headers={COUNT: 2, FAILURES_HEADER: 3}).failures == 5


@pytest.mark.parametrize("malformed", ["2", b"2", 2.0, None, [2], {"count": 2}, True, False])
def test_a_count_that_is_no_number_counts_nothing(malformed):
    message = Message(b"", "q", headers={COUNT: malformed, FAILURES_HEADER: malformed})

    assert message.delivery_count is None
    assert message.failures == 0
    assert Message(b"", "q", headers={COUNT: malformed, FAILURES_HEADER: 3}).failures == 3
    assert Message(b"", "q", headers={COUNT: 2, FAILURES_HEADER: malformed}).failures == 2


def test_the_header_in_which_failures_are_counted_keeps_its_name():
    assert FAILURES_HEADER == "x-workqueue-failures", "it is in messages that wait in queues"


def test_a_message_is_a_value_and_goes_to_another_process():
    message = Message(b"body", "q", "m1", True, {COUNT: 1})

    assert pickle.loads(pickle.dumps(message)) == message
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.body = b"other"
