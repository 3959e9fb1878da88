"""No library at all: what is left is the broker, the kernel, and the least that Python can do."""

import struct

from pika import spec

from ..model import Endpoint, Handler
from ..rawclient import BODY, DELIVER, HEADER, METHOD, RawClient, encode

WINDOW = 1000
MULTIPLE = 100
_ACK = struct.Struct(">BHIIQBB")


class Publisher:
    """Blocks of 100 messages, at most 1000 unconfirmed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._queue = endpoint.queue
        self._client = RawClient(endpoint.url)
        declare = spec.Queue.Declare(queue=endpoint.queue, durable=True, arguments=endpoint.arguments)
        self._client.call(declare, spec.Queue.DeclareOk)
        self._client.confirm_select()

    def publish(self, body: bytes, count: int) -> None:
        """Publish and wait for every confirm."""
        message = encode(self._queue, body, spec.BasicProperties(delivery_mode=2), self._client.frame_max)
        self._client.publish([message], count, WINDOW)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


def ack_each(endpoint: Endpoint, prefetch: int, handler: Handler) -> None:
    """An ack for each message; those for what was read at once are written at once."""
    _consume(endpoint, prefetch, handler, every=1)


def ack_multiple(endpoint: Endpoint, prefetch: int, handler: Handler) -> None:
    """One ack for every hundred messages."""
    _consume(endpoint, prefetch, handler, every=MULTIPLE)


def _consume(endpoint: Endpoint, prefetch: int, handler: Handler, every: int) -> None:
    client = RawClient(endpoint.url)
    client.call(spec.Basic.Qos(prefetch_count=prefetch), spec.Basic.QosOk)
    client.call(spec.Basic.Consume(queue=endpoint.queue), spec.Basic.ConsumeOk)
    multiple = int(every > 1)
    tag = size = 0
    body = b""
    while True:
        acks = []
        for kind, payload in client.frames():
            if kind == METHOD:
                if int.from_bytes(payload[:4], "big") != DELIVER:
                    raise ConnectionError("the broker sent what is no delivery")
                tag = int.from_bytes(payload[5 + payload[4] :][:8], "big")
            elif kind == HEADER:
                size, body = int.from_bytes(payload[4:12], "big"), b""
            elif kind == BODY:
                body += payload
                if len(body) == size:
                    handler(body)
                    if tag % every == 0:
                        acks.append(_ACK.pack(1, 1, 13, (60 << 16) | 80, tag, multiple, 0xCE))
        if acks:
            client.send(b"".join(acks))
