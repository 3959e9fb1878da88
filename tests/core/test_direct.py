"""The socket that a sending thread reads its own confirmation from, and the I/O thread everything else."""

import concurrent.futures
import os
import select
import signal
import socket
import threading

import pytest

from workqueue import _direct, _io
from workqueue._direct import DirectSocket

FRAME = b"the frame"


class Reader:
    """The I/O thread's reading: notes down what it got."""

    def __init__(self, sock):
        self.sock = sock
        self.read = b""

    def __call__(self):
        self.read += self.sock.recv(1 << 16)


@pytest.fixture
def sockets():
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    with ours, peer:
        yield ours, peer


@pytest.fixture
def peer(sockets):
    return sockets[1]


@pytest.fixture
def reader(sockets):
    return Reader(sockets[0])


@pytest.fixture
def direct(sockets, reader):
    return DirectSocket(sockets[0], reader)


def told(direct):
    """Whether the I/O thread, which watches it, would be told to read."""
    return bool(select.select([direct.fileno()], [], [], 0)[0])


def receive(direct, expected=lambda: FRAME):
    taken = []
    direct.receive(expected, taken.append)
    return taken


def test_a_frame_that_is_waited_for_is_taken_in_the_callers_thread(direct, peer):
    peer.send(FRAME)
    taken_by = []

    direct.receive(lambda: FRAME, lambda frame: taken_by.append((frame, threading.get_ident())))

    assert taken_by == [(FRAME, threading.get_ident())]
    assert not told(direct)


@pytest.mark.parametrize("other", [b"another", FRAME[:-1], FRAME + b"!", b"!" + FRAME], ids=repr)
def test_whatever_else_comes_is_left_to_the_io_thread(direct, peer, reader, other):
    peer.send(other)

    assert receive(direct) == []

    assert told(direct)
    direct.on_readable()
    assert reader.read == other


def test_nothing_is_taken_when_the_peer_is_gone(direct, peer):
    peer.close()

    assert receive(direct) == []

    assert told(direct)


def test_what_does_not_come_in_time_is_left_to_the_io_thread(direct, peer):
    assert receive(direct) == []

    peer.send(FRAME)
    assert told(direct)


def test_nobody_waits_for_what_is_there_already(direct, peer):
    peer.send(FRAME)

    assert receive(direct, expected=lambda: None) == []

    assert told(direct)


def test_a_frame_that_means_something_else_by_now_is_not_taken(direct, peer):
    meanings = [FRAME, None]
    peer.send(FRAME)

    assert receive(direct, expected=lambda: meanings.pop(0)) == []

    assert not meanings
    assert told(direct)


def test_while_a_thread_receives_the_io_thread_is_not_told(direct, peer, reader):
    peer.send(FRAME)
    told_meanwhile = []

    def expected():
        told_meanwhile.append(told(direct))
        return FRAME

    assert receive(direct, expected) == [FRAME]

    assert told_meanwhile == [False, False]
    assert reader.read == b""


def test_the_io_thread_reads_later_while_something_is_being_taken(direct, peer, reader):
    def take(frame):
        peer.send(b"more")
        with concurrent.futures.ThreadPoolExecutor() as threads:
            threads.submit(direct.on_readable).result(10)  # it has not waited for ever,
        assert reader.read == b""  # nor read in between

    peer.send(FRAME)
    direct.receive(lambda: FRAME, take)

    assert told(direct)
    direct.on_readable()
    assert reader.read == b"more"


class InterruptError(Exception):
    pass


class AlarmError(TimeoutError):
    """Which is an OSError, as those of a socket are."""


@pytest.fixture
def interrupt(monkeypatch):
    """Has a signal handler called while something is waited for."""
    monkeypatch.setattr(_direct, "_MOMENT", 30.0)
    previous = signal.getsignal(signal.SIGUSR1)
    timers = []

    def interrupt(handler):
        """Return what is expected, from which moment on the signal is under way."""

        def expected():
            if not timers:
                timers.append(threading.Timer(0.03, os.kill, [os.getpid(), signal.SIGUSR1]))
                timers[-1].start()
            return FRAME

        signal.signal(signal.SIGUSR1, lambda *_: handler())
        return expected

    yield interrupt
    for timer in timers:
        timer.join()
    signal.signal(signal.SIGUSR1, previous)


@pytest.mark.parametrize("error", [InterruptError, AlarmError])
def test_an_interrupt_ends_the_wait_and_the_io_thread_reads_again(direct, peer, interrupt, error):
    def handler():
        raise error

    expected = interrupt(handler)
    with pytest.raises(error):
        receive(direct, expected)

    peer.send(FRAME)
    assert told(direct)
    assert receive(direct) == [FRAME]


def test_a_signal_handler_may_wait_for_what_the_io_thread_reads(direct, peer, interrupt):
    seen = []

    def handler():
        peer.send(FRAME)
        seen.append(told(direct))
        direct.watch()
        seen.append(told(direct))

    assert receive(direct, interrupt(handler)) == [FRAME], "it is the next that comes, still"
    assert seen == [False, True]


@pytest.mark.parametrize("method", ["send", "recv"])
def test_an_alarm_that_comes_just_after_the_socket_was_used_is_not_taken_for_its_error(direct, peer, method):
    class Socket:
        """In the place of a socket: a signal handler raises when the call is just over."""

        def __init__(self, sock):
            self.fileno = sock.fileno

        def used(self, *_):
            raise AlarmError

    used = DirectSocket.__new__(DirectSocket)
    used.__dict__.update(direct.__dict__, _socket=Socket(direct._socket))
    setattr(used._socket, method, used._socket.used)
    peer.send(FRAME)

    with pytest.raises(AlarmError):
        used.send(b"x") if method == "send" else receive(used)


def test_it_is_closed_once_nobody_uses_it(sockets, reader):
    direct = DirectSocket(sockets[0], reader)
    duplicate = direct._socket
    assert duplicate.fileno() >= 0

    del direct

    assert duplicate.fileno() == -1


def test_the_original_can_be_closed_before(direct, sockets):
    sockets[0].close()
    sockets[1].send(FRAME)

    assert receive(direct) == [FRAME]


def test_sending_tells_how_much_was_sent(direct, peer):
    assert direct.send(FRAME) == len(FRAME)
    assert peer.recv(100) == FRAME
    assert 0 < direct.send(bytes(10 << 20)) < 10 << 20
    assert direct.send(FRAME) == 0, "there is no room"

    peer.close()
    assert direct.send(FRAME) == 0, "who reads finds out"


def test_in_the_middle_of_another_frame_the_same_bytes_mean_nothing(direct, peer):
    link = object.__new__(_io.Link)
    link._connection = object.__new__(_io._Connection)
    link._connection.direct = direct
    link._connection._frame_buffer = b"the beginning of a frame"
    link._connection._on_data_available = pytest.fail
    peer.send(FRAME)

    link.receive(lambda: FRAME)

    assert told(direct)
