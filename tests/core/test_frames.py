"""The frames that are written and read by hand, beside those that pika writes and reads."""

import struct

import pika
import pytest
from pika import frame as pika_frame
from pika.spec import Basic, BasicProperties, Confirm, Tx

from workqueue import _frames

PROPERTIES = b"".join(BasicProperties(delivery_mode=2, message_id="m1").encode())


def decoded(data):
    frames = []
    while data:
        size, frame = pika_frame.decode_frame(data)
        assert frame is not None, "the last frame is not whole"
        frames.append(frame)
        data = data[size:]
    return frames


def payloads(*frames):
    """Frames of pika's as the connection gives them to Deliveries: the type and the payload of each."""
    return [(data[0], data[7:-1]) for data in (frame.marshal() for frame in frames)]


def a_delivery(tag, body, *, redelivered=False, properties=None, channel=1, cut=4):
    properties = properties or BasicProperties(delivery_mode=2, message_id=f"m{tag}")
    pieces = [body[start : start + cut] for start in range(0, len(body), cut)]
    return payloads(
        pika_frame.Method(channel, Basic.Deliver("ctag1.0", tag, redelivered, "", "task_queue")),
        pika_frame.Header(channel, len(body), properties),
        *(pika_frame.Body(channel, piece) for piece in pieces),
    )


def test_the_constants_are_those_of_the_protocol():
    spec = pika.spec

    assert (_frames.METHOD, _frames.HEADER, _frames.BODY) == (spec.FRAME_METHOD, spec.FRAME_HEADER, spec.FRAME_BODY)
    assert (_frames.HEARTBEAT, _frames.END) == (spec.FRAME_HEARTBEAT, spec.FRAME_END)
    assert _frames.FRAME_OVERHEAD == spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE


