"""The confirm window beside a broker's book-keeping: every publish is settled once, and as the broker answered."""

from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from workqueue import Nacked, OutcomeUnknown, Unroutable
from workqueue._confirms import ConfirmWindow, Publish


class Windows(RuleBasedStateMachine):
    """Publishes, returns, acks and nacks, single and multiple, and losses, in any order that a broker may choose."""

    @initialize(limit=st.integers(1, 6))
    def open(self, limit):
        self.limit = limit
        self.window = ConfirmWindow(limit)
        self.unsent = []
        self.unanswered = {}  # tag → message
        self.returned = set()
        self.fates = {}  # message → what became of it
        self.names = 0
        self.tags = 0

    def publish(self):
        self.names += 1
        return Publish(f"queue {self.names % 3}", f"message {self.names}", Future())

    def settle(self, settled, fates):
        """It settled just these, each for the first time, and as it should."""
        assert {publish: type(error) for publish, error in settled} == fates
        assert len(settled) == len(fates)
        for publish, error in settled:
            assert publish not in self.fates
            self.fates[publish] = error
            if error is not None:
                assert error.message_id == publish.message_id

    @precondition(lambda self: len(self.unsent) + len(self.unanswered) < self.limit)
    @rule()
    def reserve(self):
        publish = self.publish()
        self.window.reserve(publish)
        self.unsent.append(publish)

    @precondition(lambda self: len(self.unsent) + len(self.unanswered) == self.limit)
    @rule()
    def reserve_one_too_many(self):
        with pytest.raises(ValueError, match=f"window of {self.limit} is full"):
            self.window.reserve(self.publish())

    @precondition(lambda self: 0 < len(self.unsent) + len(self.unanswered) < self.limit)
    @rule(data=st.data())
    def reserve_an_id_that_is_on_its_way(self, data):
        publish = data.draw(st.sampled_from([*self.unsent, *self.unanswered.values()]))
        with pytest.raises(ValueError, match=f"{publish.message_id!r} is on its way"):
            self.window.reserve(Publish("another queue", publish.message_id, Future()))

    @precondition(lambda self: self.unsent)
    @rule(data=st.data())
    def send(self, data):
        publish = data.draw(st.sampled_from(self.unsent))
        self.unsent.remove(publish)
        self.tags += 1
        assert self.window.sent(publish) == self.tags
        self.unanswered[self.tags] = publish

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data())
    def give_back(self, data):
        publish = data.draw(st.sampled_from(list(self.unanswered.values())))
        self.returned.add(publish)
        self.window.returned(publish.message_id, "312 NO_ROUTE")

    @rule(message_id=st.one_of(st.none(), st.just(""), st.text()))
    def give_back_what_is_not_there(self, message_id):
        self.window.returned(message_id, "312 NO_ROUTE")

    @rule(data=st.data(), multiple=st.booleans(), is_ack=st.booleans())
    def answer(self, data, multiple, is_ack):
        tag = data.draw(st.integers(0, self.tags + 2))
        if multiple:
            meant = [each for each in self.unanswered if each <= tag or tag == 0]
        else:
            meant = [each for each in self.unanswered if each == tag]
        fates = {}
        for each in meant:
            publish = self.unanswered.pop(each)
            fates[publish] = Nacked if not is_ack else Unroutable if publish in self.returned else type(None)
        settled = self.window.confirmed(tag, multiple=multiple, is_ack=is_ack)
        self.settle(settled, fates)
        assert [publish for publish, _ in settled] == list(fates), "in the order in which they were sent"

    @rule()
    def lose(self):
        unsettled = [*self.unsent, *self.unanswered.values()]
        self.unsent.clear()
        self.unanswered.clear()
        self.settle(self.window.lost("the network failed"), dict.fromkeys(unsettled, OutcomeUnknown))

    @invariant()
    def has_a_bound_and_counts_what_is_open(self):
        if hasattr(self, "window"):
            assert len(self.window) == len(self.unsent) + len(self.unanswered) <= self.limit
            assert self.window.full == (len(self.window) == self.limit)

    def teardown(self):
        if hasattr(self, "window"):
            self.lose()
            assert len(self.window.lost("again")) == 0


TestWindows = Windows.TestCase


@given(
    count=st.integers(1, 30),
    answers=st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=40),
)
def test_whatever_the_broker_answers_every_message_is_settled_once(count, answers):
    window = ConfirmWindow(count)
    publishes = [Publish("task_queue", f"m{number}", Future()) for number in range(count)]
    for publish in publishes:
        window.reserve(publish)
        window.sent(publish)

    settled = []
    for tag, multiple, is_ack in answers:
        settled += window.confirmed(tag, multiple=multiple, is_ack=is_ack)
    settled += window.lost("the end")

    assert sorted(publish.message_id for publish, _ in settled) == sorted(each.message_id for each in publishes)
