"""What comes over a connection means the same wherever the network cuts it, and pika gets the frames that are its."""

import contextlib
import functools

from hypothesis import given
from hypothesis import strategies as st
from pika import frame as pika_frame
from pika.spec import Basic, BasicProperties, Channel, Connection, Queue

from workqueue import _frames, _io

PUBLISHER, CONSUMER, OTHER_CONSUMER, UNROUTED = 1, 2, 3, 4

texts = st.text(st.characters(codec="utf-8"), max_size=20)
tags = st.integers(1, 2**64 - 1)
pieces = st.lists(st.binary(min_size=1, max_size=12), max_size=4)
properties = st.builds(
    BasicProperties,
    delivery_mode=st.none() | st.integers(1, 2),
    message_id=st.none() | texts,
    headers=st.none() | st.dictionaries(texts, st.integers(0, 9) | texts, max_size=2),
)


class Receiver:
    """A connection without a socket or a loop: all that it makes of its bytes is in ``log``, in order."""

    def __init__(self):
        self.log = []
        connection = object.__new__(_io._Connection)
        connection.connection_state = connection.CONNECTION_OPEN
        connection._frame_buffer = b""
        connection.bytes_received = 0
        connection.writing = contextlib.nullcontext()
        connection._process_frame = lambda frame: self.log.append(("pika", type(frame), frame.marshal()))
        # As Link.publisher and Link.consumer do:
        connection.routes = {PUBLISHER: functools.partial(_frames.take_confirm, self.confirm)}
        for channel in (CONSUMER, OTHER_CONSUMER):
            deliveries = _frames.Deliveries(functools.partial(self.deliver, channel))
            connection.routes[channel] = deliveries.take
        self.connection = connection

    def deliver(self, *delivery):
        self.log.append(delivery)

    def confirm(self, *confirm):
        self.log.append(("confirm", *confirm))

    def receive(self, *parts):
        for part in parts:
            self.connection._on_data_available(part)
        return self.log


def for_pika(*frames):
    """Frames that are pika's, and what is to be in the log of them."""
    return [(frame.marshal(), ("pika", type(frame), frame.marshal())) for frame in frames]


@st.composite
def confirms(draw):
    tag, multiple = draw(tags), draw(st.booleans())
    method = draw(st.sampled_from([Basic.Ack(tag, multiple), Basic.Nack(tag, multiple)]))
    frame = pika_frame.Method(PUBLISHER, method)
    return [(frame.marshal(), ("confirm", isinstance(method, Basic.Ack), tag, multiple))]


def content(channel, described, parts):
    header = pika_frame.Header(channel, sum(map(len, parts)), described)
    return [header, *(pika_frame.Body(channel, part) for part in parts)]


@st.composite
def deliveries(draw, channel):
    """All frames of a delivery; what is to be in the log comes with the last."""
    tag, redelivered, described, parts = draw(tags), draw(st.booleans()), draw(properties), draw(pieces)
    method = pika_frame.Method(channel, Basic.Deliver(draw(texts), tag, redelivered, draw(texts), draw(texts)))
    frames = [method, *content(channel, described, parts)]
    if channel == UNROUTED:
        return for_pika(*frames)
    entry = (channel, tag, redelivered, b"".join(described.encode()), b"".join(parts))
    return [(frame.marshal(), entry if frame is frames[-1] else None) for frame in frames]


@st.composite
def methods(draw, channel):
    other = [Basic.CancelOk("ctag"), Basic.ConsumeOk("ctag"), Channel.OpenOk(), Queue.DeclareOk("q", 1, 2)]
    return for_pika(pika_frame.Method(channel, draw(st.sampled_from(other))))


@st.composite
def returns(draw):
    method = pika_frame.Method(PUBLISHER, Basic.Return(312, "NO_ROUTE", "", draw(texts)))
    return for_pika(method, *content(PUBLISHER, draw(properties), draw(pieces)))


def on_channel_zero():
    blocked = pika_frame.Method(0, Connection.Blocked("low on memory"))
    return st.sampled_from([for_pika(pika_frame.Heartbeat()), for_pika(blocked)])


def in_a_row(*groups):
    return st.lists(st.one_of(*groups), max_size=4).map(lambda drawn: [frame for group in drawn for frame in group])


channels = st.tuples(
    in_a_row(on_channel_zero()),
    in_a_row(confirms(), methods(PUBLISHER), returns()),
    in_a_row(deliveries(CONSUMER), methods(CONSUMER)),
    in_a_row(deliveries(OTHER_CONSUMER)),
    in_a_row(deliveries(UNROUTED), methods(UNROUTED)),
)


@st.composite
def streams(draw):
    """Bytes that a broker may send, with the frames of its channels in between each other, and what they mean."""
    waiting = [list(frames) for frames in draw(channels)]
    data, log = b"", []
    while any(waiting):
        frames = draw(st.sampled_from([frames for frames in waiting if frames]))
        marshalled, entry = frames.pop(0)
        data += marshalled
        log += [] if entry is None else [entry]
    return data, log


@given(stream=streams(), data=st.data())
def test_wherever_a_stream_is_cut_it_leads_to_the_same(stream, data):
    whole, log = stream
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=20)))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    receiver = Receiver()

    assert receiver.receive(*parts) == log
    assert receiver.connection.bytes_received == len(whole)
    assert receiver.connection._frame_buffer == b""


@given(stream=streams())
def test_a_stream_in_one_piece_and_one_byte_at_a_time_is_the_same(stream):
    whole, log = stream

    assert Receiver().receive(whole) == log
    assert Receiver().receive(*(bytes([byte]) for byte in whole)) == log


@given(stream=streams(), data=st.data())
def test_a_frame_counts_as_soon_as_it_is_whole_and_not_before(stream, data):
    whole, log = stream
    end = data.draw(st.integers(0, len(whole)))

    receiver = Receiver()
    early = list(receiver.receive(whole[:end]))

    assert early == log[: len(early)]
    ahead, consumed = whole[:end], 0
    while (size := pika_frame.decode_frame(ahead[consumed:])[0]) > 0:
        consumed += size
    assert receiver.connection._frame_buffer == ahead[consumed:]
