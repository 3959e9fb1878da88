"""The relay in between: what passes, and what does not any more."""

import contextlib
import socket
import threading

import pytest

from workqueue.wire.proxy import Proxy


@pytest.fixture
def echo():
    """A server that sends back what it gets; the list holds what it got."""
    got = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            peer, _ = listener.accept()
            # Closing a frozen relay resets what it left unread.
            with peer, contextlib.suppress(ConnectionError):
                while data := peer.recv(100):
                    got.append(data)
                    peer.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], got
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def client_and_proxy(echo):
    with Proxy("127.0.0.1", echo[0]) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(b"one")
        assert client.recv(100) == b"one"
        client.settimeout(0.2)
        yield client, proxy


def test_a_frozen_relay_passes_nothing_and_closes_nothing(echo, client_and_proxy):
    client, proxy = client_and_proxy

    assert proxy.freeze() == 1
    client.sendall(b"two")

    with pytest.raises(TimeoutError):
        client.recv(100)
    assert echo[1] == [b"one"]


def test_a_relay_can_lose_the_answers_alone_and_freeze_later(echo, client_and_proxy):
    client, proxy = client_and_proxy

    assert proxy.lose_answers() == 1
    client.sendall(b"two")
    with pytest.raises(TimeoutError):
        client.recv(100)
    assert echo[1] == [b"one", b"two"]

    assert proxy.freeze() == 1
    client.sendall(b"three")
    with pytest.raises(TimeoutError):
        client.recv(100)
    assert echo[1] == [b"one", b"two"]
