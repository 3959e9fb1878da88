"""AMQP 0-9-1 on the wire: a stream of bytes cut into frames, and frames put together to commands.

A command is a method with the content that belongs to it. Decoding and encoding is pika's; what nobody asked for is
never decoded, and what nobody changed is sent on as the bytes that came.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pika.frame
import pika.spec

_HEADER = struct.Struct(">BHI")
_METHOD_ID = struct.Struct(">I")
_BODY_SIZE = struct.Struct(">Q")
_OVERHEAD = 8  # bytes: the header of a frame, and its end

#: The frame size to assume until one was negotiated: the least that a peer has to accept.
MIN_FRAME_MAX = 4096

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8


@dataclass(slots=True)
class Frame:
    """One frame.

    :param kind: ``METHOD``, ``HEADER``, ``BODY`` or ``HEARTBEAT``; 0 for the protocol header, which is no frame.
    :param channel: channel number.
    :param method_id: class and method, for a ``METHOD`` frame, else 0.
    :param raw: all of its bytes.
    """

    kind: int
    channel: int
    method_id: int
    raw: bytes

    @property
    def payload(self) -> bytes:
        """What is between its header and its end."""
        return self.raw[7:-1]


class Splitter:
    """Cuts a stream into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with these bytes."""
        data = self._rest + data if self._rest else data
        at, size = 0, len(data)
        if data.startswith(b"AMQP") and size >= _OVERHEAD:
            yield Frame(0, 0, 0, data[:_OVERHEAD])
            at = _OVERHEAD
        while size - at >= _OVERHEAD:
            kind, channel, length = _HEADER.unpack_from(data, at)
            end = at + _OVERHEAD + length
            if end > size:
                break
            method_id = _METHOD_ID.unpack_from(data, at + 7)[0] if kind == METHOD else 0
            yield Frame(kind, channel, method_id, data[at:end])
            at = end
        self._rest = data[at:]


class Command:
    """A method and, where it carries one, its content.

    :param channel: channel number.
    :param method: one of pika's method objects.
    :param properties: of the content, or None.
    :param body: of the content, or None.
    """

    method: Any
    properties: pika.spec.BasicProperties | None
    body: bytes | None

    def __init__(
        self, channel: int, method: Any, properties: pika.spec.BasicProperties | None = None, body: bytes | None = None
    ) -> None:
        self.channel = channel
        self.method_id: int = method.INDEX
        self.method = method
        self.properties = properties
        self.body = body
        self._frames: list[Frame] = []
        self._raw: bytes | None = None

    @classmethod
    def received(cls, frames: list[Frame]) -> "Command":
        """A method frame and its content; they are decoded when somebody looks at what they say."""
        command = cls.__new__(cls)
        command.channel = frames[0].channel
        command.method_id = frames[0].method_id
        command._frames = frames
        command._raw = b"".join(frame.raw for frame in frames)
        return command

    def __getattr__(self, name: str) -> Any:
        if name not in ("method", "properties", "body"):
            raise AttributeError(name)
        self.method = pika.spec.methods[self.method_id]()
        self.method.decode(self._frames[0].payload, 4)
        self.properties, self.body = None, None
        if len(self._frames) > 1:
            self.properties = pika.spec.BasicProperties()
            self.properties.decode(self._frames[1].payload[12:])
            self.body = b"".join(frame.payload for frame in self._frames[2:])
        return getattr(self, name)

    def changed(self) -> "Command":
        """Itself, to be encoded anew: call it when something in it was changed."""
        self._raw = None
        return self

    def encode(self, frame_max: int) -> bytes:
        """Its bytes: those that came, if nothing was changed."""
        if self._raw is not None:
            return self._raw
        pieces = [pika.frame.Method(self.channel, self.method).marshal()]
        if self.properties is not None and self.body is not None:
            pieces.append(pika.frame.Header(self.channel, len(self.body), self.properties).marshal())
            # No limit was negotiated where frame_max is 0.
            step = frame_max - _OVERHEAD if frame_max else max(1, len(self.body))
            bodies = (self.body[at : at + step] for at in range(0, len(self.body), step))
            pieces += [pika.frame.Body(self.channel, body).marshal() for body in bodies]
        return b"".join(pieces)


class Assembler:
    """Puts the frames of one command together; knows when it is complete."""

    def __init__(self, first: Frame) -> None:
        self._frames = [first]
        carries_content = bool(pika.spec.has_content(first.method_id))
        self._missing = -1 if carries_content else 0

    def add(self, frame: Frame) -> None:
        """Add its header frame, or a body frame."""
        self._frames.append(frame)
        if frame.kind == HEADER:
            self._missing = _BODY_SIZE.unpack_from(frame.raw, 7 + 4)[0]
        else:
            self._missing -= len(frame.raw) - _OVERHEAD

    @property
    def is_complete(self) -> bool:
        """Whether all of its content is here."""
        return self._missing == 0

    def command(self) -> Command:
        """The command."""
        return Command.received(self._frames)