@pytest.mark.parametrize("frame_max", [4096, 131072])
@pytest.mark.parametrize(("whole", "more"), [(0, 0), (0, 1), (1, -1), (1, 0), (1, 1), (2, -1), (2, 0), (2, 1)])
def test_a_body_is_cut_where_a_frame_is_full_and_not_before(frame_max, whole, more):
    room = frame_max - 8
    size = whole * room + more
    body = (bytes(range(256)) * 1100)[:size]

    written = b"".join(_frames.publish(1, "task_queue", PROPERTIES, body, frame_max))

    method, header, *pieces = decoded(written)
    assert isinstance(method.method, Basic.Publish)
    assert header.body_size == len(body) == size
    rest = [size % room] if size % room else []
    assert [len(piece.fragment) for piece in pieces] == [room] * (size // room) + rest
    assert b"".join(piece.fragment for piece in pieces) == body


def test_a_message_is_published_as_mandatory_to_the_default_exchange():
    method, header = decoded(b"".join(_frames.publish(3, "task_queue", PROPERTIES, b"", 4096)))

    published = method.method
    assert (method.channel_number, header.channel_number) == (3, 3)
    assert (published.exchange, published.routing_key, published.mandatory) == ("", "task_queue", True)
    assert not published.immediate
    assert (header.properties.message_id, header.properties.delivery_mode) == ("m1", 2)


def test_what_is_kept_of_a_queue_is_not_mixed_up_with_another_channel_or_queue():
    written = [_frames.publish(channel, queue, PROPERTIES, b"", 4096) for queue in "ab" for channel in (1, 2)]

    methods = [decoded(b"".join(frames))[0] for frames in written]
    assert [(each.method.routing_key, each.channel_number) for each in methods] == [
        ("a", 1),
        ("a", 2),
        ("b", 1),
        ("b", 2),
    ]


def test_a_large_body_in_one_frame_is_not_copied():
    body = b"x" * 1000

    assert any(piece is body for piece in _frames.publish(1, "task_queue", PROPERTIES, body, 4096))


@pytest.mark.parametrize(
    ("written", "method"),
    [
        (_frames.settle(7, _frames.ACK, 9, 0), Basic.Ack(9, False)),
        (_frames.settle(7, _frames.ACK, 9, _frames.MULTIPLE), Basic.Ack(9, True)),
        (_frames.settle(7, _frames.REJECT, 9, 1), Basic.Reject(9, True)),
        (_frames.settle(7, _frames.REJECT, 9, 0), Basic.Reject(9, False)),
        (_frames.settle(7, _frames.NACK, 9, _frames.REQUEUE), Basic.Nack(9, multiple=False, requeue=True)),
    ],
    ids=lambda each: "" if isinstance(each, bytes) else repr(each),
)
def test_a_settlement_is_what_pika_would_have_written(written, method):
    assert written == pika_frame.Method(7, method).marshal()


@pytest.mark.parametrize("message_id", ["x" * 256, "é" * 128])
def test_a_message_id_has_at_most_255_bytes(message_id):
    with pytest.raises(ValueError, match=f"^a message id has at most 255 bytes: '{message_id}'$"):
        _frames.plain_properties(message_id, persistent=True)
    assert _frames.read_plain_properties(_frames.plain_properties(message_id[1:], persistent=True)) == message_id[1:]


@pytest.mark.parametrize(
    "properties",
    [
        BasicProperties(),
        BasicProperties(message_id="m1"),
        BasicProperties(delivery_mode=2),
        BasicProperties(delivery_mode=2, message_id="m1", priority=0),
        BasicProperties(delivery_mode=2, message_id="m1", headers={}),
        BasicProperties(delivery_mode=2, message_id="m1", user_id=""),
        BasicProperties(delivery_mode=2, correlation_id="m1"),
        BasicProperties(priority=2, message_id="m1"),
    ],
)
def test_properties_that_are_not_plain_are_left_to_pika(properties):
    assert _frames.read_plain_properties(b"".join(properties.encode())) is None


class Deliveries(_frames.Deliveries):
    """Deliveries, and what they were."""

    def __init__(self):
        super().__init__(lambda *delivery: self.made.append(delivery))
        self.made = []


@pytest.mark.parametrize("pieces", [1, 2, 3, 6])
def test_a_message_is_there_once_its_last_frame_is(pieces):
    deliveries = Deliveries()
    sent = b"a body in some pieces"[: 4 * pieces - 3]
    method, header, *bodies, last = a_delivery(7, sent)
    assert len(bodies) == pieces - 1

    for kind, payload in (method, header, *bodies):
        assert deliveries.take(kind, payload)
        assert not deliveries.made
    assert deliveries.take(*last)
    [(tag, redelivered, properties, body)] = deliveries.made

    assert (tag, redelivered, body) == (7, False, sent)
    assert properties == b"".join(BasicProperties(delivery_mode=2, message_id="m7").encode())


def test_a_message_without_a_body_is_there_with_its_header_and_nothing_of_it_stays():
    deliveries = Deliveries()
    first, second = a_delivery(1, b"", redelivered=True), a_delivery(2, b"body")

    assert all(deliveries.take(*each) for each in first)
    assert deliveries.made == [(1, True, first[1][1][12:], b"")]
    assert not deliveries.take(*first[-1]), "a header that follows no delivery"
    assert all(deliveries.take(*each) for each in second)
    assert deliveries.made[1:] == [(2, False, second[1][1][12:], b"body")]


def test_what_follows_plain_properties_is_no_part_of_the_id():
    more = PROPERTIES + b"more"

    assert _frames.read_plain_properties(more) == BasicProperties().decode(more).message_id == "m1"


@pytest.mark.parametrize("size", [2**power for power in range(0, 64, 8)])
def test_a_message_is_not_there_before_all_that_its_header_announces(size):
    deliveries = Deliveries()
    method, _ = a_delivery(1, b"")
    [header] = payloads(pika_frame.Header(1, size, BasicProperties()))

    assert deliveries.take(*method)
    assert deliveries.take(*header)

    assert not deliveries.made


def test_the_content_of_another_method_is_not_taken():
    deliveries = Deliveries()
    returned = payloads(
        pika_frame.Method(1, Basic.Return(312, "NO_ROUTE", "", "q")),
        pika_frame.Header(1, 1, BasicProperties()),
        pika_frame.Body(1, b"x"),
    )

    assert [deliveries.take(*each) for each in returned] == [False, False, False]


def read_confirm(payload, kind=_frames.METHOD):
    """What a confirm says; None if it is none, and was not taken."""
    read = []
    taken = _frames.take_confirm(lambda *confirm: read.append(confirm), kind, payload)
    assert taken == (len(read) == 1)
    return read[0] if taken else None


@pytest.mark.parametrize(
    ("method", "confirm"),
    [
        (Basic.Ack(1, False), (True, 1, False)),
        (Basic.Ack(2**64 - 1, True), (True, 2**64 - 1, True)),
        (Basic.Nack(2, multiple=False, requeue=False), (False, 2, False)),
        (Basic.Nack(2, multiple=False, requeue=True), (False, 2, False)),
        (Basic.Nack(2, multiple=True, requeue=True), (False, 2, True)),
        (Basic.Reject(1, True), None),  # as long as an ack
        (Basic.Return(312, "NO_ROUTE", "", "q"), None),
        (Confirm.SelectOk(), None),
        (Tx.SelectOk(), None),
    ],
    ids=repr,
)
def test_a_confirm_is_told_from_all_else(method, confirm):
    [(_, payload)] = payloads(pika_frame.Method(1, method))

    assert read_confirm(payload) == confirm
    assert read_confirm(payload, _frames.HEADER) is read_confirm(payload, _frames.BODY) is None


@pytest.mark.parametrize("class_id", [10, 50, 61])
@pytest.mark.parametrize("method", [80, 120])
def test_a_method_of_another_class_is_no_confirm_whatever_its_number(class_id, method):
    assert read_confirm(struct.pack(">HHQB", class_id, method, 1, 0)) is None
    assert read_confirm(struct.pack(">HHQB", 60, method, 1, 0)) is not None


@pytest.mark.parametrize("more", [b"", b"\0\0"])
def test_an_ack_of_another_length_is_none(more):
    assert read_confirm(struct.pack(">HHQ", 60, 80, 1) + more) is None
