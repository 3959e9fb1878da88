"""aio-pika: many publishes at a time, gathered."""

import asyncio

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from ..model import Endpoint, Handler

GATHERED = 500


class Publisher:
    """Gathers 500 publishes, each of which waits for its confirm."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._queue = endpoint.queue
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._open(endpoint))

    def publish(self, body: bytes, count: int) -> None:
        """Publish and wait for every confirm."""
        self._loop.run_until_complete(self._publish(body, count))

    def close(self) -> None:
        """Disconnect."""
        self._loop.run_until_complete(self._connection.close())

    async def _open(self, endpoint: Endpoint) -> None:
        self._connection = await aio_pika.connect(endpoint.url)
        channel = await self._connection.channel(publisher_confirms=True)
        await channel.declare_queue(endpoint.queue, durable=True, arguments=dict(endpoint.arguments))
        self._exchange = channel.default_exchange

    async def _publish(self, body: bytes, count: int) -> None:
        for start in range(0, count, GATHERED):
            await asyncio.gather(*(self._publish_one(body) for _ in range(min(GATHERED, count - start))))

    async def _publish_one(self, body: bytes) -> None:
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._exchange.publish(message, routing_key=self._queue)


def consume(endpoint: Endpoint, prefetch: int, handler: Handler) -> None:
    """A callback for each message, which acks it."""

    async def callback(message: AbstractIncomingMessage) -> None:
        handler(message.body)
        await message.ack()

    async def run() -> None:
        connection = await aio_pika.connect(endpoint.url)
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=prefetch)
        queue = await channel.declare_queue(endpoint.queue, durable=True, arguments=dict(endpoint.arguments))
        await queue.consume(callback)
        await asyncio.Event().wait()

    asyncio.run(run())
