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
    """A page of RabbitMQ's site whose sections are sources."""

    title: str
    url: str

    def section(self, anchor: str) -> Source:
        """The section with this anchor."""
        return Source(f"{self.title}, {anchor.replace('-', ' ')}", f"{self.url}#{anchor}")


_SITE = "https://www.rabbitmq.com"

TUTORIAL_2 = Page("Tutorial 2 (Python)", f"{_SITE}/tutorials/tutorial-two-python")
CONFIRMS = Page("Consumer acknowledgements and publisher confirms", f"{_SITE}/docs/confirms")
CONSUMERS = Page("Consumers", f"{_SITE}/docs/consumers")
HEARTBEATS = Page("Heartbeats", f"{_SITE}/docs/heartbeats")
QUEUES = Page("Queues", f"{_SITE}/docs/queues")
QUORUM_QUEUES = Page("Quorum queues", f"{_SITE}/docs/quorum-queues")
RELIABILITY = Page("Reliability guide", f"{_SITE}/docs/reliability")
TTL = Page("Time-to-live and expiration", f"{_SITE}/docs/ttl")

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
