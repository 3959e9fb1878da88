"""What the tests of the core as a library share: queues, faults, workers in a thread, and a look at the broker."""

import contextlib
import dataclasses
import itertools
import threading
import uuid

import pika
import pytest

from workqueue import Producer, Queue, Worker
from workqueue.guarantee.waiting import PATIENCE, claim
from workqueue.wire.proxy import Proxy

RETRIES = 100


@pytest.fixture
def url(workqueue_broker):
    return workqueue_broker.url


class Aside:
    """A plain client beside the core: what the broker has, and what only others would publish."""

    def __init__(self, url):
        self._url = url

    @contextlib.contextmanager
    def channel(self):
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(self._url))) as connection:
            yield connection.channel()

    def declared(self, queue):
        """What a passive declaration tells: how many messages are ready, how many consumers there are."""
        with self.channel() as channel:
            return channel.queue_declare(name_of(queue), passive=True).method

    def ready(self, queue):
        return self.declared(queue).message_count

    def consumers(self, queue):
        return self.declared(queue).consumer_count

    def delete(self, queue):
        with self.channel() as channel:
            channel.queue_delete(name_of(queue))

    def publish(self, queue, body, properties=None):
        with self.channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish("", name_of(queue), body, properties, mandatory=True)

    def take(self, queue, count):
        """Take out so many messages, which have to be all that there are."""
        taken = []
        with self.channel() as channel:
            for method, properties, body in channel.consume(name_of(queue), inactivity_timeout=PATIENCE):
                assert method is not None, f"{count} messages were to come, {len(taken)} did"
                channel.basic_ack(method.delivery_tag)
                taken.append(Taken(body, method.redelivered, properties))
                if len(taken) == count:
                    break
            more = channel.cancel()
            channel.queue_declare(name_of(queue), passive=True)  # acks right before the end may be lost
        assert more + self.ready(queue) == 0, f"there are more messages than {count}"
        return taken


@dataclasses.dataclass(frozen=True)
class Taken:
    body: bytes
    redelivered: bool
    properties: pika.BasicProperties


@pytest.fixture
def aside(url):
    return Aside(url)


@pytest.fixture
def new_queue(aside):
    """Makes queues, which are gone at the end. Their dead letters go to a classic queue, unless told otherwise."""
    made = []

    def make(kind, **arguments):
        name = f"acceptance-{uuid.uuid4().hex}"
        queue = Queue(name, kind, **{"dead_letter": Queue(f"{name}.dead", "classic")} | arguments)
        made.append(queue)
        return queue

    yield make
    for queue in made:
        for each in queue.with_dead_letters():
            aside.delete(each)


@pytest.fixture(params=["classic", "quorum"])
def queue(request, new_queue):
    """A queue of either type whose dead letters are kept."""
    return new_queue(request.param)


@pytest.fixture
def producer(url):
    with Producer(url) as producer:
        yield producer


@pytest.fixture
def wait_so_long():
    """Has a producer wait so many seconds from now on, on the connection that it has.

    Until then it has had the time that a busy machine needs for what has to succeed.
    """

    def wait(producer, seconds):
        producer._session._timeout = seconds
        producer._session.link.call_soon(producer._session._watch_deadlines)  # else that waits for those of before

    return wait


@pytest.fixture
def wire(url):
    """A way to the broker that can fall silent, lose what passes, and be cut."""
    with Proxy.to(url) as proxy:
        yield proxy


class Running:
    """A worker in a thread: what it told, what its handler was called with, and how it ended."""

    def __init__(self, url, queue, handler, **options):
        self.events = []
        self.started = []
        self.error = None

        def handle(message):
            self.started.append(message)
            return handler(message)

        self.worker = Worker(url, queue, handle, observer=self.events.append, **options)
        self._thread = threading.Thread(target=self._run, name="running", daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self.worker.run()
        except BaseException as error:  # noqa: BLE001 - also SystemExit, which a thread would swallow
            self.error = error

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def bodies(self):
        """What the handler was called with, in order."""
        return [message.body for message in self.started]

    @property
    def waiting(self):
        """How many tasks it has here that are not started."""
        return self.worker._inbox.qsize()

    @property
    def ended(self):
        return not self._thread.is_alive()

    def wait(self):
        """Wait until run has returned or raised; return what it raised."""
        self._thread.join(PATIENCE)
        assert self.ended, f"{self.worker!r} still runs"
        return self.error

    def stop(self):
        self.worker.stop()
        return self.wait()

    def until(self, kind, count=1):
        """Wait until it has told so many events of a kind; return them."""
        return claim(f"the worker tells of {kind.__name__}", lambda: self.told(kind)[count - 1 :] and self.told(kind))


@pytest.fixture
def work():
    """Starts workers in threads; those that still run at the end are stopped."""
    with contextlib.ExitStack() as ends:

        def start(url, queue, handler=lambda _: None, **options):
            running = Running(url, queue, handler, **options)
            ends.callback(running.wait)
            ends.callback(running.worker.stop)
            return running

        yield start


class Sending:
    """Sends one numbered task after the other, in a thread, until it is told to end; knows which are confirmed."""

    def __init__(self, producer, queue):
        self.confirmed = []
        self.error = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[producer, queue])
        self._thread.start()

    def _run(self, producer, queue):
        try:
            for number in itertools.count():
                if self._ending.is_set():
                    return
                producer.send(queue, b"%d" % number, retry=RETRIES)
                self.confirmed.append(b"%d" % number)
        except Exception as error:  # noqa: BLE001 - it is for the test to look at
            self.error = error

    def goes_on(self):
        """Wait until more is confirmed than there is now."""
        count = len(self.confirmed)
        claim("more is sent", lambda: self.error or len(self.confirmed) > count + 10)
        assert self.error is None

    def end(self):
        self._ending.set()
        self._thread.join(60)
        return self.error


@pytest.fixture
def send():
    """Starts to send through a producer; ended with the test."""
    with contextlib.ExitStack() as ends:

        def start(producer, queue):
            sending = Sending(producer, queue)
            ends.callback(sending.end)
            return sending

        yield start


class Gate:
    """A handler that holds each task until it is let through, by its body or with all others."""

    def __init__(self):
        self._changed = threading.Condition()
        self._open = set()
        self._all = False

    def __call__(self, message):
        with self._changed:
            assert self._changed.wait_for(lambda: self._all or message.body in self._open, PATIENCE), message

    def open(self, *bodies):
        """Let these through, or everything."""
        with self._changed:
            self._open |= set(bodies)
            self._all = self._all or not bodies
            self._changed.notify_all()


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()


class Turns:
    """A handler that holds each call until it is that call's turn to return."""

    def __init__(self):
        self._turns = threading.Semaphore(0)

    def __call__(self, message):
        assert self._turns.acquire(timeout=PATIENCE), message

    def next(self, count=1):
        self._turns.release(count)


@pytest.fixture
def turns():
    turns = Turns()
    yield turns
    turns.next(1000)


def name_of(queue):
    return queue.name if isinstance(queue, Queue) else queue
