"""Versions and expectations: no text is too odd, and ranges mean what they mean to people."""

from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from workqueue.guarantee.expectation import QUEUE_TYPES, BrokenOn, expected, parse_version
from workqueue.guarantee.sources import release_note
from workqueue.guarantee.verdict import Verdict

NOTE = release_note("4.0.0")
releases = st.tuples(st.integers(3, 5), st.integers(0, 13), st.integers(0, 30))
# What packagers, builds and distributions are known to append, and what they might.
appendices = st.from_regex(
    r"(\+dfsg[0-9]?|-[0-9]{1,2}-g[0-9a-f]{7}|~bpo[0-9]{2}\+[0-9]|-alpha-build\.x|)", fullmatch=True
)


def dotted(release):
    return ".".join(map(str, release))


@given(releases, appendices)
def test_whatever_is_appended_the_release_is_found(release, appendix):
    assert parse_version(f" {dotted(release)}{appendix}\n").release == release


@given(st.text())
def test_any_text_is_a_version_or_is_refused_and_quoted(text):
    try:
        version = parse_version(text)
    except ValueError as error:
        assert "names no version" in str(error)  # noqa: PT017
        assert repr(text) in str(error)  # noqa: PT017
    else:
        assert str(version.major) in text or any(not each.isascii() for each in text)


@given(st.sampled_from(QUEUE_TYPES), st.sampled_from(QUEUE_TYPES), releases, releases, releases)
def test_a_range_is_broken_from_its_first_release_up_to_the_one_that_mended_it(mine, theirs, release, first, mended):
    rule = BrokenOn(theirs, f">={dotted(first)},<{dotted(mended)}", "it is lost", NOTE)

    verdict, said_by = expected([rule], mine, dotted(release), {})

    assert (verdict is Verdict.BROKEN) == (mine == theirs and first <= release < mended)
    assert said_by is (rule if verdict is Verdict.BROKEN else None)


@given(releases, st.integers(1, 9))
def test_a_candidate_of_a_release_is_before_it_and_after_the_one_before(release, number):
    candidate = f"{dotted(release)}-rc.{number}"
    *most, patch = release
    before = Version(dotted((*most, patch)))

    since = BrokenOn("quorum", f">={before}", "it is lost", NOTE)
    all_ = BrokenOn("quorum", "", "it is lost", NOTE)

    assert expected([since], "quorum", candidate, {})[0] is Verdict.HOLDS
    assert expected([all_], "quorum", candidate, {})[0] is Verdict.BROKEN


facts = st.dictionaries(st.sampled_from("abc"), st.sampled_from(("true", "false")))


@given(facts, facts)
def test_a_rule_with_configuration_needs_every_fact_of_it(needed, there):
    rule = BrokenOn("classic", "", "it is lost", NOTE, needed)

    assert (expected([rule], "classic", "4.0.5", there)[0] is Verdict.BROKEN) == (needed.items() <= there.items())


@given(
    st.lists(
        st.builds(BrokenOn, st.sampled_from(QUEUE_TYPES), st.sampled_from(["", "<4", ">=4"]), st.text(), st.just(NOTE))
    )
)
def test_of_several_rules_the_first_that_covers_it_is_told(rules):
    covering = [rule for rule in rules if rule.queue_type == "classic" and rule.versions in ("", ">=4")]

    verdict, said_by = expected(rules, "classic", "4.0.5", {})

    assert said_by is (covering[0] if covering else None)
    assert verdict is (Verdict.BROKEN if covering else Verdict.HOLDS)
