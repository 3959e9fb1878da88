"""A URL in a variable: whole for who uses it, without its password for who looks at it."""

from workqueue.broker.external import ExternalBroker
from workqueue.broker.hidden import HiddenURL, hidden, shown

URL = "amqp://user:secret@127.0.0.1:5672/vhost"


def test_it_is_the_url_that_it_hides():
    url = hidden(URL)

    assert url == URL
    assert str(url) == f"{url}" == URL
    assert type(str(url)) is str
    assert {URL: 1}[url] == 1


def test_its_password_is_in_no_repr():
    url = HiddenURL(URL)

    assert repr(url) == "'amqp://user:***@127.0.0.1:5672/vhost'"
    assert "secret" not in repr([url, {"URL": url}])
    assert repr(HiddenURL("amqp://user:sec/ret@127.0.0.1")) == "'<unreadable URL>'"


def test_a_broker_has_no_other():
    broker = ExternalBroker(URL, shown(URL), {}, None)

    assert broker.url == URL
    assert "secret" not in repr(broker.url)


def test_what_is_no_url_is_shown_as_it_is():
    for spec in ("auto", "container:rabbitmq@sha256:0123", "debian:forky", "local:/opt/rabbitmq"):
        assert shown(spec) == hidden(spec) == spec
        assert repr(hidden(spec)) == repr(spec)
    assert shown("amqp:/user:secret@127.0.0.1") == "<unreadable URL>"
