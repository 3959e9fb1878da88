"""The headers that tell how often a message was delivered before."""

from workqueue.guarantee.catalogue import guarantee
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.proof import caught
from workqueue.guarantee.sources import QUORUM_QUEUES, release_note
from workqueue.guarantee.waiting import barrier

COUNT = QUORUM_QUEUES.section("poison-message-handling")
NACKS = 3


def nacked(stage, queue):
    """A message that was delivered and nacked three times, as it is delivered the next time."""
    stage.publish("poison", queue=queue)
    client = stage.client()
    client.consume(queue.name)
    for count in range(1, NACKS + 2):
        barrier("it is delivered", lambda n=count: len(client.received) >= n)
        if count <= NACKS:
            client.nack(client.received[-1])
    headers = dict(client.received[-1].headers)
    stage.evidence.proof("broker", f"delivered it with the headers {headers}")
    return headers


@guarantee(
    "delivery-count.counts-every-return",
    "The header x-delivery-count tells how often a message was returned: 3 after three nacks.",
    source=COUNT,
    queue_types=["quorum"],
    broken_on=[BrokenOn("quorum", ">=4.3", "it counts failures only, and a nack is not one", release_note("4.3.0"))],
    proved_by=[
        caught("miscounts-deliveries", "`nacked(stage, queue).get('x-delivery-count') == NACKS"),
        caught("hides-headers", "`nacked(stage, queue).get('x-delivery-count') == NACKS"),
    ],
)
def test_the_delivery_count_counts_every_return(stage, queue):
    assert nacked(stage, queue).get("x-delivery-count") == NACKS


@guarantee(
    "delivery-count.acquired-count",
    "The header x-acquired-count tells how often a message was delivered before, for whatever reason it came back.",
    source=COUNT,
    queue_types=["quorum"],
    broken_on=[BrokenOn("quorum", "<4.3", "there is no such header", release_note("4.3.0"))],
    proved_by=[
        caught("miscounts-deliveries", "`nacked(stage, queue).get('x-acquired-count') == NACKS"),
        caught("hides-headers", "`nacked(stage, queue).get('x-acquired-count') == NACKS"),
    ],
)
def test_the_acquired_count_counts_every_delivery(stage, queue):
    assert nacked(stage, queue).get("x-acquired-count") == NACKS


@guarantee(
    "delivery-count.not-on-first-delivery",
    "A message that is delivered for the first time carries no x-delivery-count, be it pushed or fetched.",
    source=release_note("3.12.0"),
    broken_on=[BrokenOn("quorum", "<3.12", "basic.get shows a count of 0", release_note("3.12.0"))],
    proved_by=[caught("counts-too-early", "fetched and pushed have [0, 0]")],
)
def test_there_is_no_delivery_count_on_first_delivery(stage, queue, publish):
    publish("fetched", "pushed")
    client = stage.client()
    fetched = client.get(queue.name)
    client.consume(queue.name)
    [pushed] = client.wait_until_holding(1)

    counts = [each.headers.get("x-delivery-count") for each in (fetched, pushed)]

    assert counts == [None, None], f"fetched and pushed have {counts}"
