"""What comes over a connection, when it is no AMQP or comes too late; and what is written and read beside pika."""

import concurrent.futures
import contextlib
import signal
import socket
import threading
import types

import pytest
from pika import frame as pika_frame
from pika.adapters.select_connection import IOLoop
from pika.exceptions import InvalidFrameError
from pika.spec import Basic, Channel

from workqueue import _io
from workqueue.guarantee.waiting import PATIENCE, claim

ACK = pika_frame.Method(1, Basic.Ack(1)).marshal()


@pytest.fixture
def connection():
    """One without a socket, which notes down what is given to its route and to pika."""
    loop = IOLoop()
    connection = object.__new__(_io._Connection)
    connection._nbio = types.SimpleNamespace(get_native_ioloop=lambda: loop)
    connection.connection_state = connection.CONNECTION_OPEN
    connection._frame_buffer = b""
    connection.bytes_received = connection.bytes_sent = connection.frames_sent = 0
    connection.writing, connection.reading = threading.RLock(), threading.RLock()
    connection.beside, connection._late = None, []
    connection._transport = None
    connection.routed, connection.processed = [], []
    connection._process_frame = connection.processed.append

    def route(kind, payload):
        connection.routed.append((kind, payload))
        return True

    connection.routes = {1: route}
    yield connection
    loop.close()


def test_a_frame_without_its_end_is_an_error_and_goes_to_nobody(connection):
    with pytest.raises(InvalidFrameError, match="FRAME_END"):
        connection._on_data_available(ACK[:-1] + b"\0")

    assert not connection.routed
    assert not connection.processed


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n", b"\xff" * 8, b"AMQP\0\0\x09\x01"]
)
def test_a_server_that_speaks_something_else_is_told_from_a_broker(connection, answer):
    with pytest.raises(InvalidFrameError, match="does not speak AMQP 0-9-1"):
        connection._on_data_available(answer)


@pytest.mark.parametrize("kind", [0, 4, 7])
def test_a_frame_of_a_kind_that_does_not_exist_is_an_error(connection, kind):
    with pytest.raises(InvalidFrameError, match=f"Unknown frame type: {kind}"):
        connection._on_data_available(bytes([kind]) + pika_frame.Heartbeat().marshal()[1:])


def test_once_the_connection_is_closed_nothing_more_is_read(connection):
    def close(frame):
        connection.processed.append(frame)
        connection.connection_state = connection.CONNECTION_CLOSED

    connection._process_frame = close
    connection._on_data_available(ACK + pika_frame.Heartbeat().marshal() + ACK)

    assert len(connection.processed) == len(connection.routed) == 1


class Transport:
    """In pika's place: keeps what it is given."""

    def __init__(self):
        self.taken = []

    def get_write_buffer_size(self):
        return sum(map(len, self.taken))

    def write(self, data):
        self.taken.append(data)


@pytest.fixture
def peer(connection):
    """The other end of the socket that the connection writes to and reads from beside pika."""
    connection._transport = Transport()
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    with ours, peer:
        connection.beside = ours.dup()
        connection.ioloop.add_handler(connection.beside.fileno(), connection._on_readable, IOLoop.READ)
        yield peer
        connection.release()


def read_all(peer):
    read = b""
    with contextlib.suppress(BlockingIOError):
        while data := peer.recv(1 << 20):
            read += data
    return read


def test_frames_go_out_at_once_and_in_their_order(connection, peer):
    frames = [bytes([number]) * 1000 for number in range(20)]

    assert not connection.write(frames)

    assert read_all(peer) == b"".join(frames)
    assert connection.bytes_sent == 20_000


def test_nothing_to_write_is_nothing_left(connection, peer):
    assert not connection.write([])


def test_what_the_socket_has_no_room_for_is_pikas_to_send_before_all_that_comes_later(connection, peer):
    frames = [bytes([number]) * 50_000 for number in range(100)]

    assert connection.write(frames)  # there is a rest,
    read = read_all(peer)
    assert 0 < len(read) < 5_000_000
    assert connection.write([b"later"])  # which this has to wait for, though there is room again,
    assert not read_all(peer)
    connection._output_marshaled_frames([b"pika's"])  # and so has what pika sends.

    assert read + b"".join(connection._transport.taken) == b"".join(frames) + b"laterpika's"
    assert max(map(len, connection._transport.taken)) == 1 << 16  # it copies what is left of a piece each time
    assert connection.bytes_sent == 5_000_011


def test_nothing_overtakes_what_pika_has_not_sent(connection, peer):
    connection._output_marshaled_frames([b"pika's"])

    assert connection.write([b"later"])

    assert not read_all(peer)


@pytest.mark.parametrize("end", ["peer", "released", "pika"])
def test_what_cannot_be_sent_any_more_is_kept_for_pika_to_find_out(connection, peer, end):
    if end == "peer":
        peer.close()
    elif end == "released":
        connection.release()
    else:
        connection._transport = None

    assert connection.write([b"lost"])


class AlarmError(TimeoutError):
    """Which is an OSError, as those of a socket are."""


