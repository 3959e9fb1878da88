"""The relay in between: what passes, and what does not any more."""

import contextlib
import socket
import threading

import pytest

from workqueue.guarantee.waiting import claim
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

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], got
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def client_and_proxy(echo):
    with Proxy("127.0.0.1", echo[0]) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(b"one")
        assert client.recv(100) == b"one"
        client.settimeout(5)
        yield client, proxy


def nothing_comes(client):
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(100)
    client.settimeout(5)


def test_a_frozen_relay_passes_nothing_and_closes_nothing(echo, client_and_proxy):
    client, proxy = client_and_proxy

    assert proxy.freeze() == 1
    client.sendall(b"two")

    nothing_comes(client)
    assert echo[1] == [b"one"]


def test_a_relay_can_lose_the_answers_alone_and_freeze_later(echo, client_and_proxy):
    client, proxy = client_and_proxy

    assert proxy.lose_answers() == 1
    client.sendall(b"two")
    claim("the server has it", lambda: echo[1] == [b"one", b"two"])
    nothing_comes(client)

    assert proxy.freeze() == 1
    client.sendall(b"three")
    nothing_comes(client)
    assert echo[1] == [b"one", b"two"]


def test_a_thawed_relay_passes_what_it_held_back(echo, client_and_proxy):
    client, proxy = client_and_proxy
    proxy.freeze()
    client.sendall(b"two")
    nothing_comes(client)

    assert proxy.thaw() == 1

    assert client.recv(100) == b"two"
    assert echo[1] == [b"one", b"two"]


def test_lost_answers_come_after_a_thaw(client_and_proxy):
    client, proxy = client_and_proxy
    proxy.lose_answers()
    client.sendall(b"two")
    nothing_comes(client)

    assert proxy.thaw() == 1

    assert client.recv(100) == b"two"


@pytest.mark.parametrize("silence", [None, "freeze", "lose_answers"])
def test_a_cut_connection_ends_as_if_the_other_side_had_closed_it(client_and_proxy, silence):
    client, proxy = client_and_proxy
    if silence is not None:
        getattr(proxy, silence)()
        client.sendall(b"two")

    assert proxy.cut() == 1

    assert client.recv(100) == b""
    assert proxy.connections == 0
    assert proxy.cut() == 0  # a fault that hits nobody says so


@pytest.mark.parametrize("silence", [None, "freeze"])
def test_a_reset_connection_ends_without_a_goodbye(client_and_proxy, silence):
    client, proxy = client_and_proxy
    if silence is not None:
        getattr(proxy, silence)()

    assert proxy.reset() == 1

    with pytest.raises(ConnectionResetError):
        client.recv(100)
    assert proxy.connections == 0


def test_both_ends_see_the_reset():
    with socket.create_server(("127.0.0.1", 0)) as listener, Proxy("127.0.0.1", listener.getsockname()[1]) as proxy:
        client = socket.create_connection(("127.0.0.1", proxy.port))
        with client, listener.accept()[0] as served:
            served.settimeout(5)
            assert proxy.reset() == 1
            with pytest.raises(ConnectionResetError):
                served.recv(100)


def test_a_relay_serves_again_after_a_cut_and_only_when_thawed():
    with socket.create_server(("127.0.0.1", 0)) as listener, Proxy("127.0.0.1", listener.getsockname()[1]) as proxy:
        proxy.freeze()
        with socket.create_connection(("127.0.0.1", proxy.port)) as early:
            early.settimeout(5)
            assert early.recv(100) == b""
        proxy.thaw()
        with socket.create_connection(("127.0.0.1", proxy.port)) as late, listener.accept()[0] as served:
            late.settimeout(5)
            served.sendall(b"welcome")
            assert late.recv(100) == b"welcome"


def test_a_relay_can_lead_new_connections_elsewhere_and_leaves_those_that_there_are(client_and_proxy):
    client, proxy = client_and_proxy

    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        proxy.turn_to(f"amqp://127.0.0.1:{elsewhere.getsockname()[1]}")
        with socket.create_connection(("127.0.0.1", proxy.port)) as led, elsewhere.accept()[0] as peer:
            led.sendall(b"other")
            assert peer.recv(100) == b"other"

    client.sendall(b"two")
    assert client.recv(100) == b"two"
