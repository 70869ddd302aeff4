"""The server: the application over an engine, and the process that serves it until it is told to stop."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Collection, Coroutine, Iterator
from typing import Any

import tornado.netutil
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine
from tornado.routing import URLSpec
from tornado.web import Application, RequestHandler

import agentspan
from agentspan.config import Settings, mask_url
from agentspan.engine.engine import Engine
from agentspan.errors import AgentspanError, ConfigurationProblem, TooLarge
from agentspan.server import openapi, routes, ui
from agentspan.server.auth import Door
from agentspan.server.dashboard import Dashboard
from agentspan.server.handler import Context, Unknown, encode, error_body
from agentspan.server.maintenance import enabled_providers
from agentspan.server.origin import is_loopback
from agentspan.server.record import Claim
from agentspan.server.timings import Timings

log = logging.getLogger("agentspan.server")

DRAINED_BYTES = 1 << 30
"""So much over the limit is read and thrown away, so that the sender of a body that is too large sees the answer."""


def make_app(
    engine: Engine, settings: Settings, dashboard: Dashboard | None = None, paths: Collection[str] | None = None
) -> Application:
    """The whole API over an engine, and the way to the dashboard; or of the API those `paths` alone."""
    context = Context(engine, settings, Door(settings), Timings(), dashboard or Dashboard(is_on=settings.ui))
    specs = [
        URLSpec(routes.pattern(route.path), route.handler, {"route": route.path, "context": context})
        for route in routes.collect(routes.ROUTES, openapi.ROUTES)
        if paths is None or route.path in paths
    ]
    pages = ui.PAGES if paths is None else ()
    specs += [URLSpec(pattern, page, {"route": name, "context": context}) for pattern, name, page in pages]
    return BoundedApplication(
        settings.max_body_bytes,
        specs,
        default_handler_class=Unknown,
        default_handler_args={"route": "", "context": context},
        log_function=_log_request,
    )


def listen(app: Application, sockets: list[socket.socket], settings: Settings) -> HTTPServer:
    """Serve an application on bound sockets."""
    server = HTTPServer(app, max_body_size=settings.max_body_bytes + DRAINED_BYTES, max_header_size=64 * 1024)
    server.add_sockets(sockets)
    return server


def serve(settings: Settings) -> int:
    """Run a server until SIGTERM or SIGINT; the exit code. What stops the start is one sentence on stderr."""
    return run(_serve(settings), settings)


def run(main: Coroutine[Any, Any, None], settings: Settings) -> int:
    """Run a process of the server side to its end; the exit code."""
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        asyncio.run(main)
    except AgentspanError as problem:
        print(f"agentspan: {problem.message}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    check_bind(settings)
    sockets = bind(settings)
    claim = Claim(settings.data_dir)
    try:
        engine = await Engine.open(settings)
        try:
            url = address(settings, sockets)
            dashboard = Dashboard(is_on=settings.ui)
            server = listen(make_app(engine, settings, dashboard), sockets, settings)
            with told_to_stop() as stop:
                if claim:
                    claim.write(url, mask_url(settings.database_url), agentspan.__version__)
                print(f"agentspan {agentspan.__version__} serves {url}", flush=True)
                loading = asyncio.create_task(_preload(engine))
                if settings.ui_warm:
                    dashboard.begin(url)
                await stop.wait()
                loading.cancel()
            await asyncio.gather(dashboard.stop(), shut_down(engine, server, settings))
        finally:
            await engine.close()
    finally:
        claim.release()


async def _preload(engine: Engine) -> None:
    """Load what model providers need while nobody waits for it; without a provider, nobody ever will."""
    if not enabled_providers(os.environ):
        return
    try:
        await engine.preload()
    except AgentspanError as problem:
        log.warning("%s", problem.message)


async def shut_down(engine: Engine, server: HTTPServer, settings: Settings) -> None:
    """Finish the work within the grace period, then hang up; what is not finished is handed back."""
    log.info("draining for at most %g s", settings.drain_seconds)
    await engine.drain(settings.drain_seconds)
    server.stop()
    await server.close_all_connections()


def check_bind(settings: Settings) -> None:
    """Refuse to be reachable by others without credentials, unless told to."""
    if is_loopback(settings.host) or settings.auth_secret or settings.allow_insecure_bind:
        return
    raise ConfigurationProblem(
        f"anybody who reaches {settings.host} could run agents here: set AGENTSPAN_AUTH_KEY and AGENTSPAN_AUTH_SECRET,"
        " or AGENTSPAN_ALLOW_INSECURE_BIND=true where the network is safe"
    )


def bind(settings: Settings) -> list[socket.socket]:
    try:
        return tornado.netutil.bind_sockets(settings.port, settings.host)
    except OSError as problem:
        raise ConfigurationProblem(_why_not_bound(problem, settings)) from problem


def address(settings: Settings, sockets: list[socket.socket]) -> str:
    """Where this machine reaches the server: with the real port, also where any free one was asked for."""
    host = settings.host
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{sockets[0].getsockname()[1]}"


@contextlib.contextmanager
def told_to_stop() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process as if nobody had listened."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def told(number: int) -> None:
        stop.set()
        restore()
        signal.signal(number, signal.SIG_DFL)

    def restore() -> None:
        for each in signals:
            with contextlib.suppress(NotImplementedError, ValueError):
                loop.remove_signal_handler(each)

    try:
        for each in signals:
            loop.add_signal_handler(each, told, each)
    except NotImplementedError:  # Windows
        for each in signals:
            signal.signal(each, lambda number, _: loop.call_soon_threadsafe(stop.set))
    try:
        yield stop
    finally:
        restore()


class BoundedApplication(Application):
    """Answers 413 to a body over the limit without keeping it."""

    def __init__(self, max_body_bytes: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_body_bytes = max_body_bytes

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        return _Bounded(super().start_request(server_conn, request_conn), request_conn, self._max_body_bytes)


class _Bounded(HTTPMessageDelegate):
    """Passes a request on as long as its body is within the limit."""

    def __init__(self, inner: HTTPMessageDelegate, connection: Any, limit: int) -> None:
        self._inner: HTTPMessageDelegate | None = inner
        self._connection, self._limit, self._seen = connection, limit, 0

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        length = headers.get("Content-Length", "0")
        if length.isdecimal() and int(length) > self._limit:
            self._inner = None
        return self._inner.headers_received(start_line, headers) if self._inner else None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._seen += len(chunk)
        if self._seen > self._limit:
            self._inner = None
        return self._inner.data_received(chunk) if self._inner else None

    def finish(self) -> None:
        if self._inner:
            self._inner.finish()
            return
        problem = TooLarge(f"the body is larger than the {self._limit} bytes that this server accepts")
        body = encode(error_body(problem, problem.status))
        headers = HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(body))})
        line = ResponseStartLine("HTTP/1.1", problem.status, "Content Too Large")
        self._connection.write_headers(line, headers, body)
        self._connection.finish()

    def on_connection_close(self) -> None:
        if self._inner:
            self._inner.on_connection_close()


def _log_request(handler: RequestHandler) -> None:
    request: HTTPServerRequest = handler.request
    level = logging.WARNING if handler.get_status() >= 500 else logging.DEBUG
    log.log(level, "%d %s %s %.1f ms", handler.get_status(), request.method, request.path, request.request_time() * 1e3)


def _why_not_bound(problem: OSError, settings: Settings) -> str:
    where = f"port {settings.port} of {settings.host}"
    match problem.errno:
        case errno.EADDRINUSE:
            return f"{where} is taken by another program; choose another with --port, or 0 for any free one"
        case errno.EACCES:
            return f"{where} may not be opened by this user; choose one of 1024 or above"
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address {settings.host}"
        case _:
            return f"{where} cannot be opened: {problem.strerror or problem}"
