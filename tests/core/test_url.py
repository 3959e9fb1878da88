"""A broker URL is shown without its password, whatever is wrong with it."""

import functools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workqueue import InvalidURL, Producer, Queue, Worker
from workqueue._url import check_url, safe_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://localhost", "amqp://localhost"),
        ("amqp://guest:guest@localhost:5672/%2F", "amqp://guest:***@localhost:5672/%2F"),
        ("amqps://me:s%2Fcret@[::1]:5671/vhost", "amqps://me:***@[::1]:5671/vhost"),
        ("amqp://me:secret@h/v?ssl_options={'password':'secret'}", "amqp://me:***@h/v"),
        ("amqp://me:sec/ret@h/v", "<unreadable URL>"),
        ("amqp://me:sec#ret@h/v", "<unreadable URL>"),
        ("http://me:secret@h/v", "<unreadable URL>"),
        ("me:secret@h", "<unreadable URL>"),
        ("amqp://[secret", "<unreadable URL>"),
    ],
)
def test_a_url_is_shown_without_password_and_query(url, shown):
    assert safe_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:5672",
        "http://h",
        "amqp:/h",
        "amqp://",
        "amqp://:5672",
        "amqp://h:0",
        "amqp://h:65536",
        "amqp://h:port",
        "amqp://me@h",
        "amqp://h/a/b",
        "amqp://me:s/ecret@h/",
        "amqp://me:s?ecret@h/",
        "amqp://me:s#ecret@h/",
        "amqp://me:s@ecret@h/",
        "amqp://me:s[ecret@h/",
        "amqp://me:s\N{CARE OF}ecret@h/",  # which urllib takes for c/o
        "amqp://me:1/ecret@h/",
        "amqp://me:1?ecret@h/",
        "amqp://me:secret@[ecret]/",
        "amqp://me:secret@h/#x",
        "amqp://h/" + "x" * 256,
        "amqp://h/" + "%C3%A9" * 128,
    ],
)
def test_what_is_no_broker_url_is_refused_and_not_repeated(url):
    with pytest.raises(InvalidURL, match="not a broker URL like amqp://") as caught:
        check_url(url)

    assert "ecret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "amqp://h",
        "amqp://h:/",
        "AMQPS://h/",
        "amqp://me:@h",
        "amqp://me:a:b@h:65535/%2F?heartbeat=5",
        "amqp://h/" + "%C3%A9" * 127,
    ],
)
def test_what_is_a_broker_url_is_taken(url):
    check_url(url)


@given(password=st.text(st.characters(codec="utf-8"), min_size=1).map(lambda tail: "hunter2" + tail + "hunter2"))
def test_no_password_gets_out_however_badly_it_is_escaped(password):
    url = f"amqp://me:{password}@rabbit:5672/%2F"

    assert "hunter2" not in safe_url(url)
    try:
        assert "hunter2" not in repr(Producer(url))
        assert "hunter2" not in repr(Worker(url, "task_queue", print))
    except InvalidURL as error:
        assert "hunter2" not in str(error)  # noqa: PT017
        assert error.__context__ is None  # noqa: PT017


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"window": 0}, r"window \(0\) is 1 or more"),
        ({"confirm_timeout": 0}, r"confirm_timeout \(0\) more than 0 seconds"),
        ({"confirm_timeout": math.nan}, r"confirm_timeout \(nan\) more"),
        ({"confirm_timeout": math.inf}, r"confirm_timeout \(inf\) more"),
    ],
)
def test_a_producer_refuses_what_makes_no_sense(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        Producer("amqp://localhost", **arguments)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"queue": ""}, "1 to 255 bytes"),
        ({"queue": "é" * 128}, "has 256"),
        ({"prefetch": 0}, r"concurrency \(1\) is 1 or more, and prefetch \(0\) from there to 65535"),
        ({"prefetch": 65536}, r"concurrency \(1\) is 1 or more, and prefetch \(65536\) from there to 65535"),
        ({"concurrency": 4, "prefetch": 3}, r"concurrency \(4\) is 1 or more, and prefetch \(3\) from there to 65535"),
        ({"concurrency": 65536}, r"concurrency \(65536\) is 1 or more, and prefetch \(65536\) from there to 65535"),
        ({"concurrency": 0}, r"concurrency \(0\) is 1 or more"),
        ({"shutdown_timeout": -1}, "a number of seconds from 0 on, not -1"),
        ({"shutdown_timeout": math.nan}, "a number of seconds from 0 on, not nan"),
        ({"shutdown_timeout": math.inf}, "a number of seconds from 0 on, not inf"),
        ({"max_attempts": 3}, r"max_attempts \(3\) is 1 or more, and needs a Queue with a dead_letter"),
        (
            {"max_attempts": 3, "queue": Queue("q")},
            r"max_attempts \(3\) is 1 or more, and needs a Queue with a dead_letter",
        ),
        ({"max_attempts": 0, "queue": Queue("q", dead_letter="graveyard")}, r"max_attempts \(0\) is 1 or more"),
    ],
)
def test_a_worker_refuses_what_makes_no_sense(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        Worker(**{"url": "amqp://localhost", "queue": "task_queue", "handler": print} | arguments)


class Async:
    async def __call__(self, message): ...


def generator(message):
    yield


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (None, "None is not callable"),
        (Async().__call__, "is an async function or a generator"),
        (Async(), "is an async function or a generator"),
        (functools.partial(Async().__call__), "is an async function or a generator"),
        (generator, "is an async function or a generator"),
    ],
)
def test_a_worker_refuses_a_handler_that_would_do_nothing(handler, problem):
    with pytest.raises(TypeError, match=problem):
        Worker("amqp://localhost", "task_queue", handler)


@pytest.mark.parametrize("queue", [None, 5, b"task_queue"])
def test_what_is_neither_a_queue_nor_a_name_is_refused(queue):
    with pytest.raises(AttributeError, match=f"'{type(queue).__name__}' object has no attribute 'encode'"):
        Worker("amqp://localhost", queue, print)
    with pytest.raises(AttributeError, match=f"'{type(queue).__name__}' object has no attribute 'encode'"):
        Producer("amqp://localhost").send(queue, b"")
    with pytest.raises(AttributeError, match=f"'{type(queue).__name__}' object has no attribute 'encode'"):
        Queue(queue)


@pytest.mark.parametrize(
    "arguments",
    [
        {"prefetch": 1},
        {"prefetch": 65535},
        {"concurrency": 4},
        {"concurrency": 4, "prefetch": 4},
        {"queue": Queue("q", dead_letter="graveyard"), "max_attempts": 1},
    ],
)
def test_a_worker_takes_what_does(arguments):
    Worker(**{"url": "amqp://localhost", "queue": "task_queue", "handler": print} | arguments)


def test_what_has_not_connected_says_so():
    assert repr(Producer("amqp://localhost")) == "<Producer amqp://localhost not connected>"
    worker = Worker("amqp://localhost", "task_queue", print)
    assert repr(worker) == f"<Worker 'task_queue' at amqp://localhost {worker.health}>"
    assert not worker.health.connected
