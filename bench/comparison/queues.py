"""The queue that a measurement uses, as seen from outside of the contenders."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pika
from pika.exceptions import AMQPError

from workqueue.warden import get_warden

from .model import Contender, Endpoint
from .process import ContenderError
from .rawclient import RawClient, encode

_LOOK = 0.01
_WINDOW = 1000
_PATIENCE = 30.0


class BenchQueue:
    """A queue that a contender declares. Counting, filling and deleting it is our work."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection = pika.BlockingConnection(pika.URLParameters(endpoint.url))
        self._channel = self._connection.channel()

    def close(self) -> None:
        """Disconnect."""
        with contextlib.suppress(AMQPError):
            self._connection.close()

    def expect_messages(self, count: int) -> None:
        """Wait until so many messages are ready. Raises ContenderError."""
        self._expect("messages", count, lambda found: found.message_count)

    def expect_consumers(self, count: int) -> None:
        """Wait until it has so many consumers. Raises ContenderError."""
        self._expect("consumers", count, lambda found: found.consumer_count)

    def left(self) -> int:
        """How many messages are in it once nobody consumes from it any more."""
        self.expect_consumers(0)
        return self._state().message_count

    def fill(self, count: int) -> None:
        """Replace what is in it by so many copies of it, byte for byte as the contender made them."""
        raw = RawClient(self.endpoint.url)
        try:
            messages = []
            while True:
                method, properties, body = self._channel.basic_get(self.endpoint.queue, auto_ack=True)
                if method is None:
                    break
                messages.append(encode(self.endpoint.queue, body, properties, raw.frame_max))
            raw.confirm_select()
            raw.publish(messages, count, _WINDOW)
        finally:
            raw.close()
        self.expect_messages(count)

    def _state(self) -> Any:
        return self._channel.queue_declare(self.endpoint.queue, passive=True).method

    def _expect(self, what: str, count: int, of: Callable[[Any], int]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while (found := of(self._state())) != count:
            if time.monotonic() > deadline:
                raise ContenderError(f"the queue should have {count} {what}, and has {found}")
            time.sleep(_LOOK)


_numbers = itertools.count()


@contextlib.contextmanager
def bench_queue(url: str, prefix: str, contender: Contender, queue_type: Any, *, foreign: bool) -> Iterator[BenchQueue]:
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
