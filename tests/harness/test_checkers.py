"""The checkers, on histories made by hand: each fault is found under its own name, and under no other."""

import pytest

from workqueue.guarantee.checkers import FACTS, FAULTS, findings
from workqueue.guarantee.history import History, Kind

# A history is a text, a line for each event, in the order in which they happened:
#     WHO WHAT TASK...
# with one event for each task. What somebody got marked as redelivered, they "got-again".
_VERBS = {
    "published": Kind.PUBLISHED,
    "was-confirmed": Kind.CONFIRMED,
    "was-refused": Kind.REFUSED,
    "got": Kind.DELIVERED,
    "got-again": Kind.DELIVERED,
    "did": Kind.DONE,
    "sent-ack": Kind.ACK_SENT,
    "acked": Kind.ACKED,
}


def history_of(text):
    history = History()
    for at, line in enumerate(text.strip().splitlines()):
        who, verb, *tasks = line.split()
        for task in tasks:
            history.add(_VERBS[verb], who, task, redelivered=verb == "got-again", at=at)
    return history


HEALTHY = {
    "nothing happened": "",
    "one task from end to end": """
        P published a
        P was-confirmed a
        A got a
        A did a
        A sent-ack a
        A acked a
    """,
    "a worker that only tells when it is done": """
        P published a
        P was-confirmed a
        A got a
        A did a
    """,
    "a worker that only tells of its acks": """
        P published a
        P was-confirmed a
        A got a
        A acked a
    """,
    "delivered before the confirm arrives": """
        P published a
        A got a
        A did a
        P was-confirmed a
    """,
    "refused and nowhere": """
        P published a
        P was-refused a
    """,
    "refused, published again, and done": """
        P published a
        P was-refused a
        P published a
        P was-confirmed a
        A got a
        A did a
    """,
    "two producers, whose tasks mingle": """
        P published a b
        Q published x y
        P was-confirmed a b
        Q was-confirmed x y
        A got x a y b
        A did x a y b
    """,
    "two workers, the second of which reads first": """
        P published a b
        P was-confirmed a b
        B got b
        A got a
        A did a
        B did b
    """,
}

FAULTY = {
    "a task that was confirmed is nowhere": (
        """
        P published a b
        P was-confirmed a b
        A got b
        A did b
        """,
        {"lost": ["a"]},
    ),
    "a task that was confirmed twice is nowhere": (
        """
        P published a a
        P was-confirmed a a
        """,
        {"lost": ["a"]},
    ),
    "a worker dies, and its task with it": (
        """
        P published a b
        P was-confirmed a b
        A got a b
        A did a
        """,
        {"unfinished": ["b"]},
    ),
    "nobody published it": (
        """
        A got ghost
        A did ghost
        """,
        {"unexpected": ["ghost"]},
    ),
    "the same task twice, as if it were new": (
        """
        P published a
        P was-confirmed a
        A got a
        A got a
        A did a
        """,
        {"silently_repeated": ["a"], "duplicated": ["a"]},
    ),
    "after a marked delivery, one as if it were new": (
        """
        P published a
        P was-confirmed a
        A got a
        B got-again a
        A got a
        A did a
        """,
        {"silently_repeated": ["a"], "duplicated": ["a"]},
    ),
    "two copies published, three delivered as if they were new": (
        """
        P published a a
        P was-confirmed a a
        A got a a a
        A did a
        """,
        {"silently_repeated": ["a"], "duplicated": ["a"]},
    ),
    "a stranger's task twice, as if it were new": (
        """
        A got ghost ghost
        A did ghost
        """,
        {"unexpected": ["ghost"], "silently_repeated": ["ghost"], "duplicated": ["ghost"]},
    ),
    "the ack arrived, and the task comes back": (
        """
        P published a
        P was-confirmed a
        A got a
        A did a
        A sent-ack a
        A acked a
        B got-again a
        """,
        {"redelivered_after_ack": ["a"], "duplicated": ["a"]},
    ),
    "it comes back twice, and is told once": (
        """
        P published a
        P was-confirmed a
        A got a
        A acked a
        B got-again a
        B acked a
        A got-again a
        """,
        {"redelivered_after_ack": ["a"], "duplicated": ["a"]},
    ),
    "both copies were acked, and a third comes": (
        """
        P published a a
        P was-confirmed a a
        A got a a
        A acked a a
        A got-again a
        """,
        {"redelivered_after_ack": ["a"], "duplicated": ["a"]},
    ),
    "a stranger's task comes back after its ack": (
        """
        A got ghost
        A acked ghost
        A got-again ghost
        """,
        {"unexpected": ["ghost"], "redelivered_after_ack": ["ghost"], "duplicated": ["ghost"]},
    ),
    "a copy published later does not explain what came before it": (
        """
        P published a
        P was-confirmed a
        A got a
        A acked a
        A got-again a
        P published a
        P was-confirmed a
        """,
        {"redelivered_after_ack": ["a"], "duplicated": ["a"]},
    ),
    "a later task comes first": (
        """
        P published a b c
        P was-confirmed a b c
        A got a c b
        A did a c b
        """,
        {"overtaken": ["b"]},
    ),
    "one that has no place comes before one that is overtaken": (
        """
        P published a b c
        P was-confirmed a b c
        A got-again a
        A got c b
        A did a b c
        """,
        {"overtaken": ["b"], "falsely_marked": ["a"]},
    ),
    "the last comes first": (
        """
        P published a b c
        P was-confirmed a b c
        A got c a b
        A did a b c
        """,
        {"overtaken": ["a", "b"]},
    ),
    "a later task of one of two producers comes first": (
        """
        P published a
        Q published x
        P published b
        Q published y
        P was-confirmed a b
        Q was-confirmed x y
        A got a y b x
        A did a b x y
        """,
        {"overtaken": ["x"]},
    ),
}

