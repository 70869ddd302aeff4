"""What becomes of a request before anybody answers it: its head, its size and its time are checked while it comes in.

What is too much is read to its end without being kept, within bounds, so that the sender sees the answer that says so.
"""

import logging
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import Application

from agentspan.errors import AgentspanError, BadInput, TooLarge, Unavailable
from agentspan.server import limits
from agentspan.server.handler import encode, error_body

log = logging.getLogger("agentspan.server")

DRAINED_BYTES = 1 << 30
"""So much over the limit is read and thrown away."""
MOST_CONNECTIONS = 20_000
OWN_FILES = 128
"""Open files that a server needs for itself: the database, the log, the dashboard, calls of models."""
FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


class Intake(HTTPServer):
    """Takes no more connections than there is room for, and none that is silent for ever."""

    most = MOST_CONNECTIONS
    _refused = 0

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        if len(self._connections) < self.most:
            super().handle_stream(stream, address)
            return
        self._refused += 1
        if self._refused & (self._refused - 1) == 0:
            log.warning("%d connections were refused: %d are open, as many as may be", self._refused, self.most)
        stream.write(FULL)
        stream.close()


def intake(app: Application, max_body_bytes: int) -> Intake:
    server = Intake(
        app,
        max_body_size=max_body_bytes + DRAINED_BYTES,
        max_header_size=limits.HEAD_BYTES,
        idle_connection_timeout=limits.IDLE_SECONDS,
        body_timeout=limits.BODY_SECONDS,
    )
    server.most = most_connections()
    return server


def most_connections() -> int:
    """As many as the process may have open files, without those that it needs itself."""
    try:
        import resource
    except ImportError:  # Windows
        return MOST_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if files == resource.RLIM_INFINITY else max(64, min(MOST_CONNECTIONS, files - OWN_FILES))


class BoundedApplication(Application):
    """Answers what is too much by itself, and counts the bytes of all bodies that are coming in."""

    def __init__(self, max_body_bytes: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.max_body_bytes = max_body_bytes
        self.held_bytes = 0

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        return _Bounded(super().start_request(server_conn, request_conn), request_conn, self)


class _Bounded(HTTPMessageDelegate):
    """Passes a request on as long as it is within the limits."""

    def __init__(self, inner: HTTPMessageDelegate, connection: Any, app: BoundedApplication) -> None:
        self._inner, self._connection, self._app = inner, connection, app
        self._problem: AgentspanError | None = None
        self._is_head = self._is_form = False
        self._seen = self._fields = 0

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        self._is_head = start_line.method == "HEAD"
        self._is_form = headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        length = headers.get("Content-Length", "0")
        self._problem = limits.head_problem(start_line.path, headers.get_all())
        if length.isdecimal() and int(length) > self._app.max_body_bytes:
            self._problem = self._too_large()
        return None if self._problem else self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._problem:
            return None
        self._seen += len(chunk)
        self._app.held_bytes += len(chunk)
        self._fields += chunk.count(b"&") if self._is_form else 0
        self._problem = self._body_problem()
        if self._problem:
            self._let_go()
            self._inner.on_connection_close()
            return None
        return self._inner.data_received(chunk)

    def _body_problem(self) -> AgentspanError | None:
        if self._seen > self._app.max_body_bytes:
            return self._too_large()
        if self._app.held_bytes > limits.BODIES_AT_ONCE * self._app.max_body_bytes:
            return Unavailable("too much is being sent to this server at once; try again")
        if self._fields >= limits.PARAMETERS:
            return BadInput(f"the form has more than {limits.PARAMETERS} fields")
        return None

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than the {self._app.max_body_bytes} bytes that this server accepts")

    def _let_go(self) -> None:
        self._app.held_bytes -= self._seen
        self._seen = 0

    def finish(self) -> None:
        self._let_go()
        if self._problem:
            self._refuse(self._problem)
        else:
            self._inner.finish()

    def _refuse(self, problem: AgentspanError) -> None:
        body = encode(error_body(problem, problem.status))
        headers = HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(body))})
        line = ResponseStartLine("HTTP/1.1", problem.status, HTTPStatus(problem.status).phrase)
        try:
            self._connection.write_headers(line, headers, b"" if self._is_head else body)
            self._connection.finish()
        except StreamClosedError:
            log.debug("who sent too much did not wait for the answer")

    def on_connection_close(self) -> None:
        self._let_go()
        if not self._problem:
            self._inner.on_connection_close()
