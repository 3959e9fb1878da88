"""An HTTP server for whoever watches over a process: ``/health`` for its orchestrator, ``/metrics`` for Prometheus."""

import dataclasses
import json
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from workqueue.events import Health

_REQUEST_TIMEOUT = 5.0  # seconds that a client may take to send its request

Exposition = Callable[[str], tuple[bytes, str]]
"""Given an Accept header, returns the metrics and their content type, as ``Metrics.exposition`` does."""


class Probe:
    """Serves ``/health`` and, if there are metrics, ``/metrics``, in threads of its own.

    * ``port``: where to listen; 0 for any free one, see ``address``.
    * ``health``: asked at each request. ``/health`` is its answer as JSON, with status 200 while the worker is
      consuming or draining, else 503.
    * ``exposition``: what ``/metrics`` says.
    * ``host``: the address to listen at. Whoever can reach it can read the metrics: there is no authentication.

    Raises OSError if it cannot listen there. Use it in a ``with`` statement, or call ``close``.
    """

    def __init__(
        self,
        port: int,
        health: Callable[[], Health],
        exposition: Exposition | None = None,
        *,
        host: str = "127.0.0.1",
    ) -> None:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]

        class Handler(_Handler):
            pages = {"/health": lambda _: _health(health())}  # noqa: RUF012 - nobody changes it once it is complete

        if exposition is not None:
            Handler.pages["/metrics"] = lambda accept: (HTTPStatus.OK, *exposition(accept))

        class Server(_Server):
            address_family = family

        self._server = Server((str(where[0]), int(where[1])), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="workqueue probe", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Its URL, without a path."""
        host, port = self._server.server_address[:2]
        shown = host.decode() if isinstance(host, bytes) else host
        return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


Page = Callable[[str], tuple[HTTPStatus, bytes, str]]


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        # Not HTTPServer's: it asks DNS for this machine's name, which can take longer than a probe waits.
        socketserver.TCPServer.server_bind(self)


class _Handler(BaseHTTPRequestHandler):
    pages: dict[str, Page]
    timeout = _REQUEST_TIMEOUT
    server_version = "workqueue"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        page = self.pages.get(path)
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND, f"There are: {', '.join(sorted(self.pages))}")
            return
        status, body, content_type = page(self.headers.get("Accept", ""))
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the standard library calls it by this name

    def log_message(self, *_: object) -> None:
        """Log nothing: a probe comes every few seconds, and what it asks is no news."""


def _health(health: Health) -> tuple[HTTPStatus, bytes, str]:
    fine = health.consuming or health.draining
    status = HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE
    return status, json.dumps(dataclasses.asdict(health)).encode() + b"\n", "application/json"
