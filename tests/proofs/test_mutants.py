"""Each mutant of the core is caught: by the guarantee that it breaks, for the right reason, on a real broker."""

import inspect
import runpy
from pathlib import Path

import pytest

from workqueue.guarantee import catalogue, waiting
from workqueue.guarantee.across import Crossing, Scene
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.expectation import BrokenOn, expected
from workqueue.guarantee.mutants import MUTANTS
from workqueue.guarantee.sources import Source
from workqueue.guarantee.stage import Stage
from workqueue.guarantee.verdict import Verdict, judge

_TABLE = runpy.run_path(str(Path(__file__).with_name("mutant_proofs.py")))
PROOFS, ONLY_ON = _TABLE["PROOFS"], _TABLE["ONLY_ON"]
PAIRS = [(slug, killer, said) for slug, proofs in PROOFS.items() for killer, said in proofs.items()]

PATIENCE = 5.0  # seconds; a mutant is caught by what does not come


@pytest.fixture(scope="module")
def known():
    return catalogue.load()


def play(spec, entry, stage):
    """Run a spec on a stage; what it raised."""
    try:
        if entry.across is None:
            spec(**{name: getattr(stage, name) for name in inspect.signature(spec).parameters})
        else:
            scene = Scene(spec, stage)
            Crossing(entry.across, stage.broker, [scene]).happen()
            scene.finish()
    except Exception as error:  # noqa: BLE001 - judged like any other end
        return error
    finally:
        stage.close()
    return None


def is_on(versions, queue_type, about):
    """Whether a broker's version is one of these."""
    rule = BrokenOn(queue_type, versions, "", Source("", ""))
    return expected([rule], queue_type, about.version, about.configuration)[0] is Verdict.BROKEN


@pytest.mark.parametrize(("slug", "killer", "said"), PAIRS, ids=[f"{slug}-{killer}" for slug, killer, _ in PAIRS])
def test_a_mutant_is_caught(slug, killer, said, known, workqueue_broker, workqueue_queue_type, monkeypatch):
    entry, about = known[slug], workqueue_broker.about
    if workqueue_queue_type not in entry.queue_types:
        pytest.skip(f"{slug} does not speak of {workqueue_queue_type} queues")
    if expected(entry.broken_on, workqueue_queue_type, about.version, about.configuration)[0] is Verdict.BROKEN:
        pytest.skip(f"{slug} does not hold on {about.version} anyway")
    if not is_on(ONLY_ON.get(killer, ""), workqueue_queue_type, about):
        pytest.skip(f"{killer} is no mistake on {about.version}")
    monkeypatch.setattr(waiting, "PATIENCE", PATIENCE)
    stage = Stage(workqueue_broker, workqueue_queue_type, Evidence())
    stage.mutant = killer.removeprefix("mutant:")

    verdict, reason = judge(play(known.specs[slug], entry, stage), in_call=True)

    assert verdict is Verdict.BROKEN, reason or "the mutant survived"
    assert said in reason
    assert stage.core.mistakes > 0, "it was caught before it made its mistake"


def test_every_mutant_has_a_guarantee_that_catches_it():
    assert {killer.removeprefix("mutant:") for _, killer, _ in PAIRS} == set(MUTANTS)


def test_every_guarantee_of_the_core_has_a_mutant_that_breaks_it(known):
    assert {entry.slug for entry in known.values() if entry.chapter == "core"} <= set(PROOFS)


def test_a_mutant_that_does_not_exist_is_an_error(workqueue_broker):
    stage = Stage(workqueue_broker, "classic", Evidence())
    stage.mutant = "no-such-mistake"

    with pytest.raises(ValueError, match="no mutant 'no-such-mistake'; there are: auto-ack"):
        stage.start("worker")
