"""The confirm window beside a broker's book-keeping: every publish is settled once, and as the broker answered."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from workqueue import Nacked, NotSent, OutcomeUnknown, Refused, Unroutable
from workqueue._confirms import ConfirmWindow, Publish

MIB = 1024 * 1024
SIZES = (0, 1, 2, 32 * MIB - 1, 32 * MIB, 64 * MIB - 1, 64 * MIB, 64 * MIB + 1, 500 * MIB)


class Body(bytes):
    """A body that is as long as it says, and takes no memory."""

    def __new__(cls, size):
        body = super().__new__(cls)
        body.size = size
        return body

    def __len__(self):
        return self.size


class Windows(RuleBasedStateMachine):
    """Publishes, returns, answers, time that passes, channels that are closed, and losses, in any order.

    Beside the window, it keeps what waits, what was sent under which tag, what was given up, and what the fates were.
    """

    @initialize(limit=st.integers(1, 6))
    def open(self, limit):
        self.limit = limit
        self.window = ConfirmWindow(limit)
        self.waiting = []
        self.sent = {}  # tag → message
        self.tags = 0  # on this channel
        self.given_up = set()
        self.returned = set()
        self.fates = {}  # message → what became of it
        self.names = 0
        self.now = 0
        self.latest = 0  # deadline

    @property
    def held(self):
        return [*self.sent.values(), *self.waiting]

    def fits(self, size):
        held = self.held
        return len(held) < self.limit and (not held or sum(len(each.body) for each in held) + size <= 64 * MIB)

    def publish(self, size, patience=0):
        self.names += 1
        self.latest += patience
        name, message_id = f"queue {self.names % 3}", f"message {self.names}"
        return Publish(name, message_id, b"", Body(size), print, deadline=self.latest)

    def named(self, publishes, other):
        """Those that a return cannot tell from the other."""
        return [each for each in publishes if (each.queue, each.message_id) == (other.queue, other.message_id)]

    def settle(self, settled, fates):
        """It settled just these, in this order, each for the first time, and as it should."""
        assert [(publish, None if error is None else type(error)) for publish, error in settled] == fates
        for publish, error in settled:
            assert publish not in self.fates
            self.fates[publish] = error
            if error is not None:
                assert error.message_id == publish.message_id

    def fate(self, publishes, outcome):
        """What was given up has had its fate."""
        return [(publish, outcome) for publish in publishes if publish not in self.given_up]

    @rule(size=st.sampled_from(SIZES), patience=st.integers(0, 2))
    def reserve(self, size, patience):
        publish = self.publish(size, patience)
        assert self.window.has_room(size) == self.fits(size)
        if self.fits(size):
            assert self.window.reserve(publish) == (not self.waiting)
            self.waiting.append(publish)

    @precondition(lambda self: self.held and self.fits(0))
    @rule(data=st.data())
    def reserve_an_id_that_is_in_use(self, data):
        namesake = data.draw(st.sampled_from(self.held))
        queue = data.draw(st.sampled_from([namesake.queue, "another queue"]))
        publish = Publish(queue, namesake.message_id, b"", b"", print, deadline=self.latest)
        assert self.window.reserve(publish) == (not self.waiting)
        self.waiting.append(publish)

    @rule()
    def take(self):
        assert self.window.take() == self.waiting
        for publish in self.waiting:
            self.tags += 1
            self.sent[self.tags] = publish
        self.waiting = []

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def give_back(self, data):
        meant = data.draw(st.sampled_from(list(self.sent.values())))
        self.returned.update(self.named(self.sent.values(), meant))
        self.window.returned(meant.queue, meant.message_id, "312 NO_ROUTE")

    @rule(message_id=st.one_of(st.none(), st.just(""), st.text()))
    def give_back_what_is_not_there(self, message_id):
        self.window.returned("queue 0", message_id, "312 NO_ROUTE")

    @rule(data=st.data(), multiple=st.booleans(), is_ack=st.booleans())
    def answer(self, data, multiple, is_ack):
        tag = data.draw(st.integers(0, self.tags + 2))
        meant = [each for each in self.sent if each == tag or (multiple and (each < tag or tag == 0))]
        fates = []
        for publish in [self.sent.pop(each) for each in meant]:
            fates += self.fate([publish], Nacked if not is_ack else Unroutable if publish in self.returned else None)
        self.settle(self.window.confirmed(tag, multiple=multiple, is_ack=is_ack), fates)

    @rule(seconds=st.integers(0, 3))
    def expire(self, seconds):
        self.now += seconds
        late = [publish for publish in self.sent.values() if publish.deadline <= self.now]
        too_late = [publish for publish in self.waiting if publish.deadline <= self.now]
        fates = self.fate(late, OutcomeUnknown) + self.fate(too_late, NotSent)
        self.given_up.update(late)
        self.waiting = [publish for publish in self.waiting if publish not in too_late]
        self.settle(self.window.expired(self.now, "…"), fates)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def close_the_channel_because_of_a_message(self, data):
        sent = list(self.sent.values())
        size = len(data.draw(st.sampled_from(sent)).body)
        first = [len(publish.body) for publish in sent].index(size)
        text = f"PRECONDITION_FAILED - message size {size} is larger than configured max size 0"
        before, culprit, after = sent[:first], sent[first], sent[first + 1 :]
        self.sent = {}
        self.tags = 0
        self.waiting = [publish for publish in after if publish not in self.given_up] + self.waiting
        fates = self.fate(before, OutcomeUnknown) + self.fate([culprit], Refused)
        self.settle(self.window.channel_closed(406, text), fates)

    @rule(text=st.sampled_from(["NOT_FOUND", "", "message size 77 is larger than", "message size is larger than"]))
    def close_the_channel_for_another_reason(self, text):
        certain = len(self.sent) == 1 and "message size 7" not in text
        fates = self.fate(self.sent.values(), Refused if certain else OutcomeUnknown)
        self.sent = {}
        self.tags = 0
        self.settle(self.window.channel_closed(406, text), fates)

    @rule()
    def lose(self):
        fates = self.fate(self.sent.values(), OutcomeUnknown) + self.fate(self.waiting, NotSent)
        self.sent = {}
        self.waiting = []
        self.settle(self.window.lost("the network failed"), fates)

    @invariant()
    def counts_what_is_open_and_knows_what_has_room_and_what_is_due_next(self):
        if hasattr(self, "window"):
            assert len(self.window) == len(self.held) <= self.limit
            for size in SIZES:
                assert self.window.has_room(size) == self.fits(size)
            due = [publish.deadline for publish in self.held if publish not in self.given_up]
            assert self.window.next_deadline() == min(due, default=None)

    def teardown(self):
        if hasattr(self, "window"):
            self.lose()
            assert self.window.lost("again") == []
            assert len(self.window) == 0


TestWindows = Windows.TestCase


@given(
    count=st.integers(1, 30),
    answers=st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=40),
    times=st.sets(st.integers(0, 40)),
)
def test_whatever_the_broker_answers_and_when_every_message_is_settled_once(count, answers, times):
    window = ConfirmWindow(count)
    publishes = [Publish("task_queue", f"m{number}", b"", b"", print, deadline=number) for number in range(count)]
    for publish in publishes:
        window.reserve(publish)
    assert window.take() == publishes

    settled = []
    for now, (tag, multiple, is_ack) in enumerate(answers):
        settled += window.confirmed(tag, multiple=multiple, is_ack=is_ack)
        settled += window.expired(now, "…") if now in times else []
    settled += window.lost("the end")

    assert sorted(publish.message_id for publish, _ in settled) == sorted(each.message_id for each in publishes)
