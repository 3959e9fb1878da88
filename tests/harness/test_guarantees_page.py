"""GUARANTEES.md, and what was measured: both agree with the catalogue."""

import re
from pathlib import Path

from workqueue.guarantee import catalogue
from workqueue.guarantee.expectation import expected
from workqueue.guarantee.spec_source import spec_source
from workqueue.report import explanation, measured, page

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date():
    made = page.page(catalogue.load(), measured.load())
    assert (ROOT / "GUARANTEES.md").read_text(encoding="utf-8") == made, (
        "run: workqueue guarantees --markdown > GUARANTEES.md"
    )


def test_its_links_lead_to_its_headings():
    text = (ROOT / "GUARANTEES.md").read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_what_was_measured_is_what_is_expected():
    kept = measured.load()
    surprises = []
    for entry in catalogue.load().values():
        for queue_type in entry.queue_types:
            for broker, verdict in kept.of(entry.slug, queue_type).items():
                about = kept.brokers[broker]
                wanted, _ = expected(entry.broken_on, queue_type, about["version"], about["configuration"])
                if verdict in ("holds", "broken") and verdict != wanted:
                    surprises.append((entry.slug, queue_type, broker, verdict))
    assert surprises == []


def test_every_guarantee_can_be_explained_with_its_spec():
    known, kept = catalogue.load(), measured.load()
    for entry in known.values():
        text = explanation.explain(entry, known, kept, 100)
        assert entry.source.url in text
        assert f"def {known.specs[entry.slug].__name__}" in text


def test_a_spec_is_shown_without_decorators_and_with_its_helpers():
    known = catalogue.load()
    spec = spec_source(known.specs["durability.redeclare-other-type-refused"])

    assert spec.code.startswith("def test_redeclaring_with_another_type_is_refused(stage, queue):")
    assert "def _is_refused_and_harms_nothing(stage, queue, argument" in spec.code
