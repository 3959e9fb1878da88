"""What is written by hand is what pika would have written, and what pika writes is read as it was meant."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from pika import frame as pika_frame
from pika.spec import Basic, BasicProperties, Channel, Confirm, Queue

from workqueue import _frames

short = st.text(st.characters(codec="utf-8"), max_size=255).filter(lambda text: len(text.encode()) <= 255)
channels = st.integers(1, 2**16 - 1)
tags = st.integers(1, 2**64 - 1)
octets = st.integers(0, 255)

others = {
    "content_type": short,
    "content_encoding": short,
    "headers": st.dictionaries(short, short | st.integers(-(2**63), 2**63 - 1) | st.booleans(), max_size=3),
    "priority": octets,
    "correlation_id": short,
    "reply_to": short,
    "expiration": short,
    "timestamp": st.integers(0, 2**64 - 1),
    "type": short,
    "user_id": short,
    "app_id": short,
    "cluster_id": short,
}
plain = {"delivery_mode": octets, "message_id": short}
anything = st.fixed_dictionaries({}, optional=others | plain)


def encoded(properties):
    return b"".join(properties.encode())


def payload_of(frame):
    data = frame.marshal()
    return data[0], data[7:-1]


@st.composite
def bodies(draw):
    """A body and a frame_max; often it fills its frames to the last byte, or but for one, or needs one more."""
    frame_max = draw(st.integers(9, 40) | st.sampled_from([4096, 131072]))
    room = frame_max - 8
    near = st.builds(lambda frames, more: max(0, frames * room + more), st.integers(0, 3), st.integers(-1, 1))
    size = draw(near | st.integers(0, 200))
    return draw(st.binary(min_size=1, max_size=40)) * size, frame_max


@given(channel=channels, queue=short, message_id=short, persistent=st.booleans(), sized=bodies())
def test_a_publish_is_byte_by_byte_as_pika_writes_it(channel, queue, message_id, persistent, sized):
    body, frame_max = sized
    room = frame_max - 8
    properties = BasicProperties(delivery_mode=2 if persistent else 1, message_id=message_id)

    plain_properties = _frames.plain_properties(message_id, persistent=persistent)
    written = b"".join(_frames.publish(channel, queue, plain_properties, body, frame_max))

    frames = [
        pika_frame.Method(channel, Basic.Publish(exchange="", routing_key=queue, mandatory=True)),
        pika_frame.Header(channel, len(body), properties),
        *(pika_frame.Body(channel, body[start : start + room]) for start in range(0, len(body), room)),
    ]
    assert written == b"".join(frame.marshal() for frame in frames)


@given(channel=channels, queue=short, properties=anything.map(lambda those: BasicProperties(**those)), sized=bodies())
def test_pika_reads_what_is_published(channel, queue, properties, sized):
    body, frame_max = sized
    data = b"".join(_frames.publish(channel, queue, encoded(properties), body, frame_max))

    frames = []
    while data:
        size, frame = pika_frame.decode_frame(data)
        assert size <= frame_max or not isinstance(frame, pika_frame.Body)
        frames.append(frame)
        data = data[size:]

    method, header, *pieces = frames
    assert {frame.channel_number for frame in frames} == {channel}
    assert (method.method.exchange, method.method.routing_key) == ("", queue)
    assert (method.method.mandatory, method.method.immediate) == (True, False)
    assert header.properties == properties
    assert header.body_size == len(body)
    assert b"".join(piece.fragment for piece in pieces) == body
    assert all(piece.fragment for piece in pieces)


@given(channel=channels, tag=tags, flag=st.booleans())
def test_settlements_are_byte_by_byte_as_pika_writes_them(channel, tag, flag):
    def written(method):
        return pika_frame.Method(channel, method).marshal()

    assert _frames.settle(channel, _frames.ACK, tag, flag) == written(Basic.Ack(tag, flag))
    assert _frames.settle(channel, _frames.REJECT, tag, flag) == written(Basic.Reject(tag, flag))
    nack = _frames.settle(channel, _frames.NACK, tag, _frames.REQUEUE)
    assert nack == written(Basic.Nack(tag, multiple=False, requeue=True))


@given(message_id=short, persistent=st.booleans(), delivery_mode=octets)
def test_plain_properties_are_pikas_and_can_be_read_again(message_id, persistent, delivery_mode):
    properties = _frames.plain_properties(message_id, persistent=persistent)

    assert properties == encoded(BasicProperties(delivery_mode=2 if persistent else 1, message_id=message_id))
    assert _frames.read_plain_properties(properties) == message_id
    of_another = encoded(BasicProperties(delivery_mode=delivery_mode, message_id=message_id))
    assert _frames.read_plain_properties(of_another) == message_id


@given(properties=anything)
def test_only_those_with_a_delivery_mode_and_a_message_id_and_nothing_else_are_plain(properties):
    read = _frames.read_plain_properties(encoded(BasicProperties(**properties)))

    assert read == (properties["message_id"] if set(properties) == set(plain) else None)


deliveries = st.fixed_dictionaries(
    {
        "consumer_tag": short,
        "tag": tags,
        "redelivered": st.booleans(),
        "exchange": short,
        "routing_key": short,
        "properties": anything.map(lambda properties: BasicProperties(**properties)),
        "pieces": st.lists(st.binary(min_size=1, max_size=30), max_size=6),
    }
)

# What else a broker may send on the channel of a consumer, content and all.
between = st.sampled_from(
    [
        [Basic.QosOk()],
        [Basic.ConsumeOk("ctag")],
        [Basic.CancelOk("ctag")],
        [Basic.Cancel("ctag")],
        [Channel.CloseOk()],
        [Channel.Close(406, "PRECONDITION_FAILED", 60, 80)],
        [Basic.GetOk(1, False, "", "q", 0), 2, b"xy"],
        [Basic.Return(312, "NO_ROUTE", "", "q"), 0],
    ]
)


def frames_of(channel, method, size, properties, pieces):
    yield pika_frame.Method(channel, method)
    yield pika_frame.Header(channel, size, properties)
    for piece in pieces:
        yield pika_frame.Body(channel, piece)


@given(stream=st.lists(st.tuples(deliveries, st.lists(between, max_size=2)), max_size=5))
def test_deliveries_are_put_together_and_nothing_else_is(stream):
    read = []
    reader = _frames.Deliveries(lambda *delivery: read.append(delivery))
    for sent, others_after in stream:
        body = b"".join(sent["pieces"])
        method = Basic.Deliver(
            sent["consumer_tag"], sent["tag"], sent["redelivered"], sent["exchange"], sent["routing_key"]
        )
        frames = [payload_of(each) for each in frames_of(1, method, len(body), sent["properties"], sent["pieces"])]

        read.clear()
        for frame in frames:
            assert not read
            assert reader.take(*frame)

        assert read == [(sent["tag"], sent["redelivered"], encoded(sent["properties"]), body)]
        for method, *content in others_after:
            frames = [pika_frame.Method(1, method)]
            if content:
                frames = frames_of(1, method, content[0], BasicProperties(), content[1:])
            assert not any(reader.take(*payload_of(frame)) for frame in frames)


def read_confirm(payload, kind=_frames.METHOD):
    """What a confirm says; None if it is none, and was not taken."""
    read = []
    taken = _frames.take_confirm(lambda *confirm: read.append(confirm), kind, payload)
    assert taken == (len(read) == 1)
    return read[0] if taken else None


@given(tag=tags, multiple=st.booleans(), requeue=st.booleans())
def test_confirms_are_read_as_pika_wrote_them(tag, multiple, requeue):
    for method, is_ack in ((Basic.Ack(tag, multiple), True), (Basic.Nack(tag, multiple, requeue), False)):
        _, payload = payload_of(pika_frame.Method(1, method))
        assert read_confirm(payload) == (is_ack, tag, multiple)


@given(tag=tags, text=short, number=st.integers(0, 2**16 - 1), count=st.integers(0, 2**32 - 1), flag=st.booleans())
def test_no_other_method_is_taken_for_a_confirm(tag, text, number, count, flag):
    methods = [
        Basic.Reject(tag, flag),
        Basic.Deliver(text, tag, flag, text, text),
        Basic.GetOk(tag, flag, text, text, count),
        Basic.Return(number, text, text, text),
        Basic.Cancel(text, flag),
        Basic.RecoverOk(),
        Channel.Close(number, text, number, number),
        Channel.Flow(flag),
        Confirm.SelectOk(),
        Queue.DeclareOk(text, count, count),
        Queue.PurgeOk(count),
    ]

    payloads = [payload_of(pika_frame.Method(1, method))[1] for method in methods]
    assert [read_confirm(payload) for payload in payloads] == [None] * len(methods)


@given(tag=tags, class_id=st.integers(0, 2**16 - 1), method=st.integers(0, 2**16 - 1), bits=octets)
def test_whatever_is_as_long_as_a_confirm_is_one_only_with_the_numbers_of_one(tag, class_id, method, bits):
    for number, of_class in itertools.product({method, 80, 120}, {class_id, 60}):
        read = read_confirm(_frames._answer.pack(of_class, number, tag, bits))
        known = of_class == 60 and number in (80, 120)
        assert read == ((number == 80, tag, bool(bits % 2)) if known else None)
