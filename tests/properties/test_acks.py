"""Acks beside a broker that keeps what is unsettled: whatever is told to it settles what was meant, and no other."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from workqueue._acks import Settlements


class Broker:
    """What RabbitMQ does with the settlements of a channel. A tag that is not outstanding closes the channel."""

    def __init__(self, delivered):
        self.unsettled = set(range(1, delivered + 1))

    def ack(self, tag, multiple):
        assert tag in self.unsettled, f"PRECONDITION_FAILED - unknown delivery tag {tag}"
        settled = {each for each in self.unsettled if each == tag or (multiple and each < tag)}
        self.unsettled -= settled
        return settled

    def reject(self, tag):
        return self.ack(tag, multiple=False)


@st.composite
def interleavings(draw):
    """What several threads settle, in whatever order they come to it, as it reaches the I/O thread: in bursts.

    Each burst is what was rejected and what is to be acknowledged. Some deliveries are not settled at all.
    """
    threads = draw(st.integers(1, 4))
    count = draw(st.integers(0, 40))
    inboxes = [list(range(thread + 1, count + 1, threads)) for thread in range(threads)]
    order = []
    while any(inboxes):
        inbox = draw(st.sampled_from([inbox for inbox in inboxes if inbox]))
        order.append(inbox.pop(0))
    order = order[: draw(st.integers(0, len(order)))]
    cuts = sorted(draw(st.sets(st.integers(0, len(order)), max_size=8)))
    bursts = [order[start:end] for start, end in itertools.pairwise([0, *cuts, len(order)])]
    rejected = draw(st.sets(st.sampled_from(order))) if order else set()
    return count, [
        ([tag for tag in burst if tag in rejected], [t for t in burst if t not in rejected]) for burst in bursts
    ]


def apply(count, bursts):
    """Tell the broker of each burst as the consumer does; give what it settled, and how many acks that took."""
    broker, settlements = Broker(count), Settlements()
    for rejected, done in bursts:
        settled = set()
        for tag in rejected:
            settled |= broker.reject(tag)
            settlements.settled(tag)
        acks = settlements.ack(done)
        for tag, multiple in acks:
            settled |= broker.ack(tag, multiple)
        yield set(rejected) | set(done), settled, acks


@given(interleavings())
def test_the_acks_of_a_burst_settle_what_is_in_it_and_no_other(drawn):
    for meant, settled, _ in apply(*drawn):
        assert settled == meant


@given(count=st.integers(1, 30), data=st.data())
def test_in_whatever_order_they_end_all_are_settled_in_the_end(count, data):
    order = data.draw(st.permutations(range(1, count + 1)))
    broker, settlements = Broker(count), Settlements()

    for tag in order:
        [(named, multiple)] = settlements.ack([tag])
        assert broker.ack(named, multiple) == {tag}

    assert not broker.unsettled
    assert settlements.ack([count + 1, count + 2]) == [(count + 2, True)]


@given(interleavings())
def test_what_is_done_up_to_the_first_that_is_not_takes_one_ack_and_each_other_its_own(drawn):
    over = set()
    for (rejected, done), (_, _, acks) in zip(drawn[1], apply(*drawn), strict=True):
        over |= {*rejected, *done}
        first_open = next(tag for tag in itertools.count(1) if tag not in over)
        below = [tag for tag in done if tag < first_open]
        assert len(acks) == (1 if below else 0) + len(done) - len(below)


@given(sizes=st.lists(st.integers(2, 50), min_size=1, max_size=10))
def test_one_thread_that_works_in_order_needs_one_ack_a_burst(sizes):
    settlements, last = Settlements(), 0
    for size in sizes:
        burst = range(last + 1, last + size + 1)
        last += size
        assert settlements.ack(burst) == [(last, True)]
