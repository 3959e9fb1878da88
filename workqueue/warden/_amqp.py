"""The few words of AMQP 0-9-1 needed to see that a broker serves, and to delete a queue.

Standard library only, blocking, one channel, a deadline for each network operation, PLAIN only.
"""

import contextlib
import socket
import ssl
import struct
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

_METHOD = 1
_HEARTBEAT = 8
_FRAME_END = 0xCE

_START, _START_OK = (10, 10), (10, 11)
_TUNE, _TUNE_OK = (10, 30), (10, 31)
_OPEN, _OPEN_OK = (10, 40), (10, 41)
_CLOSE, _CLOSE_OK = (10, 50), (10, 51)
_CHANNEL_OPEN, _CHANNEL_OPEN_OK = (20, 10), (20, 11)
_CHANNEL_CLOSE = (20, 40)
_DECLARE, _DECLARE_OK = (50, 10), (50, 11)
_DELETE, _DELETE_OK = (50, 40), (50, 41)


class AmqpError(Exception):
    """The broker closed the connection or the channel: `code` is AMQP's reply code, such as 403."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


class Connection:
    """An open connection with one open channel; `server` is what the broker tells about itself.

    Raises `OSError` when the broker can't be reached or says nothing for `timeout` seconds, and `AmqpError`
    when it refuses us.
    """

    server: dict[str, Any]

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        parts = urlsplit(url)
        tls = parts.scheme == "amqps"
        host = parts.hostname or "localhost"
        self._socket: socket.socket = socket.create_connection((host, parts.port or (5671 if tls else 5672)), timeout)
        try:
            if tls:
                self._socket = _tls_context(parts.query).wrap_socket(self._socket, server_hostname=host)
            self._shake_hands(
                unquote(parts.username or "guest"),
                unquote(parts.password or "guest"),
                unquote(parts.path[1:]) or "/",
            )
        except BaseException:
            self._socket.close()
            raise

    def declare_exclusive(self) -> str:
        """Declare a queue that goes with this connection; returns its name."""
        exclusive = 0b00100
        self._send(1, _DECLARE, struct.pack(">H", 0) + _short("") + bytes([exclusive]) + _long(b""))
        answer = self._expect(_DECLARE_OK)
        return answer[1 : 1 + answer[0]].decode()

    def delete_queue(self, name: str) -> None:
        """Delete a queue with all that is in it. One that does not exist is fine."""
        self._send(1, _DELETE, struct.pack(">H", 0) + _short(name) + b"\0")
        self._expect(_DELETE_OK)

    def close(self) -> None:
        """Take leave, and close the socket whatever the broker says."""
        with contextlib.suppress(OSError, AmqpError):
            self._send(0, _CLOSE, struct.pack(">H", 200) + _short("") + struct.pack(">HH", 0, 0))
            self._expect(_CLOSE_OK)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _shake_hands(self, user: str, password: str, vhost: str) -> None:
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        start = self._expect(_START)
        self.server, _ = _table(start, 2)
        # With this capability a refused login is a proper 403 instead of a closed socket.
        capabilities = _field("authentication_failure_close", b"t\x01")
        properties = _long(_field("capabilities", b"F" + _long(capabilities)))
        login = _long(b"\0" + user.encode() + b"\0" + password.encode())
        self._send(0, _START_OK, properties + _short("PLAIN") + login + _short("en_US"))
        channel_max, frame_max, _heartbeat = struct.unpack(">HIH", self._expect(_TUNE))
        self._send(0, _TUNE_OK, struct.pack(">HIH", channel_max, frame_max, 0))
        self._send(0, _OPEN, _short(vhost) + _short("") + b"\0")
        self._expect(_OPEN_OK)
        self._send(1, _CHANNEL_OPEN, _short(""))
        self._expect(_CHANNEL_OPEN_OK)

    def _send(self, channel: int, method: tuple[int, int], arguments: bytes) -> None:
        payload = struct.pack(">HH", *method) + arguments
        self._socket.sendall(struct.pack(">BHI", _METHOD, channel, len(payload)) + payload + bytes([_FRAME_END]))

    def _expect(self, method: tuple[int, int]) -> bytes:
        while True:
            kind, _channel, size = struct.unpack(">BHI", self._read(7))
            if kind == ord("A"):  # it answered with its own protocol header
                raise AmqpError(0, "the server does not speak AMQP 0-9-1")
            payload = self._read(size + 1)[:-1]
            if kind != _METHOD:
                continue
            got = struct.unpack(">HH", payload[:4])
            if got == method:
                return payload[4:]
            if got in (_CLOSE, _CHANNEL_CLOSE):
                length = payload[6]
                raise AmqpError(struct.unpack(">H", payload[4:6])[0], payload[7 : 7 + length].decode())

    def _read(self, size: int) -> bytes:
        if size > 1 << 20:
            raise AmqpError(0, "the server does not speak AMQP 0-9-1")
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                raise ConnectionResetError("the server closed the connection")
            data += chunk
        return data


def _tls_context(query: str) -> ssl.SSLContext:
    """Return a verifying context; `cacertfile`, `certfile`, `keyfile`, `verify` as in RabbitMQ's URIs."""
    options = {name: values[-1] for name, values in parse_qs(query).items()}
    context = ssl.create_default_context(cafile=options.get("cacertfile"))
    if "certfile" in options:
        context.load_cert_chain(options["certfile"], options.get("keyfile"))
    if options.get("verify") == "verify_none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _field(name: str, value: bytes) -> bytes:
    return _short(name) + value


_NUMBERS = {
    "b": ">b",
    "B": ">B",
    "s": ">h",
    "u": ">H",
    "I": ">i",
    "i": ">I",
    "l": ">q",
    "T": ">Q",
    "f": ">f",
    "d": ">d",
}


def _table(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    end = at + 4 + struct.unpack_from(">I", data, at)[0]
    at += 4
    table: dict[str, Any] = {}
    while at < end:
        name = data[at + 1 : at + 1 + data[at]].decode()
        table[name], at = _value(data, at + 1 + data[at])
    return table, end


def _value(data: bytes, at: int) -> tuple[Any, int]:
    kind, at = chr(data[at]), at + 1
    if kind in _NUMBERS:
        return struct.unpack_from(_NUMBERS[kind], data, at)[0], at + struct.calcsize(_NUMBERS[kind])
    if kind == "t":
        return bool(data[at]), at + 1
    if kind == "V":
        return None, at
    if kind == "F":
        return _table(data, at)
    length = struct.unpack_from(">I", data, at)[0]
    raw, end = data[at + 4 : at + 4 + length], at + 4 + length
    return (raw.decode(errors="replace") if kind == "S" else raw), end
