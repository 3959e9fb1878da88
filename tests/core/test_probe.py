"""What an orchestrator and a scraper get over HTTP."""

import http.client
import json
import socket
import urllib.error
import urllib.request

import pytest

from workqueue.events import Health
from workqueue.observe.probe import Probe

FINE = Health(connected=True, consuming=True, blocked=False, draining=False)


def get(url, **headers):
    """Status, content type and body."""
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers["Content-Type"], answer.read()


@pytest.mark.parametrize(
    ("health", "status"),
    [
        (FINE, 200),
        (Health(connected=True, consuming=True, blocked=True, draining=False), 200),
        (Health(connected=True, consuming=False, blocked=False, draining=True), 200),
        (Health(connected=False, consuming=False, blocked=False, draining=True), 200),
        (Health(connected=True, consuming=False, blocked=False, draining=False), 503),
        (Health(connected=False, consuming=False, blocked=False, draining=False), 503),
    ],
)
def test_a_worker_is_fine_while_it_consumes_or_drains(health, status):
    with Probe(0, lambda: health) as probe:
        found, kind, body = get(f"{probe.address}/health")

    assert (found, kind) == (status, "application/json")
    assert json.loads(body) == {
        "connected": health.connected,
        "consuming": health.consuming,
        "blocked": health.blocked,
        "draining": health.draining,
    }


def test_metrics_are_served_if_there_are_any():
    asked = []

    def exposition(accept):
        asked.append(accept)
        return b"workqueue_connected 1\n", "text/plain; version=0.0.4"

    with Probe(0, lambda: FINE, exposition) as probe:
        assert get(f"{probe.address}/metrics", Accept="text/plain") == (
            200,
            "text/plain; version=0.0.4",
            b"workqueue_connected 1\n",
        )
    assert asked == ["text/plain"]

    with Probe(0, lambda: FINE) as probe:
        assert get(f"{probe.address}/metrics")[0] == 404


def test_head_has_no_body():
    with Probe(0, lambda: FINE) as probe:
        connection = http.client.HTTPConnection(probe.address.removeprefix("http://"), timeout=10)
        connection.request("HEAD", "/health")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 0
        connection.close()


def test_what_is_not_there_is_told():
    with Probe(0, lambda: FINE) as probe:
        status, _, body = get(f"{probe.address}/")

    assert status == 404
    assert b"/health" in body


def test_it_listens_at_loopback_unless_told_otherwise():
    with Probe(0, lambda: FINE) as probe:
        assert probe.address.startswith("http://127.0.0.1:")


def test_it_listens_at_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with Probe(0, lambda: FINE, host="::1") as probe:
        assert probe.address.startswith("http://[::1]:")
        assert get(f"{probe.address}/health")[0] == 200


def test_a_port_that_is_taken_is_an_error_and_free_again_after_close():
    with Probe(0, lambda: FINE) as probe:
        port = int(probe.address.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            Probe(port, lambda: FINE)

    with Probe(port, lambda: FINE) as again:
        assert get(f"{again.address}/health")[0] == 200
