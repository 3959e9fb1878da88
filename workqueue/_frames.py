"""The AMQP 0-9-1 frames that are worth writing and reading by hand, because there are a few for each message. Pure.

pika builds and calls several objects for each frame, and writes each frame by itself. All other methods are pika's.
"""

import functools
import struct
from collections.abc import Callable

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
"""Frame types."""

END = 0xCE
"""The last byte of every frame."""

FRAME_OVERHEAD = 8
"""Bytes of a frame beside its payload."""

frame = struct.Struct(">BHL")
"""How a frame begins: its type, its channel, and the size of its payload."""

ACK, REJECT, NACK = 80, 90, 120
"""Methods that settle a delivery; those of the broker settle a publish."""

MULTIPLE, REQUEUE = 1, 2
"""Bits of ACK and NACK. REJECT has one, which is whether to requeue."""

_BASIC, _PUBLISH = 60, 40
_END = bytes([END])
_MANDATORY = 1
_PLAIN = 0x1080  # property flags: a delivery mode and a message id, and nothing else

_answer = struct.Struct(">HHQB")
_header = struct.Struct(">HHQ")
_settlement = struct.Struct(">BHLHHQBB")

HEADER_OVERHEAD = FRAME_OVERHEAD + _header.size
"""Bytes of a header frame beside the properties, which must fit into a single one."""


def plain_properties(message_id: str, *, persistent: bool) -> bytes:
    """Encode the properties of a message that has no others. Raises ValueError if its id is too long."""
    encoded = message_id.encode()
    if len(encoded) > 255:
        raise ValueError(f"a message id has at most 255 bytes: {message_id!r}")
    return struct.pack(">HBB", _PLAIN, 2 if persistent else 1, len(encoded)) + encoded


def read_plain_properties(properties: bytes) -> str | None:
    """The message id, if these are such properties; None if there are others, and a real decoder has to read them."""
    if properties[:2] != b"\x10\x80" or len(properties) < 4:
        return None
    return properties[4 : 4 + properties[3]].decode()


@functools.lru_cache(maxsize=256)
def _publish_method(channel: int, queue: str) -> bytes:
    key = queue.encode()
    # A reserved number, and the name of the exchange, which is empty.
    payload = struct.pack(">HHHBB", _BASIC, _PUBLISH, 0, 0, len(key)) + key + bytes([_MANDATORY])
    return frame.pack(METHOD, channel, len(payload)) + payload + _END


def publish(channel: int, queue: str, properties: bytes, body: bytes, frame_max: int) -> list[bytes]:
    """A basic.publish to the default exchange, mandatory, with its content."""
    header = frame.pack(HEADER, channel, _header.size + len(properties)) + _header.pack(_BASIC, 0, len(body))
    frames = [_publish_method(channel, queue), header, properties, _END]
    room = frame_max - FRAME_OVERHEAD
    for start in range(0, len(body), room):
        piece = body if len(body) <= room else body[start : start + room]
        frames += (frame.pack(BODY, channel, len(piece)), piece, _END)
    return frames


def settle(channel: int, method: int, tag: int, bits: int) -> bytes:
    """A basic.ack, basic.reject or basic.nack of a delivery."""
    return _settlement.pack(METHOD, channel, 13, _BASIC, method, tag, bits, END)


def take_confirm(confirmed: Callable[[bool, int, bool], None], kind: int, payload: bytes) -> bool:
    """Take a frame, if it is a confirm; return whether it is.

    ``confirmed`` is called with whether it is an ack, its tag, and whether it is for all up to that.
    """
    if kind != METHOD or len(payload) != 13:
        return False
    class_id, method, tag, bits = _answer.unpack(payload)
    if class_id != _BASIC or method not in (ACK, NACK):
        return False
    confirmed(method == ACK, tag, bool(bits & MULTIPLE))
    return True


class Deliveries:
    """Puts the deliveries of a channel together from the payloads of its frames.

    ``deliver`` is called with the tag of each, whether it is a redelivery, its encoded properties and its body.
    """

    def __init__(self, deliver: Callable[[int, bool, bytes, bytes], None]) -> None:
        self._deliver = deliver
        self._tag = 0  # of the delivery whose content is on its way, 0 if there is none
        self._redelivered = False
        self._properties = b""
        self._missing = 0
        self._pieces: list[bytes] = []

    def take(self, kind: int, payload: bytes) -> bool:
        """Take a frame, if it is a part of a delivery; return whether it is."""
        if kind == METHOD:
            if payload[:4] != b"\0\x3c\0\x3c":
                return False
            after = 5 + payload[4]  # the consumer tag
            self._tag = int.from_bytes(payload[after : after + 8])
            self._redelivered = payload[after + 8] != 0
            return True
        if not self._tag:
            return False
        if kind == HEADER:
            self._missing = int.from_bytes(payload[4:12])
            self._properties = payload[12:]
        else:
            self._missing -= len(payload)
            self._pieces.append(payload)
        if self._missing <= 0:
            self._deliver(self._tag, self._redelivered, self._properties, b"".join(self._pieces))
            self._tag, self._pieces = 0, []
        return True
