"""A cluster whose nodes are killed and stopped: no worker sits idle, none gives up, and what was confirmed is done."""

import uuid

import pytest

from workqueue import (
    ConsumerCancelled,
    Nacked,
    NotSent,
    OutcomeUnknown,
    Producer,
    Queue,
    QueueUnavailable,
)
from workqueue.broker import NodeConfig, resolve
from workqueue.broker.cluster import launch_cluster
from workqueue.broker.handle import DEFAULT_CONFIG
from workqueue.events import Connected, Disconnected, Subscribed
from workqueue.guarantee.waiting import PATIENCE, claim

RETRIES = 100


@pytest.fixture(scope="module")
def nodes_of_ours(workqueue_broker):
    if workqueue_broker.about.provider not in ("debian", "local"):
        pytest.skip("a cluster is made of nodes of ours (--broker debian:RELEASE or local)")
    # 4.3 keeps the tasks of a consumer for a minute if it lost that one's node; others hand them on at once.
    config = NodeConfig(advanced={**DEFAULT_CONFIG.advanced, "consumer_disconnected_timeout": "1000"})
    with launch_cluster(resolve(workqueue_broker.about.spec).installation(), 3, config) as cluster:
        yield cluster


@pytest.fixture
def cluster(nodes_of_ours):
    """Three nodes, all running. Queues are led by the node that they were declared on."""
    nodes_of_ours.mend()
    return nodes_of_ours


@pytest.fixture
def url(cluster):
    """The first node, which everybody is connected to."""
    return cluster.nodes[0].url


@pytest.fixture
def declared_on():
    """Makes queues, which are gone with the cluster."""

    def declare(node, kind):
        for _ in range(5):  # on a busy machine, another node can win the election
            queue = Queue(f"acceptance-{uuid.uuid4().hex}", kind)
            with Producer(node.url) as producer:
                producer.declare(queue)
            if leader_of(queue, node) == node.name:
                return queue
        raise AssertionError(f"{node.name} never leads what it declares")

    return declare


def leader_of(queue, node):
    """The name of the node that serves the queue, as another node has it."""
    found = f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue.name}">>))'
    return node.ctl("eval", f"{found}, case amqqueue:get_pid(Q) of {{_, N}} -> N; P -> node(P) end.").strip(" \n'")


def test_a_quorum_queue_goes_on_when_its_leader_is_killed(cluster, url, declared_on, work, send, aside):
    # Given a worker and a producer, and a queue that is led by a node that they are not connected to,
    here, there, _ = cluster.nodes
    queue = declared_on(there, "quorum")
    worker = work(url, queue, prefetch=10)
    with Producer(url, confirm_timeout=5) as producer:
        sending = send(producer, queue)
        sending.goes_on()
        claim("tasks are done", lambda: worker.started)

        # When that is killed,
        there.kill()
        done = len(worker.started)

        # I expect another one to lead it, and both to go on; and what was confirmed to be done.
        sending.goes_on()
        claim("more tasks are done", lambda: len(worker.started) > done + 10)
        claim("another node leads the queue", lambda: leader_of(queue, here) != there.name)
        assert sending.end() is None
    claim("all that was confirmed is done", lambda: set(sending.confirmed) <= set(worker.bodies))
    assert worker.stop() is None
    assert aside.ready(queue) == 0


def test_a_worker_whose_node_is_killed_comes_back_by_the_node_that_it_is_led_to(
    cluster, url, wire, declared_on, work, send
):
    # Given a worker and a producer behind something that balances load, and a queue that their node leads,
    here, _, other = cluster.nodes
    queue = declared_on(here, "quorum")
    worker = work(wire.through(url), queue, prefetch=10)
    with Producer(other.url, confirm_timeout=5) as elsewhere, Producer(wire.through(url)) as producer:
        producer.send(queue, b"first")
        sending = send(elsewhere, queue)
        sending.goes_on()
        claim("tasks are done", lambda: worker.started)

        # When that is killed, and they are led to another one at once,
        here.kill()
        worker.until(Disconnected)
        assert not worker.worker.health.consuming
        wire.turn_to(other.url)

        # I expect both to come back there, and what was confirmed to be done.
        worker.until(Subscribed, 2)
        sending.goes_on()
        assert sending.end() is None
        producer.send(queue, b"last", retry=RETRIES)
    confirmed = {b"first", *sending.confirmed, b"last"}
    claim("all that was confirmed is done", lambda: confirmed <= set(worker.bodies))
    assert worker.stop() is None


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_classic_queue_whose_node_goes_is_subscribed_to_again_when_it_is_back(
    cluster, url, declared_on, work, gate, end, aside
):
    # Given workers that know the queue and its name alone, each with a task in hand, and connected to another node,
    _, home, _ = cluster.nodes
    queues = [declared_on(home, "classic") for _ in range(2)]
    bodies = {b"%d" % number for number in range(10)}
    with Producer(url) as producer:
        for body in sorted(bodies):
            for queue in queues:
                producer.send(queue, body)
    workers = [work(url, queues[0], gate), work(url, queues[1].name, gate)]
    for worker in workers:
        claim("a task is in hand", lambda: worker.started)  # noqa: B023

    # When the queue's node is killed, or stopped,
    getattr(home, end)()

    # I expect them to be told, and to try again; not to seem to consume, nor to give up,
    for worker in workers:
        first = worker.until(Disconnected)[0]
        assert isinstance(first.reason, ConsumerCancelled)
        worker.until(Connected, 2)
        claim("it knows that it does not consume", lambda: not worker.worker.health.consuming)  # noqa: B023
    gate.open()
    home.start()

    # and to do all tasks when the node is back.
    for worker, queue in zip(workers, queues, strict=True):
        worker.until(Subscribed, 2)
        assert len(worker.told(Subscribed)) == 2
        refusals = [event.reason for event in worker.told(Disconnected)[1:]]
        assert all(isinstance(reason, QueueUnavailable) for reason in refusals), refusals
        claim("all tasks are done", lambda: set(worker.bodies) == bodies)  # noqa: B023
        claim("none is left", lambda: aside.ready(queue) == 0)  # noqa: B023
        assert worker.stop() is None


def test_a_quorum_queue_without_a_majority_confirms_nothing_and_goes_on_with_one(cluster, url, declared_on, work):
    # Given queues that are led by this node and by another one, with confirmed tasks,
    here, second, third = cluster.nodes
    queues = [declared_on(here, "quorum"), declared_on(second, "quorum")]
    before = {b"%d" % number for number in range(10)}
    with Producer(url, confirm_timeout=2) as producer:
        for body in before:
            for queue in queues:
                producer.send(queue, body)
        workers = [work(url, queue) for queue in queues]

        # When two of three nodes are killed,
        second.kill()
        third.kill()

        # I expect nothing that is sent to be confirmed,
        futures = [producer.send_async(queue.name, b"%d" % number) for queue in queues for number in range(10, 20)]
        errors = [future.exception(PATIENCE) for future in futures]
        assert {type(error) for error in errors} <= {Nacked, NotSent, OutcomeUnknown}, errors

        # and both to go on when one of them is back, with nothing lost: also for this producer, though its channel may
        # never be answered again.
        second.start()
        for queue, worker in zip(queues, workers, strict=True):
            producer.send(queue.name, b"after", retry=RETRIES)
            claim("all that was confirmed is done", lambda: before | {b"after"} <= set(worker.bodies))  # noqa: B023
            assert worker.stop() is None
