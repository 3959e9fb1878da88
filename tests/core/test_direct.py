"""The socket that a sending thread reads its own confirmation from, and the I/O thread everything else."""

import concurrent.futures
import os
import select
import signal
import socket
import threading

import pytest

from workqueue import _io
from workqueue._direct import DirectSocket
from workqueue.guarantee.waiting import claim

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
    direct = DirectSocket(sockets[0], reader)
    yield direct
    if direct._socket.fileno() >= 0:
        direct.close()


def told(direct):
    """Whether the I/O thread, which watches it, would be told to read."""
    return bool(select.select([direct.fileno()], [], [], 0)[0])


def receive(direct, expected=lambda: FRAME, timeout=10.0):
    taken = []
    direct.receive(expected, taken.append, timeout)
    return taken


def test_a_frame_that_is_waited_for_is_taken_in_the_callers_thread(direct, peer):
    peer.send(FRAME)
    taken_by = []

    direct.receive(lambda: FRAME, lambda frame: taken_by.append((frame, threading.get_ident())), 10.0)

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
    assert receive(direct, timeout=0.01) == []

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


def test_while_a_thread_receives_the_io_thread_and_other_threads_do_not(direct, peer, reader):
    with concurrent.futures.ThreadPoolExecutor() as threads:
        waiting = threads.submit(receive, direct)
        claim("it is waiting", lambda: direct._reading.locked())
        told_meanwhile = []

        def expected():
            told_meanwhile.append(told(direct))  # when there is something to read
            direct.on_readable()
            return FRAME

        waiting_too = receive(direct)
        peer.send(FRAME)
        assert waiting.result(10) == [FRAME]
        peer.send(FRAME)

        assert receive(direct, expected) == [FRAME]

    assert waiting_too == []
    assert told_meanwhile == [False, False]
    assert reader.read == b""


class InterruptError(Exception):
    pass


def test_an_interrupt_ends_the_wait_and_the_io_thread_reads_again(direct, peer):
    def interrupt(*_):
        raise InterruptError

    previous = signal.signal(signal.SIGUSR1, interrupt)
    try:
        waiting = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGUSR1])
        waiting.start()
        with pytest.raises(InterruptError):
            receive(direct)
        waiting.join()
    finally:
        signal.signal(signal.SIGUSR1, previous)

    peer.send(FRAME)
    assert told(direct)
    assert receive(direct) == [FRAME]


def test_it_can_be_closed_while_somebody_who_was_interrupted_still_has_it(direct):
    direct._reading.acquire()

    direct.close()

    assert direct._socket.fileno() == -1
    assert receive(direct) == [], "nobody reads a socket that is closed"


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
    connection = object.__new__(_io._Connection)
    connection._direct = direct
    connection._frame_buffer = b"the beginning of a frame"
    connection._on_data_available = pytest.fail
    peer.send(FRAME)

    connection.receive(lambda: FRAME, 10.0)

    assert told(direct)
