"""A real cluster: each of its nodes can be killed and comes back, and nothing of it stays behind."""

import contextlib
import json
import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pika
import psutil
import pytest

from workqueue.broker import NodeConfig, errors, resolve
from workqueue.broker.cluster import launch_cluster
from workqueue.guarantee.waiting import claim

SPEC = "debian:trixie"


@pytest.fixture(scope="module")
def installation():
    source = resolve(SPEC)
    try:
        source.prepare()
    except errors.Unavailable as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))
    return source.installation()


def family(root):
    return set(psutil.Process(root).children(recursive=True))


@pytest.fixture(scope="module")
def others():
    """The processes that other tests of this run have already started, such as a broker that the session shares."""
    return family(os.getpid())


@pytest.fixture(scope="module")
def cluster(others, installation):
    with launch_cluster(installation, 3) as cluster:
        yield cluster


def running(node):
    return set(json.loads(node.ctl("cluster_status", "--formatter", "json"))["running_nodes"])


def publish(node, queue):
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(node.url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_publish("", queue, b"task")


def ready(node, queue):
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(node.url))) as connection:
        return connection.channel().queue_declare(queue, passive=True).method.message_count


def test_its_nodes_are_three_and_have_one_epmd(cluster, others, names):
    assert len({node.name for node in cluster.nodes}) == 3
    assert len({node.url for node in cluster.nodes}) == 3
    started = names(family(os.getpid()) - others)
    assert started.count("beam.smp") == 3
    assert started.count("epmd") == 1


def test_a_killed_node_is_missed_by_the_others_and_comes_back(cluster):
    first, second, third = cluster.nodes
    publish(first, "survives")

    first.kill()

    claim("the others go on without it", lambda: running(third) == {second.name, third.name})
    publish(second, "survives")
    cluster.mend()
    assert all(running(node) == {each.name for each in cluster.nodes} for node in cluster.nodes)
    claim("it knows of what happened meanwhile", lambda: ready(first, "survives") == 2)


def test_it_comes_back_when_all_its_nodes_were_killed(cluster):
    for node in cluster.nodes:
        node.kill()
    assert not any(node.is_running for node in cluster.nodes)

    cluster.mend()

    publish(cluster.nodes[0], "after all were killed")
    claim("it is to be seen elsewhere", lambda: ready(cluster.nodes[2], "after all were killed") == 1)


def test_nothing_stays_of_one_that_does_not_start(installation, names):
    before = family(os.getpid())

    with (
        pytest.raises(errors.StartFailed, match="no_such_setting"),
        launch_cluster(installation, 3, NodeConfig({"no_such_setting": "1"})),
    ):
        pytest.fail("it started")

    assert not names(family(os.getpid()) - before)


OWNER = Path(__file__).with_name("owner.py")


def test_nothing_stays_when_its_owner_is_killed(installation, started, names):
    owner = started([sys.executable, str(OWNER), SPEC, "cluster"], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "begun\n"
    folders = [Path(line.strip()) for line in takewhile(lambda line: line != "started\n", owner.stdout)]
    processes = family(owner.pid)
    assert names(processes).count("beam.smp") == 2
    assert names(processes).count("epmd") == 1
    assert [folder.is_dir() for folder in folders] == [True] * 3

    owner.kill()

    claim("all processes are gone", lambda: not names(processes))
    claim("all folders are gone", lambda: not any(folder.exists() for folder in folders))
