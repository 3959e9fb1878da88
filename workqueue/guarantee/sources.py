"""Where guarantees come from: the tutorial's sections, RabbitMQ's documentation, release notes and source."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A place that can be looked up: a title for people, an address for browsers."""

    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.title} <{self.url}>"


@dataclass(frozen=True, slots=True)
class Page:
    """A page, such as one of RabbitMQ's site, whose sections are sources."""

    title: str
    url: str

    def section(self, anchor: str) -> Source:
        """The section with this anchor."""
        return Source(f"{self.title}, {anchor.replace('-', ' ')}", f"{self.url}#{anchor}")


_SITE = "https://www.rabbitmq.com"

TUTORIAL_2 = Page("Tutorial 2 (Python)", f"{_SITE}/tutorials/tutorial-two-python")
ALARMS = Page("Memory and disk alarms", f"{_SITE}/docs/alarms")
CHANNELS = Page("Channels", f"{_SITE}/docs/channels")
CLASSIC_QUEUES = Page("Classic queues", f"{_SITE}/docs/classic-queues")
CONFIRMS = Page("Consumer acknowledgements and publisher confirms", f"{_SITE}/docs/confirms")
CONSUMERS = Page("Consumers", f"{_SITE}/docs/consumers")
CONSUMER_CANCEL = Page("Consumer cancel notification", f"{_SITE}/docs/consumer-cancel")
CONSUMER_PREFETCH = Page("Consumer prefetch", f"{_SITE}/docs/consumer-prefetch")
CONSUMER_PRIORITY = Page("Consumer priorities", f"{_SITE}/docs/consumer-priority")
DEAD_LETTERING = Page("Dead letter exchanges", f"{_SITE}/docs/dlx")
DISK_ALARMS = Page("Free disk space alarms", f"{_SITE}/docs/disk-alarms")
HEARTBEATS = Page("Heartbeats", f"{_SITE}/docs/heartbeats")
LENGTH_LIMIT = Page("Queue length limit", f"{_SITE}/docs/maxlength")
LIMITS = Page("Limits", f"{_SITE}/docs/limits")
MEMORY = Page("Memory threshold and limit", f"{_SITE}/docs/memory")
NACK = Page("Negative acknowledgements", f"{_SITE}/docs/nack")
POLICIES = Page("Policies", f"{_SITE}/docs/policies")
PRIORITY = Page("Priority queues", f"{_SITE}/docs/priority")
PUBLISHERS = Page("Publishers", f"{_SITE}/docs/publishers")
QUEUES = Page("Queues", f"{_SITE}/docs/queues")
QUORUM_QUEUES = Page("Quorum queues", f"{_SITE}/docs/quorum-queues")
RABBITMQCTL = Page("rabbitmqctl", f"{_SITE}/docs/man/rabbitmqctl.8")
RELIABILITY = Page("Reliability guide", f"{_SITE}/docs/reliability")
SEMANTICS = Page("Broker semantics", f"{_SITE}/docs/semantics")
TTL = Page("Time-to-live and expiration", f"{_SITE}/docs/ttl")

#: What this project promises of its own core.
README = Page("This project's README", "README.md")

TUTORIAL_2_OF_2019 = Source(
    "Tutorial 2 (Python) as of 2019",
    "https://github.com/rabbitmq/rabbitmq-website/blob/1893304a8/site/tutorials/tutorial-two-python.md",
)


def release_note(version: str) -> Source:
    """The release notes of one RabbitMQ version."""
    return Source(
        f"RabbitMQ {version} release notes", f"https://github.com/rabbitmq/rabbitmq-server/releases/tag/v{version}"
    )


def server_source(version: str, path: str) -> Source:
    """A file of RabbitMQ's source at a version."""
    return Source(
        f"RabbitMQ {version}, {path.rsplit('/', 1)[-1]}",
        f"https://github.com/rabbitmq/rabbitmq-server/blob/v{version}/{path}",
    )
