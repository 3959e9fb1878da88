"""Free ports of 127.0.0.1 for our nodes, of which no two are the same, in whatever processes they start."""

import collections
import contextlib
import os
import random
import socket
import time

from workqueue.broker.errors import BrokerError

# Below what systems give to outgoing connections, so that nobody takes a port while its node restarts.
_NODES = range(20000, 31000)
_COMMANDS = range(31000, 32000)
_WIDTH = 20  # ports, of which a command takes the first that is free
_CLAIMS = 64  # descriptors for them; how many starts ago a port was given out before it may be given out again

_claims: collections.deque[int] = collections.deque()


def free_port() -> int:
    """Return a port that nobody listens at, that is not given to outgoing connections, and that is ours for a while.

    A node listens only after a second, and not while it is down, so others could find its port free. A UDP socket at
    the same number, which keeps nobody from listening with TCP, tells them that it is taken.
    """
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        port = random.choice(_NODES)  # noqa: S311 - no secret
        with (
            contextlib.suppress(OSError),
            socket.socket() as probe,
            socket.socket(type=socket.SOCK_DGRAM) as claim,
        ):
            claim.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
            _claims.append(claim.detach())
            while len(_claims) > _CLAIMS:
                os.close(_claims.popleft())
            return port
    raise BrokerError(f"No free port was found between {_NODES[0]} and {_NODES[-1]} on 127.0.0.1.")


def command_ports() -> tuple[int, int]:
    """Return the first and last port of those that a rabbitmqctl may choose from; never a node's."""
    first = random.choice(_COMMANDS[:-_WIDTH])  # noqa: S311 - no secret
    return first, first + _WIDTH
