"""What is read of the properties of a message, and what a copy of it keeps."""

import pytest
from pika.spec import BasicProperties

from workqueue import Message, _frames
from workqueue._io import copy_properties, read_properties

EVERYTHING = {
    "content_type": "application/json",
    "content_encoding": "gzip",
    "headers": {"tenant": "a", "x-death": [{"count": 1}]},
    "delivery_mode": 1,
    "priority": 7,
    "correlation_id": "c1",
    "reply_to": "answers",
    "expiration": "60000",
    "message_id": "m1",
    "timestamp": 1700000000,
    "type": "resize",
    "user_id": "guest",
    "app_id": "shop",
    "cluster_id": "c",
}


def encoded(**properties):
    return b"".join(BasicProperties(**properties).encode())


def decoded(properties):
    return BasicProperties().decode(properties)


def test_a_message_id_and_headers_are_read_whatever_else_there_is():
    assert read_properties(encoded(**EVERYTHING)) == ("m1", EVERYTHING["headers"])
    assert read_properties(encoded()) == (None, {})
    assert read_properties(encoded(headers={"tenant": "a"})) == (None, {"tenant": "a"})
    assert read_properties(encoded(delivery_mode=2, message_id="m1")) == ("m1", {})
    assert read_properties(encoded(delivery_mode=2, message_id="")) == ("", {})


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x10",
        pytest.param(b"\x10\x80", id="neither a delivery mode nor a message id"),
        pytest.param(b"\x10\x80\x02", id="no message id"),
        pytest.param(b"\x10\x80\x02\x02\xff\xfe", id="a message id that is no UTF-8"),
        pytest.param(b"\x00\x80\x02\xff\xfe", id="one without a delivery mode"),
        pytest.param(b"\x20\x00\x00\x00\x00\x03\x01kZ", id="a header of an unknown type"),
        pytest.param(b"\x20\x00" + (b"\0\0\xff\0" + b"\x01kF") * 5000, id="tables in tables without end"),
        pytest.param(b"\x20\x00\x00\x00\x00\x0b\x01kT" + b"\xff" * 8, id="a time that never comes"),
    ],
)
def test_properties_that_nobody_can_decode_are_told_as_a_value_error(broken):
    with pytest.raises(ValueError, match="decode"):
        read_properties(broken)


def test_a_copy_keeps_what_the_publisher_said():
    copy = decoded(copy_properties(encoded(**EVERYTHING), "m1", {}, expires=True))

    kept = EVERYTHING | {"delivery_mode": 2, "user_id": None}
    assert vars(copy) == kept


def test_a_copy_is_persistent_and_has_the_id_that_it_is_given():
    copy = decoded(copy_properties(encoded(), "made up", {}, expires=True))

    assert vars(copy) == dict.fromkeys(EVERYTHING) | {"delivery_mode": 2, "message_id": "made up", "headers": {}}


def test_only_its_publisher_may_say_who_published_it():
    """The broker closes the channel if another user says so."""
    assert decoded(copy_properties(encoded(user_id="guest"), "m1", {}, expires=True)).user_id is None


@pytest.mark.parametrize(("expires", "expiration"), [(True, "60000"), (False, None)])
def test_a_dead_letter_does_not_expire_and_another_attempt_does(expires, expiration):
    copy = copy_properties(encoded(expiration="60000"), "m1", {}, expires=expires)

    assert decoded(copy).expiration == expiration


def test_headers_are_added_to_those_there_are_and_take_the_place_of_their_namesakes():
    before = {"tenant": "a", "x-workqueue-failures": 1}

    copy = copy_properties(encoded(headers=before), "m1", {"x-workqueue-failures": 2, "new": "b"}, expires=True)

    assert decoded(copy).headers == {"tenant": "a", "x-workqueue-failures": 2, "new": "b"}


@pytest.mark.parametrize("broken", [b"", b"\x10\x80\x02"])
def test_what_cannot_be_decoded_cannot_be_copied(broken):
    with pytest.raises(ValueError, match="its properties cannot be decoded"):
        copy_properties(broken, "m1", {}, expires=True)


@pytest.mark.parametrize("message_id", ["x" * 255, "é" * 127, ""])
def test_a_message_id_of_255_bytes_is_none_too_many(message_id):
    assert read_properties(_frames.plain_properties(message_id, persistent=True)) == (message_id, {})


@pytest.mark.parametrize("count", [0, 2, 2**40])
def test_a_count_is_one_however_it_is_encoded(count):
    """pika has an integer type of its own for those that are eight bytes long."""
    _, headers = read_properties(encoded(headers={"x-delivery-count": count}))

    assert Message(b"", "q", headers=headers).delivery_count == count
