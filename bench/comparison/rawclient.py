"""AMQP on a bare socket, with frames that are encoded beforehand: as fast as a Python program can drive a broker."""

import itertools
import socket
import struct
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from pika import frame, spec

METHOD, HEADER, BODY = 1, 2, 3
ACK = (60 << 16) | 80
NACK = (60 << 16) | 120
DELIVER = (60 << 16) | 60
_HEAD = struct.Struct(">BHI")
_CONFIRM = struct.Struct(">IQB")
_CHANNEL = 1
_BLOCK = 100


def encode(queue: str, body: bytes, properties: spec.BasicProperties, frame_max: int) -> bytes:
    """A whole message, as the bytes that publish it."""
    parts = [
        frame.Method(_CHANNEL, spec.Basic.Publish(exchange="", routing_key=queue)).marshal(),
        frame.Header(_CHANNEL, len(body), properties).marshal(),
    ]
    room = frame_max - 8
    parts += [frame.Body(_CHANNEL, body[at : at + room]).marshal() for at in range(0, len(body), room)]
    return b"".join(parts)


class RawClient:
    """One connection with one channel. No TLS, and no heartbeats."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "amqp":
            raise ValueError("the bare socket speaks no TLS")
        user, password = (urllib.parse.unquote(each or "guest") for each in (parts.username, parts.password))
        self._socket = socket.create_connection((parts.hostname or "localhost", parts.port or 5672), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._left = False  # whoever asked for the frames did not want all that there were
        self._settled = 0  # every message up to this one is confirmed,
        self._beyond: set[int] = set()  # and these are
        self.send(b"AMQP\x00\x00\x09\x01")
        self.expect(spec.Connection.Start)
        self._method(0, spec.Connection.StartOk({}, "PLAIN", f"\0{user}\0{password}", "en_US"))
        tune = self.expect(spec.Connection.Tune)
        self.frame_max: int = tune.frame_max or 131072
        self._method(0, spec.Connection.TuneOk(tune.channel_max, self.frame_max, 0))
        self._method(0, spec.Connection.Open(urllib.parse.unquote(parts.path[1:]) or "/"))
        self.expect(spec.Connection.OpenOk)
        self.call(spec.Channel.Open(), spec.Channel.OpenOk)

    def call(self, method: Any, answer: type) -> Any:
        """Call a method on the channel and return its answer."""
        self._method(_CHANNEL, method)
        return self.expect(answer)

    def expect(self, answer: type) -> Any:
        """Wait for a method. Raises ConnectionError if another one comes."""
        while True:
            for kind, payload in self.frames():
                if kind == METHOD:
                    found = spec.methods[int.from_bytes(payload[:4], "big")]()
                    found.decode(payload, 4)
                    if isinstance(found, answer):
                        return found
                    raise ConnectionError(f"the broker answered with {found}")

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Read once, unless there are frames left; yield type and payload of those that are complete by then."""
        if not self._left:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionError("the broker closed the connection")
            self._buffer += data
        self._left = True
        at, end = 0, len(self._buffer)
        buffer = bytes(self._buffer)
        try:
            while end - at >= 8:
                kind, _, size = _HEAD.unpack_from(buffer, at)
                after = at + size + 8
                if after > end:
                    break
                payload = buffer[at + 7 : after - 1]
                at = after
                yield kind, payload
            self._left = False
        finally:
            del self._buffer[:at]

    def publish(self, messages: Sequence[bytes], count: int, window: int) -> None:
        """Publish encoded messages in turn, `count` in all; return once all are confirmed. Needs confirm mode."""
        endless = itertools.cycle(messages)
        unsent, unconfirmed = count, 0
        while unsent or unconfirmed:
            while unsent and unconfirmed <= window - _BLOCK:
                block = min(_BLOCK, unsent)
                self.send(b"".join(itertools.islice(endless, block)))
                unsent -= block
                unconfirmed += block
            unconfirmed -= self._confirmed()

    def confirm_select(self) -> None:
        """Put the channel into confirm mode."""
        self.call(spec.Confirm.Select(), spec.Confirm.SelectOk)

    def _confirmed(self) -> int:
        """Read once; return how many messages were newly confirmed. Raises ConnectionError for a nack."""
        news = 0
        for kind, payload in self.frames():
            if kind != METHOD:
                continue
            method, tag, multiple = _CONFIRM.unpack_from(payload)
            if method != ACK:
                raise ConnectionError(f"not confirmed: method {method >> 16}.{method & 0xFFFF}")
            if multiple:
                news += tag - self._settled - sum(1 for each in self._beyond if each <= tag)
                self._beyond = {each for each in self._beyond if each > tag}
                self._settled = tag
            else:
                news += 1
                self._beyond.add(tag)
            while self._settled + 1 in self._beyond:
                self._settled += 1
                self._beyond.remove(self._settled)
        return news

    def close(self) -> None:
        """Close the connection politely."""
        self._method(0, spec.Connection.Close(200, "", 0, 0))
        while not any(kind == METHOD and payload[:4] == b"\x00\x0a\x00\x33" for kind, payload in self.frames()):
            pass
        self._socket.close()

    def _method(self, channel: int, method: Any) -> None:
        self.send(frame.Method(channel, method).marshal())
