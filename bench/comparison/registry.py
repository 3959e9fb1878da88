"""Who is compared."""

import importlib.metadata

from .model import Contender

REFERENCE = "pika-blocking"
"""Ratios are relative to this one: pika as its own documentation recommends it to be used for safety."""

ONE_BY_ONE = 5
_ALL = frozenset({"publish", "consume", "roundtrip", "memory", "redelivery"})
_CORE = "workqueue-guarantees"

CONTENDERS = (
    Contender(
        name="raw-socket",
        publishes="frames encoded beforehand, window of 1000",
        consumes="an ack each",
        distribution="pika",  # encodes the frames
        publisher="raw_socket:Publisher",
        consumer="raw_socket:ack_each",
        measures=_ALL - {"redelivery"},
    ),
    Contender(
        name="raw-socket-multiple",
        publishes="–",
        consumes="acks `multiple` every 100",
        distribution="pika",
        publisher="raw_socket:Publisher",
        consumer="raw_socket:ack_multiple",
        measures=frozenset({"consume"}),
    ),
    Contender(
        name="pika-unconfirmed",
        publishes="BlockingConnection as in the tutorial: UNCONFIRMED, for reference only",
        consumes="–",
        distribution="pika",
        publisher="pika_blocking:Unconfirmed",
        measures=frozenset({"publish"}),
    ),
    Contender(
        name="pika-blocking",
        publishes="BlockingConnection, a confirm each",
        consumes="BlockingConnection, callback",
        distribution="pika",
        publisher="pika_blocking:Confirmed",
        consumer="pika_blocking:consume",
        measures=_ALL,
        share=ONE_BY_ONE,
    ),
    Contender(
        name="pika-select",
        publishes="SelectConnection, window of 1000",
        consumes="SelectConnection, callback",
        distribution="pika",
        publisher="pika_select:Publisher",
        consumer="pika_select:consume",
        measures=_ALL,
    ),
    Contender(
        name="aio-pika",
        publishes="gathered by 500",
        consumes="callback",
        distribution="aio-pika",
        publisher="aio_pika:Publisher",
        consumer="aio_pika:consume",
        measures=_ALL,
    ),
    Contender(
        name="amqpstorm",
        publishes="a confirm each",
        consumes="callback",
        distribution="AMQPStorm",
        publisher="amqpstorm:Publisher",
        consumer="amqpstorm:consume",
        measures=_ALL,
        share=40,  # it looks for the confirm a hundred times a second,
    ),
    Contender(
        name="kombu",
        publishes="confirm_publish, a confirm each",
        consumes="callback",
        distribution="kombu",
        publisher="kombu:Publisher",
        consumer="kombu:consume",
        measures=_ALL,
        share=ONE_BY_ONE,
    ),
    Contender(
        name="dramatiq",
        publishes="confirm_delivery, a confirm each",
        consumes="actor, 8 threads (its default)",
        distribution="dramatiq",
        publisher="dramatiq:Publisher",
        consumer="dramatiq:consume",
        measures=_ALL,
        share=ONE_BY_ONE,
        suffixes=("", ".DQ", ".XQ"),
    ),
    Contender(
        name="celery",
        publishes="confirm_publish, a confirm each",
        consumes="acks_late, solo pool",
        distribution="celery",
        publisher="celery:Publisher",
        consumer="celery:consume",
        measures=_ALL,
        share=ONE_BY_ONE,
    ),
    Contender(
        name="workqueue",
        publishes="send_async, window of 1000",
        consumes="Worker",
        distribution=_CORE,
        publisher="workqueue:SendAsync",
        consumer="workqueue:consume",
        measures=_ALL | {"million"},
    ),
    Contender(
        name="workqueue-send",
        publishes="send, a confirm each",
        consumes="–",
        distribution=_CORE,
        publisher="workqueue:Send",
        measures=frozenset({"publish", "memory"}),
        share=ONE_BY_ONE,
    ),
)


def versions() -> dict[str, str | None]:
    """The version of each distribution that is compared; None for what is not installed."""
    found: dict[str, str | None] = {}
    for name in sorted({each.distribution for each in CONTENDERS}, key=str.lower):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found
