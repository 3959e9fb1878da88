"""What comes over a connection, when it is no AMQP or comes too late."""

import pytest
from pika import frame as pika_frame
from pika.exceptions import InvalidFrameError
from pika.spec import Basic

from workqueue import _io

ACK = pika_frame.Method(1, Basic.Ack(1)).marshal()


@pytest.fixture
def connection():
    """One without a socket or a loop, which notes down what is given to its route and to pika."""
    connection = object.__new__(_io._Connection)
    connection.connection_state = connection.CONNECTION_OPEN
    connection._frame_buffer = b""
    connection.bytes_received = 0
    connection._transport = None
    connection.routed, connection.processed = [], []
    connection._process_frame = connection.processed.append

    def route(kind, payload):
        connection.routed.append((kind, payload))
        return True

    connection.routes = {1: route}
    return connection


def test_a_frame_without_its_end_is_an_error_and_goes_to_nobody(connection):
    with pytest.raises(InvalidFrameError, match="FRAME_END"):
        connection._on_data_available(ACK[:-1] + b"\0")

    assert not connection.routed
    assert not connection.processed


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n", b"\xff" * 8])
def test_a_server_that_speaks_something_else_is_told_from_a_broker(connection, answer):
    with pytest.raises(InvalidFrameError, match="no AMQP"):
        connection._on_data_available(answer)


@pytest.mark.parametrize("kind", [0, 4, 7])
def test_a_frame_of_a_kind_that_does_not_exist_is_an_error(connection, kind):
    with pytest.raises(InvalidFrameError, match=f"Unknown frame type: {kind}"):
        connection._on_data_available(bytes([kind]) + pika_frame.Heartbeat().marshal()[1:])


def test_a_broker_of_another_version_is_left_to_pika(connection):
    connection._on_data_available(b"AMQP")
    assert not connection.processed
    connection._on_data_available(b"\0\0\x09\x01")

    [header] = connection.processed
    assert isinstance(header, pika_frame.ProtocolHeader)


def test_once_the_connection_is_closed_nothing_more_is_read(connection):
    def close(frame):
        connection.processed.append(frame)
        connection.connection_state = connection.CONNECTION_CLOSED

    connection._process_frame = close
    connection._on_data_available(ACK + pika_frame.Heartbeat().marshal() + ACK)

    assert len(connection.processed) == len(connection.routed) == 1


def test_frames_are_written_in_the_order_in_which_they_came_and_in_few_pieces(connection):
    written = []
    connection._output_marshaled_frames = written.extend
    frames = [bytes([number]) * 1000 for number in range(200)]

    connection.write(frames)

    assert b"".join(written) == b"".join(frames)
    assert len(written) == 4  # of 64 KiB and a bit, at most
    assert max(map(len, written)) < (1 << 16) + 1000


def test_nothing_to_write_is_no_write(connection):
    connection._output_marshaled_frames = pytest.fail

    connection.write([])
