"""Broker URLs: what is well-formed is understood, and no password is shown whatever it is in."""

import contextlib
from urllib.parse import quote, unquote, urlsplit

import pika
from hypothesis import given
from hypothesis import strategies as st

from workqueue import InvalidURL, Producer
from workqueue._url import check_url, safe_url
from workqueue.broker import resolve
from workqueue.broker.errors import BrokerError

anything = st.text(st.characters(codec="utf-8"), max_size=30)
hosts = st.one_of(
    st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9](\.[a-z]{2,5})?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address.compressed}]"),
)
# What nobody else's text contains, so that it can be searched for.
secrets = st.tuples(anything, anything).map(lambda sides: f"{sides[0]}hunter2{sides[1]}")


@st.composite
def urls(draw):
    """A well-formed URL and its parts."""
    parts = {
        "scheme": draw(st.sampled_from(["amqp", "amqps"])),
        "user": draw(st.one_of(st.none(), anything.filter(bool))),
        "password": draw(secrets),
        "host": draw(hosts),
        "port": draw(st.one_of(st.none(), st.integers(1, 65535))),
        "vhost": draw(st.one_of(st.none(), anything.filter(lambda text: 0 < len(text.encode()) < 256))),
    }
    user = "" if parts["user"] is None else f"{quote(parts['user'], safe='')}:{quote(parts['password'], safe='')}@"
    port = "" if parts["port"] is None else f":{parts['port']}"
    vhost = "" if parts["vhost"] is None else "/" + quote(parts["vhost"], safe="")
    return f"{parts['scheme']}://{user}{parts['host']}{port}{vhost}", parts


@given(urls())
def test_a_well_formed_url_is_accepted_and_means_to_pika_what_was_put_in(drawn):
    url, parts = drawn

    check_url(url)

    read = pika.URLParameters(url)
    assert read.host == parts["host"].strip("[]")
    assert parts["port"] in (None, read.port)
    assert parts["vhost"] in (None, read.virtual_host)
    if parts["user"] is not None:
        assert (read.credentials.username, read.credentials.password) == (parts["user"], parts["password"])


@given(urls())
def test_as_it_is_shown_it_is_the_same_but_for_the_password(drawn):
    url, parts = drawn

    shown = urlsplit(safe_url(url))

    assert shown.scheme == parts["scheme"]
    assert shown.hostname == parts["host"].strip("[]")
    assert shown.port == parts["port"]
    assert shown.username is None if parts["user"] is None else unquote(shown.username) == parts["user"]
    assert shown.password == (None if parts["user"] is None else "***")
    assert unquote(shown.path[1:]) == (parts["vhost"] or "")


@given(urls())
def test_what_is_shown_is_a_url_and_is_shown_as_it_is(drawn):
    shown = safe_url(drawn[0])

    check_url(shown)
    assert safe_url(shown) == shown


@given(urls(), anything)
def test_a_query_which_may_hold_a_secret_is_not_shown(drawn, query):
    url = f"{drawn[0]}?password=hunter2{quote(query, safe='')}"

    assert safe_url(url) == safe_url(drawn[0])


@given(
    scheme=st.sampled_from(["amqp", "amqps", "AMQP", "ampq", "http", "container", "debian", "local", ""]),
    user=anything.filter(lambda text: "hunter2" not in text),
    password=secrets,
    rest=anything.filter(lambda text: "hunter2" not in text),
    slashes=st.sampled_from(["://", ":/", ":", "//", ""]),
)
def test_no_password_gets_out_however_it_is_written(scheme, user, password, rest, slashes):
    """Nothing is escaped here. That ``user:password@`` is what it looks like is all that can be known of it."""
    url = f"{scheme}{slashes}{user}:{password}@{rest}"

    assert "hunter2" not in safe_url(url)
    for use in (check_url, Producer):
        try:
            use(url)
        except InvalidURL as error:
            assert "hunter2" not in str(error)  # noqa: PT017
            assert error.__context__ is None  # noqa: PT017
    if scheme.startswith(("amqp", "AMQP", "ampq", "http")):
        try:
            source = resolve(url)
        except BrokerError as error:
            assert "hunter2" not in str(error)  # noqa: PT017
        else:
            assert "hunter2" not in source.spec


@given(st.text())
def test_any_text_is_a_url_or_is_refused(text):
    safe_url(text)
    with contextlib.suppress(InvalidURL):
        check_url(text)