def test_an_alarm_that_comes_just_after_the_socket_was_used_is_not_taken_for_its_error(connection, peer):
    class Socket:
        """In the place of a socket: a signal handler raises when the call is just over."""

        def send(self, _):
            raise AlarmError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "beside", Socket())

        with pytest.raises(AlarmError):
            connection.write([b"sent"])


def others_may_send(connection):
    with concurrent.futures.ThreadPoolExecutor() as threads:
        return threads.submit(connection.writing.acquire, blocking=False).result()


def test_nobody_sends_while_pika_may_be_closing_a_channel(connection):
    # Else what was about to be sent would come after close-ok, and the broker would end the connection.
    connection._process_frame = lambda _: connection.processed.append(others_may_send(connection))

    connection._on_data_available(pika_frame.Method(2, Channel.Close(406, "no", 60, 40)).marshal())

    assert connection.processed == [False]


def test_nobody_sends_while_pika_does(connection, peer):
    connection._transport.write = lambda _: connection.processed.append(others_may_send(connection))

    connection._output_marshaled_frames([b"pika's"])

    assert connection.processed == [False]


# What a sending thread reads itself


@pytest.fixture
def told(connection, peer):
    """What the I/O thread, which watches the socket meanwhile, was told to read, and has read."""
    told = []

    def read():
        told.append(connection.beside.recv(1 << 16))

    connection._transport._on_socket_readable = read
    io = threading.Thread(target=connection.ioloop.start, name="I/O")
    serving = threading.Event()
    connection.ioloop.add_callback_threadsafe(serving.set)
    io.start()
    assert serving.wait(PATIENCE)
    yield told
    connection.ioloop.add_callback_threadsafe(connection.ioloop.stop)
    io.join()


def receive(connection, due=lambda: True):
    connection.receive(ACK, due)


def test_a_frame_that_is_waited_for_is_taken_by_who_waits(connection, peer, told, monkeypatch):
    threads = []
    connection.routes[1] = lambda kind, payload: threads.append(threading.current_thread()) or True
    watch = connection.watch

    def answer(*events):
        watch(*events)
        if events == (0,):  # nobody looks at the socket any more, but who waits
            peer.send(ACK)

    monkeypatch.setattr(connection, "watch", answer)

    receive(connection)

    assert threads == [threading.current_thread()]
    assert connection.bytes_received == len(ACK)  # else the connection would be taken for a silent one
    assert not told


@pytest.mark.parametrize("other", [b"other", ACK[:-1], ACK + b"!", b"!" + ACK], ids=repr)
def test_whatever_else_comes_is_left_to_the_io_thread(connection, peer, told, other):
    peer.send(other)

    receive(connection)

    claim("the I/O thread has read it", lambda: told == [other])
    assert not connection.routed


def test_the_rest_of_a_frame_is_left_to_the_io_thread_whatever_it_looks_like(connection, peer, told):
    connection._frame_buffer = ACK[:7]
    peer.send(ACK)

    receive(connection)

    claim("the I/O thread has read it", lambda: told == [ACK])
    assert not connection.routed


def test_what_does_not_come_within_a_moment_is_left_to_the_io_thread(connection, peer, told):
    receive(connection)
    peer.send(ACK)

    claim("the I/O thread has read it", lambda: told == [ACK])


def test_nobody_waits_for_what_is_not_due(connection, peer, told):
    receive(connection, due=lambda: False)
    peer.send(ACK)

    claim("the I/O thread has read it", lambda: told == [ACK])


def test_a_frame_that_means_something_else_by_now_is_left_to_the_io_thread(connection, peer, told):
    due = [False, True]
    peer.send(ACK)

    receive(connection, due=due.pop)

    claim("the I/O thread has read it", lambda: told == [ACK])
    assert not connection.routed


def test_that_the_peer_is_gone_is_for_the_io_thread_to_find_out(connection, peer, told):
    peer.close()

    receive(connection)

    claim("the I/O thread has seen it", lambda: told and not any(told))


def test_beside_a_connection_that_was_released_nobody_waits(connection, peer, told):
    connection.release()
    peer.send(ACK)

    receive(connection)

    assert not connection.routed


@contextlib.contextmanager
def signalled(handler):
    """Within, the handler of a signal is called in a few milliseconds."""
    before = signal.signal(signal.SIGUSR1, handler)
    later = threading.Timer(0.005, signal.pthread_kill, [threading.get_ident(), signal.SIGUSR1])
    later.start()
    try:
        yield
    finally:
        later.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_handler_that_raises_while_it_waits_leaves_the_reading_to_the_io_thread(connection, peer, told):
    def interrupt(*_):
        raise AlarmError

    with signalled(interrupt), pytest.raises(AlarmError):
        [receive(connection) for _ in range(100)]
    peer.send(ACK)

    claim("the I/O thread has read it", lambda: told == [ACK])


def test_while_a_signal_handler_takes_its_time_the_io_thread_may_look_again(connection, peer, told):
    def linger(*_):
        peer.send(b"for another")
        connection.ioloop.add_callback_threadsafe(connection.watch)
        claim("the I/O thread has read it", lambda: told == [b"for another"])

    with signalled(linger):
        while not told:
            receive(connection)
