"""Properties of any message: what can be decoded is read and copied, and all else is a ValueError."""

import contextlib
import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from pika.spec import BasicProperties

from workqueue import _frames
from workqueue._io import copy_properties, read_properties

short = st.text(st.characters(codec="utf-8"), max_size=63)
octets = st.integers(0, 255)
values = st.recursive(
    st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=20),
        st.binary(max_size=20),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.none(),
        st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-999, 999), st.integers(0, 3)),
        st.integers(0, 2**37).map(lambda seconds: dt.datetime.fromtimestamp(seconds, dt.UTC)),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3),
    max_leaves=6,
)
headers = st.dictionaries(short, values, max_size=4)
fields = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("content_type", "content_encoding", "correlation_id", "reply_to", "expiration"), short),
        **dict.fromkeys(("message_id", "type", "user_id", "app_id", "cluster_id"), short),
        **dict.fromkeys(("delivery_mode", "priority"), octets),
        "headers": headers,
        "timestamp": st.integers(0, 2**64 - 1),
    },
)


def encoded(properties):
    return b"".join(BasicProperties(**properties).encode())


def encode_short(text):
    return bytes([len(text.encode())]) + text.encode()


@st.composite
def damaged(draw):
    """Properties that somebody encoded, cut short or with other bytes in their place."""
    data = bytearray(encoded(draw(fields)))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(octets)
    return bytes(data[: draw(st.integers(0, len(data)))])


# The second is what a producer of ours writes, up to where it goes wrong; the last, one header of any type.
any_bytes = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=40).map(b"\x10\x80".__add__),
    st.binary(max_size=40).map(lambda value: b"\x20\x00" + (len(value) + 2).to_bytes(4) + b"\x01k" + value),
    damaged(),
)


@given(properties=any_bytes)
def test_whatever_the_bytes_a_message_id_and_headers_are_read_or_it_is_a_value_error(properties):
    with contextlib.suppress(ValueError):
        message_id, headers_read = read_properties(properties)
        assert message_id is None or isinstance(message_id, str)
        assert isinstance(headers_read, Mapping)


@given(properties=any_bytes, expires=st.booleans())
def test_whatever_the_bytes_there_is_a_copy_that_can_be_read_or_it_is_a_value_error(properties, expires):
    with contextlib.suppress(ValueError):
        copy = copy_properties(properties, "m1", {"x-workqueue-failures": 1}, expires=expires)
        message_id, headers_read = read_properties(copy)
        assert (message_id, headers_read["x-workqueue-failures"]) == ("m1", 1)


@given(rest=st.one_of(st.binary(max_size=20), st.builds(lambda text: b"\2" + encode_short(text), short)))
def test_reading_by_hand_what_is_plain_makes_no_difference(rest):
    def read(data):
        try:
            return read_properties(data)
        except ValueError:
            return None

    plain = b"\x10\x80" + rest
    # A priority of 0 changes nothing but that they are not plain any more.
    with_priority = b"\x18\x80" + rest[:1] + b"\0" + rest[1:]
    assert _frames.read_plain_properties(with_priority) is None
    assert read(plain) == read(with_priority)


@given(properties=fields)
def test_what_pika_encodes_is_read(properties):
    assert read_properties(encoded(properties)) == (properties.get("message_id"), properties.get("headers", {}))


@given(properties=fields, message_id=short, added=st.dictionaries(short, values, max_size=3), expires=st.booleans())
def test_a_copy_differs_only_where_it_should(properties, message_id, added, expires):
    copy = BasicProperties().decode(copy_properties(encoded(properties), message_id, added, expires=expires))

    expected = {
        **dict.fromkeys(vars(BasicProperties())),
        **properties,
        "message_id": message_id,
        "headers": {**properties.get("headers", {}), **added},
        "delivery_mode": 2,
        "user_id": None,
    }
    if not expires:
        expected["expiration"] = None
    assert vars(copy) == expected


@given(properties=fields, message_id=short, expires=st.booleans())
def test_a_copy_of_a_copy_is_the_same(properties, message_id, expires):
    once = copy_properties(encoded(properties), message_id, {}, expires=expires)

    assert copy_properties(once, message_id, {}, expires=expires) == once
