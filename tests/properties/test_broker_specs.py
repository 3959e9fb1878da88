"""Broker specs and settings: whatever is written there is understood or refused, and nothing else happens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workqueue.broker import Source, resolve
from workqueue.broker.configuration import parse_answer, parse_settings
from workqueue.broker.errors import SpecError, Unavailable

SCHEMES = ("container", "local", "debian", "amqp", "amqps")
# "auto" alone looks for engines, and is a matter of the machine.
junk = st.one_of(
    st.text().filter(lambda text: text != "auto"),
    st.builds("{}:{}".format, st.sampled_from(SCHEMES), st.text()),
    st.builds("auto:{}".format, st.text()),
    st.builds("local:{}".format, st.text("~/.\0x")),
)


@given(junk)
def test_any_text_is_a_source_or_is_refused_in_words(spec):
    try:
        source = resolve(spec)
    except (SpecError, Unavailable) as error:
        assert str(error).strip()  # noqa: PT017
    else:
        assert isinstance(source, Source)
        assert source.spec


@pytest.mark.parametrize("spec", ["local:~nobody-of-this-name", "local:\0"])
def test_what_cannot_be_a_directory_is_refused(spec):
    with pytest.raises(SpecError, match="names no directory"):
        resolve(spec)


@given(st.text().filter(lambda text: text.partition(":")[0] not in (*SCHEMES, "auto")))
def test_what_no_provider_is_named_like_is_refused_with_what_there_is(spec):
    with pytest.raises(SpecError, match=r"is no broker spec: use auto, container\[:IMAGE\], local"):
        resolve(spec)


@given(st.text("0123456789abcdefghijklmnopqrstuvwxyz./-:", min_size=1))
def test_an_image_is_taken_as_it_is_written(image):
    assert resolve(f"container:{image}").spec == f"container:{image}"


keys = st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True)
values = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1).filter(
    lambda text: text == text.strip()
)
blanks = st.text(" \t", max_size=3)


@given(st.dictionaries(keys, values), blanks, blanks)
def test_settings_are_read_as_they_are_written(settings, before, after):
    lines = [f"{before}{key}{before}={after}{value}{after}" for key, value in settings.items()]

    assert parse_settings(lines) == settings


@given(keys, values, values)
def test_of_a_setting_that_is_given_twice_the_last_counts(key, first, second):
    assert parse_settings([f"{key}={first}", f"{key}={second}"]) == {key: second}


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_lines_are_settings_or_are_refused_and_quoted(lines):
    try:
        settings = parse_settings(lines)
    except SpecError as error:
        assert any(repr(line) in str(error) for line in lines)  # noqa: PT017
    else:
        assert settings.keys() == {line.partition("=")[0].strip() for line in lines}
        assert all(value and "\n" not in value for value in settings.values())


@given(st.text())
def test_any_answer_of_a_node_is_read_as_far_as_it_makes_sense(answer):
    assert all(key and value and value != "undefined" for key, value in parse_answer(answer).items())
