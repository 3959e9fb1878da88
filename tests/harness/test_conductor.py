"""The conductor: how a run is split, and what becomes of a process that does not do what it should."""

import pytest

from workqueue.guarantee import conductor
from workqueue.guarantee.catalogue import Guarantee
from workqueue.guarantee.sources import Source

SOURCE = Source("a page", "https://example.org")
BOTH = Guarantee("a.both", "For both.", SOURCE)
QUORUM = Guarantee("a.quorum", "For one.", SOURCE, queue_types=("quorum",))


def test_each_broker_and_queue_type_is_a_group_of_its_own():
    groups = conductor.plan({"one": "one", "two": "two"}, ["classic", "quorum"], [BOTH, QUORUM])

    assert [(group.name, group.planned) for group in groups] == [
        ("one classic", [("a.both", "classic")]),
        ("one quorum", [("a.both", "quorum"), ("a.quorum", "quorum")]),
        ("two classic", [("a.both", "classic")]),
        ("two quorum", [("a.both", "quorum"), ("a.quorum", "quorum")]),
    ]


def test_queue_types_share_a_broker_that_is_restarted_by_its_command():
    [group] = conductor.plan({"a url": "amqp://…"}, ["classic", "quorum"], [BOTH, QUORUM], shared=["a url"])

    assert group.name == "a url classic+quorum"
    assert len(group.planned) == 3


def test_a_group_without_anything_to_do_is_none():
    assert conductor.plan({"one": "one"}, ["classic"], [QUORUM]) == []


def conduct(tmp_path, monkeypatch, content):
    """Run one group on a folder of specs with this content."""
    (tmp_path / "test_specs.py").write_text(content)
    monkeypatch.setattr(conductor, "specs_folder", lambda: tmp_path)
    groups = conductor.plan({"amqp://127.0.0.1:1/": "amqp://127.0.0.1:1/"}, ["classic"], [BOTH])
    conductor.conduct(groups, jobs=1, restart_command=None, listener=lambda group, cell: None)
    return groups[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [("import os; os._exit(9)", "ended with status 9"), ("raise RuntimeError('out of luck')", "out of luck")],
)
def test_a_process_that_crashes_leaves_its_cells_missing_and_says_why(tmp_path, monkeypatch, content, why):
    group = conduct(tmp_path, monkeypatch, content)

    assert group.missing() == [("a.both", "classic")]
    assert why in group.failure


def test_a_process_that_is_stuck_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(conductor, "_STALLED", 1.0)
    group = conduct(tmp_path, monkeypatch, "import threading\nthreading.Event().wait()")

    assert group.missing() == [("a.both", "classic")]
    assert "did nothing for 1 s" in group.failure


def test_no_broker_for_anybody_ends_the_run(tmp_path, monkeypatch):
    spec = (
        "from workqueue.guarantee.catalogue import guarantee\n"
        "from workqueue.guarantee.sources import Source\n"
        "@guarantee('a.both', 'For both.', source=Source('a page', 'https://example.org'))\n"
        "def test_both(workqueue_stage): pass\n"
    )
    with pytest.raises(conductor.NoBroker, match=r"127\.0\.0\.1:1.*cannot be reached"):
        conduct(tmp_path, monkeypatch, spec)
