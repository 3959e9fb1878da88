"""Nodes that start at the same time, in one process or in several, are given different ports."""

import socket
import subprocess
import sys

from workqueue.broker._ports import command_ports, free_port

MANY = 50
FEW = range(20000, 20500)
"""So few that of so many by chance alone some would be the same."""
OTHER = f"""
from workqueue.broker import _ports
_ports._NODES = {FEW}
print(*[_ports.free_port() for _ in range({MANY})], flush=True)
input()
"""


def test_none_is_given_out_twice(monkeypatch) -> None:
    monkeypatch.setattr("workqueue.broker._ports._NODES", FEW)
    with subprocess.Popen([sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        theirs = {int(port) for port in other.stdout.readline().split()}
        ours = {free_port() for _ in range(MANY)}
        other.communicate(b"\n")

    assert len(theirs) == len(ours) == MANY
    assert not theirs & ours


def test_it_can_be_listened_at() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass


def test_one_that_somebody_listens_at_is_not_given_out(monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        monkeypatch.setattr("workqueue.broker._ports._NODES", range(taken, taken + 10))

        assert taken not in {free_port() for _ in range(5)}


def test_commands_have_ports_of_their_own() -> None:
    for _ in range(MANY):
        first, last = command_ports()
        assert 31000 <= first < last < 32000
