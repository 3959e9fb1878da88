"""Expectations: on which brokers a guarantee is known to be broken."""

import pytest

from workqueue.guarantee.expectation import BrokenOn, expected, parse_version
from workqueue.guarantee.sources import release_note
from workqueue.guarantee.verdict import Verdict

TIMEOUTS = (
    BrokenOn("classic", ">=3.8.15,<4.3", "it times out", release_note("3.8.15")),
    BrokenOn("quorum", ">=3.8.15", "it times out", release_note("3.8.15")),
)


@pytest.mark.parametrize(
    ("queue_type", "version", "verdict"),
    [
        ("classic", "3.8.9", Verdict.HOLDS),
        ("classic", "3.8.15", Verdict.BROKEN),
        ("classic", "4.2.9", Verdict.BROKEN),
        ("classic", "4.3.0", Verdict.HOLDS),
        ("quorum", "3.8.14", Verdict.HOLDS),
        ("quorum", "4.3.6", Verdict.BROKEN),
        ("quorum", "5.0.0-rc.1", Verdict.BROKEN),
    ],
)
def test_what_to_expect_depends_on_version_and_queue_type(queue_type, version, verdict):
    assert expected(TIMEOUTS, queue_type, version, {})[0] is verdict


def test_nothing_said_means_that_it_holds():
    assert expected((), "classic", "4.0.5", {}) == (Verdict.HOLDS, None)


def test_the_exception_that_decided_is_told():
    assert expected(TIMEOUTS, "quorum", "4.0.5", {})[1] is TIMEOUTS[1]


def test_configuration_can_decide():
    rule = BrokenOn("classic", "", "denied", release_note("4.3.0"), {"permit.transient_nonexcl_queues": "false"})

    assert expected([rule], "classic", "4.3.6", {"permit.transient_nonexcl_queues": "false"})[0] is Verdict.BROKEN
    assert expected([rule], "classic", "4.3.6", {"permit.transient_nonexcl_queues": "true"})[0] is Verdict.HOLDS
    assert expected([rule], "classic", "4.3.6", {})[0] is Verdict.HOLDS


@pytest.mark.parametrize(
    ("text", "version"),
    [("4.0.5", "4.0.5"), ("4.3.6+dfsg~1", "4.3.6"), ("4.1.0-rc.1-12-gabcdef", "4.1.0rc1"), (" 3.8.9 ", "3.8.9")],
)
def test_packagers_additions_to_a_version_do_not_matter(text, version):
    assert str(parse_version(text)).partition("+")[0].startswith(version)


@pytest.mark.parametrize("text", ["unknown", "", "  ", "-", "four.three", "+4.3.6", "v~x"])
def test_a_broker_without_a_version_is_refused(text):
    with pytest.raises(ValueError, match="names no version") as refusal:
        parse_version(text)

    assert repr(text) in str(refusal.value)


def test_a_rule_for_an_unknown_queue_type_is_refused():
    with pytest.raises(ValueError, match="unknown queue type 'stream'; known: classic, quorum"):
        BrokenOn("stream", "", "", release_note("4.0.0"))


@pytest.mark.parametrize("versions", ["4.3", "before 4.3", ">=", ">=4.3 <5"])
def test_a_rule_whose_versions_mean_nothing_is_refused(versions):
    with pytest.raises(ValueError, match="specifier"):
        BrokenOn("quorum", versions, "", release_note("4.0.0"))


def test_a_rule_without_versions_is_of_all_of_them_and_needs_no_configuration():
    rule = BrokenOn("quorum", "", "it is lost", release_note("4.0.0"))

    assert rule.configured == {}
    assert expected([rule], "quorum", "3.8.9", {"heartbeat": "10"}) == (Verdict.BROKEN, rule)
    assert expected([rule], "quorum", "5.0.0-rc.1", {}) == (Verdict.BROKEN, rule)
