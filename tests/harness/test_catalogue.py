"""The catalogue: slugs that never change, and entries that make sense."""

import inspect

import pytest

from workqueue.guarantee import catalogue
from workqueue.guarantee.catalogue import Catalogue, Guarantee, guarantee, hazard
from workqueue.guarantee.expectation import BrokenOn
from workqueue.guarantee.sources import Source, release_note

SOURCE = Source("a page", "https://example.org")


@pytest.mark.parametrize("slug", ["round-robin", "Dispatch.round-robin", "dispatch.", "dispatch.a b", "a.b.c", "a.-b"])
def test_a_slug_is_chapter_dot_claim(slug):
    with pytest.raises(ValueError, match="not of the form"):
        Guarantee(slug, "text", SOURCE)


def test_a_slug_is_used_once():
    entry = Guarantee("a.b", "text", SOURCE)
    with pytest.raises(ValueError, match="used twice"):
        Catalogue([entry, entry])


def test_a_counter_example_must_exist():
    with pytest.raises(ValueError, match=r"no hazard 'a\.gone'"):
        Catalogue([Guarantee("a.b", "text", SOURCE, counter_example="a.gone")])


def test_an_expectation_for_a_queue_type_that_is_not_run_is_refused():
    rule = BrokenOn("quorum", "", "", release_note("4.0.0"))
    with pytest.raises(ValueError, match="does not run there"):
        Guarantee("a.b", "text", SOURCE, queue_types=("classic",), broken_on=(rule,))


def test_across_needs_a_yield():
    with pytest.raises(TypeError, match="needs a yield"):
        guarantee("a.b", "text", source=SOURCE, across="kill")(lambda queue: None)


def test_pytest_does_not_see_the_parameters_of_a_spec_that_crosses_a_restart():
    @guarantee("a.b", "text", source=SOURCE, across="kill")
    def spec(queue, publish):
        yield

    assert list(inspect.signature(spec).parameters) == ["workqueue_across"]
    assert catalogue.of(spec).needs == ("kill",)


def test_a_hazard_is_an_entry_of_its_own_kind():
    @hazard("a.b", "text", source=SOURCE)
    def spec():
        pass

    assert catalogue.of(spec).kind == "hazard"


def test_the_specs_of_this_project_make_a_catalogue():
    entries = catalogue.load()

    of_the_tutorial = ("tasks", "dispatch", "acknowledgement", "durability", "fair-dispatch", "queue-size")
    assert entries.chapters[:6] == of_the_tutorial
    for entry in entries.values():
        assert entry.text.endswith((".", ".)", "work.")), entry.slug
        assert entry.source.url.startswith(("https://", "README.md#")), entry.slug
        if entry.counter_example is not None:
            assert entries[entry.counter_example].hazard, f"{entry.slug}: its counter-example is no hazard"
