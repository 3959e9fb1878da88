"""A cluster of private nodes on loopback, any of which can be killed while the others go on.

    with launch_cluster(installation, 3) as cluster:
        cluster.nodes[0].kill()
        ...  # cluster.nodes[1].url
        cluster.mend()

It has one epmd, which belongs to no node, since the others must still find each other when one is gone.
"""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from workqueue.broker._ports import free_port
from workqueue.broker.errors import BrokerError, StartFailed
from workqueue.broker.handle import DEFAULT_CONFIG, NodeConfig
from workqueue.broker.installation import Identity, Installation
from workqueue.broker.node import PrivateNode
from workqueue.warden import get_warden

_EPMD = 10.0  # seconds until an epmd takes connections, or is gone
_WHOLE = 30.0  # seconds until all nodes know that all are there


class Cluster:
    """Nodes that share users, queues and an epmd. Made by `launch_cluster`."""

    def __init__(self, nodes: list[PrivateNode]) -> None:
        self.nodes = tuple(nodes)

    def mend(self) -> None:
        """Start the nodes that are down; returns when it is whole. Raises `StartFailed`, `BrokerError`."""
        down = [node for node in self.nodes if not node.is_running]
        if not down:
            return
        # At once, since one that needs others for a majority is ready only when they are there.
        with ThreadPoolExecutor(len(down)) as threads:
            list(threads.map(PrivateNode.start, down))
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until each node sees all of them running. Raises `BrokerError`."""
        with ThreadPoolExecutor(len(self.nodes)) as threads:
            list(threads.map(self._wait_until_it_sees_all, self.nodes))

    def _wait_until_it_sees_all(self, node: PrivateNode) -> None:
        everybody = sorted(each.name for each in self.nodes)
        deadline = time.monotonic() + _WHOLE
        while (seen := _running(node)) != everybody:
            if time.monotonic() > deadline:
                raise BrokerError(f"{node.name} sees {seen} running after {_WHOLE:g} s, not {everybody}.")


@contextlib.contextmanager
def launch_cluster(installation: Installation, count: int, config: NodeConfig = DEFAULT_CONFIG) -> Iterator[Cluster]:
    """Start so many nodes that are one cluster; they end with the context. Raises `StartFailed`, `BrokerError`."""
    with contextlib.ExitStack() as ends:
        seed = Identity(epmd_port=ends.enter_context(_epmd(installation)))
        first = ends.enter_context(PrivateNode.launch(installation, config, seed))

        def join(identity: Identity) -> PrivateNode:
            joining = _joining(config, identity.name, seed.name)
            return ends.enter_context(PrivateNode.launch(installation, joining, identity))

        with ThreadPoolExecutor(count) as threads:
            others = list(threads.map(join, [seed.renamed() for _ in range(1, count)]))
        cluster = Cluster([first, *others])
        cluster.wait_until_whole()
        yield cluster


@contextlib.contextmanager
def _epmd(installation: Installation) -> Iterator[int]:
    """Run an epmd; yields the port of 127.0.0.1 at which it takes connections."""
    port = free_port()
    environment = {**installation.environment, "ERL_EPMD_PORT": str(port), "ERL_EPMD_ADDRESS": "127.0.0.1"}
    epmd = get_warden().spawn(installation.enter(["epmd"]), env=environment, cwd="/")
    try:
        deadline = time.monotonic() + _EPMD
        while not _takes_connections(port):
            if epmd.poll() is not None or time.monotonic() > deadline:
                raise StartFailed(f"The epmd of {installation.spec} did not start: {epmd!r}.", "")
            time.sleep(0.02)
        yield port
    finally:
        epmd.send_signal(signal.SIGKILL)
        epmd.wait(_EPMD)


def _takes_connections(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), _EPMD):
        return True
    return False


def _running(node: PrivateNode) -> list[str]:
    status = json.loads(node.ctl("cluster_status", "--formatter", "json"))
    return sorted(status["running_nodes"])


def _joining(config: NodeConfig, name: str, seed: str) -> NodeConfig:
    # As entries, because rabbitmq.conf has no delay since 4.0; 3.8 waits up to a minute if it is not told otherwise.
    # The seed is told of nobody: nodes that know of each other and boot at once may each found a cluster.
    entries = {
        "cluster_nodes": f"{{['{seed}', '{name}'], disc}}",
        "cluster_formation": "[{randomized_startup_delay_range, {0, 0}}]",
    }
    return NodeConfig(config.settings, {**config.advanced, **entries})