EXPLICABLE = {
    "it was unconfirmed, and is nowhere": (
        "P published a",
        {"indeterminate": ["a"]},
    ),
    "it was unconfirmed, and came": (
        """
        P published a
        A got a
        A did a
        """,
        {"recovered": ["a"], "indeterminate": ["a"]},
    ),
    "it was unconfirmed, and the worker dies that has it": (
        """
        P published a
        A got a
        """,
        {"recovered": ["a"], "indeterminate": ["a"]},
    ),
    "it was refused, and came": (
        """
        P published a
        P was-refused a
        A got a
        A did a
        """,
        {"recovered": ["a"]},
    ),
    "one copy was refused, and of the other nothing was heard": (
        """
        P published a
        P published a
        P was-refused a
        """,
        {"indeterminate": ["a"]},
    ),
    "it was unconfirmed, and confirmed when it was published again": (
        """
        P published a
        P published a
        P was-confirmed a
        A got a
        A acked a
        A got a
        A acked a
        """,
        {"duplicated": ["a"]},
    ),
    "nobody knows whether the ack arrived": (
        """
        P published a
        P was-confirmed a
        A got a
        A sent-ack a
        """,
        {"indeterminate": ["a"]},
    ),
    "the ack did not arrive, and the task comes back": (
        """
        P published a
        P was-confirmed a
        A got a
        A did a
        A sent-ack a
        B got-again a
        B did a
        B sent-ack a
        B acked a
        """,
        {"duplicated": ["a"]},
    ),
    "the worker died that had it": (
        """
        P published a
        P was-confirmed a
        A got a
        B got-again a
        B did a
        """,
        {"duplicated": ["a"]},
    ),
    "the worker died before it had read it": (
        """
        P published a
        P was-confirmed a
        A got-again a
        A did a
        """,
        {"falsely_marked": ["a"]},
    ),
    "what was handed back comes after what was published later": (
        """
        P published a b
        P was-confirmed a b
        A got a b
        A did b
        A got-again a
        A did a
        """,
        {"duplicated": ["a"]},
    ),
    "what was handed back unread comes after what was published later": (
        """
        P published a b
        P was-confirmed a b
        A got b
        A got-again a
        A did a b
        """,
        {"falsely_marked": ["a"]},
    ),
    "a copy that was published again comes when it comes": (
        """
        P published a b a
        P was-confirmed b a
        A got b
        A got a
        A did a b
        """,
        {},
    ),
    "a copy that was published again and marked overtakes nobody": (
        """
        P published b a b
        P was-confirmed a b
        A got b
        A got a
        A did a b
        """,
        {},
    ),
}


@pytest.mark.parametrize("text", HEALTHY.values(), ids=HEALTHY)
def test_in_a_healthy_history_nothing_is_found(text):
    assert findings(history_of(text), [*FAULTS, *FACTS]) == {}


@pytest.mark.parametrize(("text", "found"), FAULTY.values(), ids=FAULTY)
def test_each_fault_is_found_under_its_own_name_and_under_no_other(text, found):
    assert findings(history_of(text), [*FAULTS, *FACTS]) == found
    assert findings(history_of(text)), "a fault is looked for unless one asks for something else"


@pytest.mark.parametrize(("text", "found"), EXPLICABLE.values(), ids=EXPLICABLE)
def test_what_a_failure_explains_is_a_fact_and_no_fault(text, found):
    assert findings(history_of(text), [*FAULTS, *FACTS]) == found
    assert findings(history_of(text)) == {}


def test_what_is_found_is_in_the_order_in_which_it_happened_and_once():
    history = history_of(
        """
        P published b a
        P was-confirmed b a
        A got y x y
        """
    )

    found = findings(history)
    assert found["lost"] == ["b", "a"]
    assert found["unexpected"] == ["y", "x"]


def test_a_delivery_at_the_very_moment_at_which_the_ack_was_known_came_before_it():
    history = History()
    history.add(Kind.ACKED, "A", "a", at=3)
    history.add(Kind.DELIVERED, "A", "a", at=3)
    history.add(Kind.PUBLISHED, "P", "a", at=1)
    history.add(Kind.CONFIRMED, "P", "a", at=2)

    assert findings(history) == {}


def test_a_repeat_told_before_the_first_delivery_is_read_after_it():
    history = history_of("P published a\nP was-confirmed a\nA did a")
    history.add(Kind.DELIVERED, "B", "a", redelivered=True, at=7)
    history.add(Kind.DELIVERED, "A", "a", at=6)

    assert findings(history, [*FAULTS, *FACTS]) == {"duplicated": ["a"]}
