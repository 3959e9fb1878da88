"""The queue that a measurement uses, as seen from outside of the contenders."""

import contextlib
import itertools
import time
from collections.abc import Iterator

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from workqueue.warden import get_warden

from .model import Contender, Endpoint, QueueType
from .process import ContenderError
from .rawclient import RawClient, encode

_LOOK = 0.01
_WINDOW = 1000
_NOT_FOUND = 404
_PATIENCE = 30.0


class BenchQueue:
    """A queue that a contender declares. Counting, filling and deleting it is our work."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection = pika.BlockingConnection(pika.URLParameters(endpoint.url))

    def close(self) -> None:
        """Disconnect."""
        with contextlib.suppress(AMQPError):
            self._connection.close()

    def expect_messages(self, count: int) -> None:
        """Wait until so many messages are ready. Raises ContenderError."""
        self._expect("messages", count, 0)

    def expect_consumers(self, count: int) -> None:
        """Wait until it has so many consumers. Raises ContenderError."""
        self._expect("consumers", count, 1)

    def left(self) -> int:
        """How many messages are in it once nobody consumes from it any more."""
        self.expect_consumers(0)
        return self._state()[0]

    def fill(self, count: int) -> None:
        """Replace what is in it by so many copies of it, byte for byte as the contender made them."""
        raw = RawClient(self.endpoint.url)
        channel = self._connection.channel()
        try:
            messages = []
            while True:
                method, properties, body = channel.basic_get(self.endpoint.queue, auto_ack=True)
                if method is None:
                    break
                messages.append(encode(self.endpoint.queue, body, properties, raw.frame_max))
            raw.confirm_select()
            raw.publish(messages, count, _WINDOW)
        finally:
            raw.close()
            channel.close()
        self.expect_messages(count)

    def _state(self) -> tuple[int, int]:
        """Messages that are ready, and consumers."""
        channel = self._connection.channel()
        try:
            found = channel.queue_declare(self.endpoint.queue, passive=True).method
        except ChannelClosedByBroker as closed:
            if closed.reply_code != _NOT_FOUND:
                raise
            return 0, 0  # some contenders declare it only when they need it
        channel.close()
        return found.message_count, found.consumer_count

    def _expect(self, what: str, count: int, which: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while (found := self._state()[which]) != count:
            if time.monotonic() > deadline:
                raise ContenderError(f"the queue should have {count} {what}, and has {found}")
            time.sleep(_LOOK)


_numbers = itertools.count()


@contextlib.contextmanager
def bench_queue(
    url: str, prefix: str, contender: Contender, queue_type: QueueType, *, foreign: bool
) -> Iterator[BenchQueue]:
    """A name for the contender to declare; whatever it declared is deleted in the end."""
    name = f"{prefix}.{next(_numbers)}.{contender.name}"
    names = [name + suffix for suffix in contender.suffixes]
    if foreign:
        for each in names:
            get_warden().own_queue(url, each)
    queue = BenchQueue(Endpoint(url, name, queue_type))
    try:
        yield queue
    finally:
        queue.close()
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            for each in names:
                connection.channel().queue_delete(each)  # it need not exist
                if foreign:
                    get_warden().disown_queue(url, each)
