"""AMQP on the wire: what an honest proxy passes is what came, whatever it is cut into."""

import contextlib
import itertools
import socket
import threading
import time

import pika.frame
import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.spec import Basic, BasicProperties

from workqueue.wire.frames import Command, Splitter
from workqueue.wire.ledgers import DeliveryLedger, PublishLedger
from workqueue.wire.liar import another
from workqueue.wire.liars import LIARS, Honest
from workqueue.wire.proxy import Proxy


def publish(channel, body, frame_max=4096):
    return Command(channel, Basic.Publish(routing_key="q"), BasicProperties(headers={"n": 1}), body).encode(frame_max)


def ack(channel, tag):
    return Command(channel, Basic.Ack(tag, multiple=True)).encode(4096)


HEARTBEAT = pika.frame.Heartbeat().marshal()

commands = st.lists(
    st.one_of(
        st.builds(publish, st.integers(1, 3), st.binary(max_size=10_000), st.sampled_from([4096, 131_072])),
        st.builds(ack, st.integers(1, 3), st.integers(0, 2**63)),
        st.just(HEARTBEAT),
    ),
    max_size=8,
)


def chunks(stream, cuts):
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@given(commands, st.lists(st.integers(0, 100_000), max_size=20))
def test_frames_do_not_depend_on_where_the_stream_is_cut(sent, cuts):
    stream = b"AMQP\x00\x00\x09\x01" + b"".join(sent)
    splitter = Splitter()

    frames = [frame for chunk in chunks(stream, cuts) for frame in splitter.feed(chunk)]

    assert b"".join(frame.raw for frame in frames) == stream
    assert frames == list(Splitter().feed(stream))


@given(st.binary(max_size=20_000), st.sampled_from([4096, 8192, 131_072, 0]))
def test_a_changed_message_is_whole_whatever_its_frames(body, frame_max):
    command = Command(3, Basic.Deliver("tag", 7, False, "", "q"), BasicProperties(priority=4), body)

    frames = list(Splitter().feed(command.encode(frame_max)))
    again = Command.received(frames)

    assert all(not frame_max or len(frame.raw) <= frame_max for frame in frames)
    assert (again.body, again.properties, again.method.delivery_tag) == (body, command.properties, 7)


@pytest.fixture
def collector():
    """A server that collects what it gets until the other side closes, and answers nothing."""
    got, over = [], threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with listener.accept()[0] as peer, contextlib.suppress(ConnectionResetError):
                while data := peer.recv(65536):
                    got.append(data)
            over.set()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], got, over


def of_channel(stream, channel):
    return b"".join(frame.raw for frame in Splitter().feed(stream) if frame.channel == channel)


def test_an_honest_proxy_that_hears_everything_changes_no_byte_of_a_channel(collector):
    port, got, over = collector
    large = publish(1, bytes(range(256)) * 70_000, 131_072)  # 17 MiB
    frames = [frame.raw for frame in Splitter().feed(publish(2, b"x" * 9000))]
    # Channel 3 speaks between the frames of a message on channel 2.
    stream = b"AMQP\x00\x00\x09\x01" + b"".join([*frames[:2], ack(3, 9), HEARTBEAT, *frames[2:], large, ack(2, 0)])

    with Proxy("127.0.0.1", port, Honest()) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(stream)
        client.close()
        assert over.wait(20)

    received = b"".join(got)
    assert len(received) == len(stream)
    assert [of_channel(received, each) == of_channel(stream, each) for each in range(4)] == [True] * 4


def test_a_delay_holds_back_what_passes_in_order(collector):
    port, got, over = collector
    with Proxy("127.0.0.1", port) as proxy:
        proxy.slow_down(delay=0.3)
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            for each in b"abcdefgh":
                client.sendall(bytes([each]))
        assert over.wait(5)
        assert time.monotonic() - started >= 0.3
    assert b"".join(got) == b"abcdefgh"


def test_limited_bandwidth_takes_its_time(collector):
    port, got, over = collector
    with Proxy("127.0.0.1", port) as proxy:
        proxy.slow_down(bandwidth=100_000)
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(b"x" * 50_000)
        assert over.wait(5)
        assert time.monotonic() - started >= 0.5
    assert sum(map(len, got)) == 50_000


def test_one_that_hangs_accepts_and_never_answers(collector):
    port, got, _ = collector
    with Proxy("127.0.0.1", port) as proxy:
        proxy.hang()
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(b"AMQP\x00\x00\x09\x01")
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(1)
    assert not got


@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.reset])
def test_a_cut_says_goodbye_and_a_reset_does_not(collector, fault):
    with Proxy("127.0.0.1", collector[0]) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(b"x")
        wait_for(lambda: collector[1])  # it is relayed
        assert fault(proxy) == 1
        client.settimeout(5)
        if fault is Proxy.cut:
            assert client.recv(1) == b""
        else:
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


class Fake:
    """A channel that liars can keep something in."""

    def __init__(self):
        self.memory = {}
        self.number = 1


def test_confirms_are_told_in_the_clients_numbers():
    ledger = PublishLedger.of(Fake())
    for number in (1, 2, 3):
        assert ledger.client_published() == number
    ledger.sent(1)
    ledger.sent(None)  # one that the client knows nothing of
    ledger.sent(3)  # and 2 was swallowed

    told = ledger.confirmed(Command(1, Basic.Ack(3, multiple=True)))

    assert [command.method.delivery_tag for command in told] == [1, 3]
    assert ledger.confirmed(Command(1, Basic.Ack(3, multiple=True))) == []


def test_settlements_are_told_in_the_brokers_numbers():
    ledger = DeliveryLedger.of(Fake())
    assert [ledger.deliver(tag) for tag in (1, None, 2)] == [1, 2, 3]

    told = ledger.settled(Command(1, Basic.Nack(2, multiple=True, requeue=False)))
    unknown = ledger.settled(Command(1, Basic.Ack(1)))

    assert [(each.method.delivery_tag, each.method.requeue) for each in told] == [(1, False)]
    assert unknown[0].method.delivery_tag > 2**32  # the broker does not know it either
    assert [each.method.delivery_tag for each in ledger.settled(Command(1, Basic.Ack(0, multiple=True)))] == [2]


@given(st.text(max_size=255).filter(lambda name: len(name.encode()) <= 255))
def test_another_name_is_another_and_none_that_amqp_forbids(name):
    assert another(name) != name
    assert len(another(name).encode()) <= 255


def test_every_liar_says_what_it_does():
    assert len(LIARS) >= 25
    assert all(liar.does and not liar.does[0].isupper() and liar.does[-1] != "." for liar in LIARS.values())
    assert len({liar.does for liar in LIARS.values()}) == len(LIARS)
