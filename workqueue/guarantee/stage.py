"""The stage on which a spec plays: one broker, one queue type, and everything that the spec brings on.

Each spec has its own; what it declared and started is gone when the spec ends.
"""

import contextlib
import secrets
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import pika
import pika.adapters.blocking_connection as blocking
from pika.exceptions import AMQPConnectionError, AMQPError, ChannelClosedByBroker, UnroutableError

from workqueue.broker import Broker, Capability
from workqueue.broker.hidden import HiddenURL
from workqueue.guarantee.actor import Options
from workqueue.guarantee.clients import Client
from workqueue.guarantee.connections import Connection
from workqueue.guarantee.core_programs import Core
from workqueue.guarantee.deadline import answered_in_time
from workqueue.guarantee.doomed import Doomed
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.history import History, Kind
from workqueue.guarantee.operator import Operator
from workqueue.guarantee.producers import Declarer, Producer
from workqueue.guarantee.programs import Program
from workqueue.guarantee.queues import Queue
from workqueue.guarantee.verdict import NotApplicable, Unknown
from workqueue.guarantee.workers import Worker
from workqueue.warden import get_warden
from workqueue.wire.proxy import Proxy


class Stage:
    """What a spec has to work with. The parameters of a spec are the names of what is public here."""

    def __init__(
        self,
        broker: Broker,
        queue_type: str,
        evidence: Evidence,
        *,
        mutant: str | None = None,
        core_works: bool = False,
    ) -> None:
        self.broker = broker
        self.queue_type = queue_type
        self.evidence = evidence
        self.history = History()
        self.log_mark = broker.mark() if Capability.LOGS in broker.capabilities else None
        self._resources = contextlib.ExitStack()
        self._control: blocking.BlockingConnection | None = None
        self._cast = 0
        #: The mistake, one of `workqueue.guarantee.mutants.MUTANTS`, that the core has in all that is started here.
        self.mutant = mutant
        self._core_works = core_works  # whether workers are played by the project's own core
        #: When the latest queue was declared: a :func:`time.monotonic` reading.
        self.declared_at = 0.0

    @property
    def stage(self) -> "Stage":
        """Itself, for specs that need more than one of its parts."""
        return self

    @cached_property
    def operator(self) -> Operator:
        """What an operator can do to the broker while it runs: settings, policies, alarms."""
        return Operator(self.broker, self.evidence)

    @cached_property
    def queue(self) -> Queue:
        """A durable queue of the type under test, empty."""
        return self.declare()

    def declare(self, *, durable: bool = True, **arguments: Any) -> Queue:
        """Declare another queue of the type under test.

        :param arguments: optional queue arguments, with ``_`` for ``-``: ``x_message_ttl=500``.
        """
        name = self.new_name()
        queue = Queue(
            self,
            name,
            durable,
            {"x-queue-type": self.queue_type} | {key.replace("_", "-"): value for key, value in arguments.items()},
        )
        with self.channel() as channel:
            channel.queue_declare(name, durable=durable, arguments=dict(queue.arguments))
        self.declared_at = time.monotonic()
        return queue

    def new_name(self, suffix: str = "") -> str:
        """A name for a queue that the spec declares by itself; the queue is deleted when the spec ends."""
        name = f"wq-{secrets.token_hex(6)}{suffix}"
        if self.broker.about.provider == "external":
            get_warden().own_queue(self.broker.url, name)
        self._resources.callback(self._delete, name)
        return name

    def knows(self, name: str) -> bool:
        """Whether the broker has a queue of that name."""
        with self.channel() as channel:
            try:
                channel.queue_declare(name, passive=True)
            except ChannelClosedByBroker as error:
                if error.reply_code == 404:
                    return False
                raise
        return True

    def connect(self, *, heartbeat: int = 0, proxy: Proxy | None = None, **query: int) -> blocking.BlockingConnection:
        """Open a connection of the spec's own; it is closed when the spec ends.

        :param heartbeat: seconds; 0 disables heartbeats, since specs do not turn the I/O loop while they wait.
        :param query: what pika reads from a URL's query: ``frame_max``, ``channel_max`` …
        """
        parameters = pika.URLParameters(self.url(heartbeat=heartbeat, proxy=proxy, **query))
        connection = blocking.BlockingConnection(parameters)
        self._resources.callback(part_with, connection)
        if proxy is not None:
            # Ends first: through a frozen relay no connection can say goodbye.
            self._resources.callback(proxy.close)
        return connection

    @contextlib.contextmanager
    def channel(self) -> Iterator[blocking.BlockingChannel]:
        """A channel for a moment, on a connection that the spec shares."""
        channel = self._shared_channel()
        try:
            yield channel
        finally:
            if channel.is_open:
                channel.close()

    def _shared_channel(self) -> blocking.BlockingChannel:
        if self._control is not None and self._control.is_open:
            # It looks open until it is used, also when it leads to a broker that has gone, and may be back.
            with contextlib.suppress(AMQPConnectionError):
                return self._control.channel()
        self._control = self.connect()
        return self._control.channel()

    def publish(
        self, *tasks: str, queue: Queue | None = None, persistent: bool = True, ttl: int | None = None
    ) -> list[str]:
        """Publish tasks, in order, each confirmed by the broker; returns them.

        :param persistent: delivery mode 2, as the tutorial's ``new_task.py`` has it.
        :param ttl: per-message TTL in milliseconds.
        :raises Unknown: if the broker does not take one.
        """
        target = (queue or self.queue).name
        properties = pika.BasicProperties(
            delivery_mode=2 if persistent else 1, expiration=None if ttl is None else str(ttl)
        )
        with self.channel() as channel:
            channel.confirm_delivery()
            for task in tasks:
                self.history.add(Kind.PUBLISHED, "producer", task)
                try:
                    with answered_in_time(self.broker.url):
                        channel.basic_publish("", target, task.encode(), properties, mandatory=True)
                except (AMQPError, UnroutableError) as error:
                    raise Unknown(f"the broker did not take {task!r}: {error!r}") from error
                self.history.add(Kind.CONFIRMED, "producer", task)
        self.evidence.note("producer", f"published and confirmed {len(tasks)}: {_shortened(tasks)}")
        return list(tasks)

    def workers(
        self,
        count: int,
        *,
        queue: Queue | None = None,
        heartbeat: int | None = None,
        proxy: Proxy | None = None,
        wait: bool = True,
        **options: Any,
    ) -> list[Worker]:
        """Start worker processes and wait until each consumes; they started consuming in the order of the list.

        :param wait: False not to wait for the broker to confirm their subscriptions, where that is in question.
        :param heartbeat: seconds that the workers ask for (default: what the broker suggests).
        :param proxy: what they connect through.
        :param options: see `workqueue.guarantee.actor.Options`.
        """
        url = self.url(heartbeat=heartbeat, proxy=proxy)
        started = []
        for _ in range(count):
            self._cast += 1
            work = Options(queue=(queue or self.queue).name, **options)
            name = f"worker {self._cast}"
            worker = Worker(name, url, work, get_warden(), self.evidence, self.history, core=self._core_works)
            self._resources.callback(worker.dispose)
            started.append(worker)
        for worker in started:  # all, so that the first to consume has no start of the others
            worker.wait_until_ready()
        for worker in started:
            worker.consume(wait=wait)
        return started

    def worker(self, **options: Any) -> Worker:
        """Start one worker; see `workers`."""
        return self.workers(1, **options)[0]

    def client(
        self, *, beside: Client | None = None, heartbeat: int | None = None, proxy: Proxy | None = None
    ) -> Client:
        """Open a channel of the spec's own, with a connection of its own.

        :param beside: a client whose connection to share instead.
        :param heartbeat: seconds (default: what the broker suggests); answered by the connection's thread.
        """
        self._cast += 1
        if beside is not None:
            return Client(f"client {self._cast}", beside.connection, self.evidence)
        connection = Connection(self.url(heartbeat=heartbeat, proxy=proxy))
        self._resources.callback(connection.close)
        if proxy is not None:
            # Ends first: through a frozen relay no connection can say goodbye.
            self._resources.callback(proxy.close)
        return Client(f"client {self._cast}", connection, self.evidence)

    def doomed(self, queue: Queue, *, prefetch: int = 1) -> Doomed:
        """Workers that take tasks of a queue and are killed (SIGKILL) before they could ack, one after the other."""
        self._cast += 1
        doomed = Doomed(f"doomed {self._cast}", self.url(), queue.name, prefetch, get_warden(), self.evidence)
        self._resources.callback(doomed.dispose)
        return doomed

    @cached_property
    def core(self) -> Core:
        """The project's own worker and producer, as programs."""
        return Core(self, self._resources)

    def start(self, *command: str) -> Program:
        """Start a ``workqueue`` command, such as ``start("worker", "--prefetch", "1")``, on this broker."""
        return self.core.command(*command)

    def run(self, *command: str) -> Program:
        """Run a ``workqueue`` command to its end."""
        program = self.start(*command)
        program.wait_until_ended()
        return program

    def keep_publishing(self, queue: Queue, *, confirm: bool) -> Producer:
        """Start a producer that publishes until its connection is cut."""
        producer = Producer(self.url(heartbeat=0), queue.name, confirm=confirm)
        self._resources.callback(producer.stop)
        return producer

    def keep_declaring(self) -> Declarer:
        """Start a client that declares one durable queue after the other until its connection is cut."""
        prefix = f"wq-{secrets.token_hex(6)}"
        declarer = Declarer(self.url(heartbeat=0), prefix, self.queue_type)
        self._resources.callback(lambda: self._delete(*declarer.attempted))
        self._resources.callback(declarer.stop)
        return declarer

    def proxy(self) -> Proxy:
        """A relay to the broker that can be frozen."""
        if not self.broker.url.startswith("amqp:"):
            raise NotApplicable("the relay in between would break the TLS host name")
        return self._resources.enter_context(Proxy.to(self.broker.url))

    def url(self, *, proxy: Proxy | None = None, **query: int | None) -> str:
        """The broker's URL (with its password), changed as asked; None leaves a parameter as it is."""
        parsed = urllib.parse.urlsplit(self.broker.url if proxy is None else proxy.through(self.broker.url))
        changed = {name: str(value) for name, value in query.items() if value is not None}
        kept = dict(urllib.parse.parse_qsl(parsed.query))
        parsed = parsed._replace(query=urllib.parse.urlencode(kept | changed))
        return HiddenURL(parsed.geturl())

    def close(self) -> None:
        """End and remove everything that the spec brought on."""
        self._resources.close()

    def _delete(self, *names: str) -> None:
        for name in names:
            with contextlib.suppress(AMQPError), self.channel() as channel:
                channel.queue_delete(name)
            if self.broker.about.provider == "external":
                get_warden().disown_queue(self.broker.url, name)


def part_with(connection: blocking.BlockingConnection) -> None:
    """Close a connection, which a spec or a fault may have broken: then there is nothing to say goodbye to."""
    with contextlib.suppress(AMQPError):
        if connection.is_open:
            connection.close()


def _shortened(tasks: Sequence[str]) -> str:
    shown = ", ".join(repr(task) for task in tasks[:5])
    return shown if len(tasks) <= 5 else f"{shown}, … {tasks[-1]!r}"
