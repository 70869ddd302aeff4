"""The server: the application over an engine, and the process that serves it until it is told to stop."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Collection, Coroutine, Iterator
from typing import Any

import tornado.netutil
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.routing import URLSpec
from tornado.web import Application, RequestHandler

import agentspan
from agentspan.config import Settings, mask_url
from agentspan.engine.secrets import check_start
from agentspan.engine.tenants import Tenants
from agentspan.errors import AgentspanError, ConfigurationProblem
from agentspan.server import logs, openapi, routes, ui
from agentspan.server.auth import Door
from agentspan.server.dashboard import Dashboard
from agentspan.server.handler import Context, Handler, Unknown
from agentspan.server.intake import BoundedApplication, intake
from agentspan.server.limits import Rates
from agentspan.server.maintenance import enabled_providers
from agentspan.server.oidc import Provider
from agentspan.server.origin import is_loopback
from agentspan.server.record import Claim
from agentspan.server.throttle import Throttle
from agentspan.server.timings import Timings

log = logging.getLogger("agentspan.server")

STRONG_CHARS = 16


def make_app(
    tenants: Tenants, settings: Settings, dashboard: Dashboard | None = None, paths: Collection[str] | None = None
) -> Application:
    """The whole API over all tenants, and the way to the dashboard; or of the API those `paths` alone."""
    door = Door(settings, tenants.access)
    shown, rates = dashboard or Dashboard(is_on=settings.ui), Rates(settings.rates, time.monotonic)
    context = Context(tenants, settings, door, Timings(), shown, Throttle(time.monotonic), Provider(settings), rates)
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
    server = intake(app, settings.max_body_bytes)
    server.add_sockets(sockets)
    return server


def serve(settings: Settings) -> int:
    """Run a server until SIGTERM or SIGINT; the exit code. What stops the start is one sentence on stderr."""
    return run(_serve(settings), settings)


def run(main: Coroutine[Any, Any, None], settings: Settings) -> int:
    """Run a process of the server side to its end; the exit code."""
    logs.begin(settings)
    try:
        asyncio.run(main)
    except AgentspanError as problem:
        print(f"agentspan: {problem.message}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    check_bind(settings)
    check_start(settings)
    if 0 < len(settings.auth_secret or "") < STRONG_CHARS and not is_loopback(settings.host):
        log.warning("AGENTSPAN_AUTH_SECRET can be guessed: take %d random characters or more", STRONG_CHARS)
    sockets = bind(settings)
    claim = Claim(settings.data_dir)
    try:
        tenants = await Tenants.open(settings)
        try:
            url = address(settings, sockets)
            dashboard = Dashboard(is_on=settings.ui)
            server = listen(make_app(tenants, settings, dashboard), sockets, settings)
            with told_to_stop() as stop:
                if claim:
                    claim.write(url, mask_url(settings.database_url), agentspan.__version__)
                print(f"agentspan {agentspan.__version__} serves {url}", flush=True)
                loading = asyncio.create_task(_preload(tenants))
                if settings.ui_warm:
                    dashboard.begin(url)
                await stop.wait()
                loading.cancel()
            await asyncio.gather(dashboard.stop(), shut_down(tenants, server, settings))
        finally:
            await tenants.close()
    finally:
        claim.release()


async def _preload(tenants: Tenants) -> None:
    """Load what model providers need while nobody waits for it; without a provider, nobody ever will."""
    if not enabled_providers(os.environ):
        return
    try:
        await tenants.home.preload()
    except AgentspanError as problem:
        log.warning("%s", problem.message)


async def shut_down(tenants: Tenants, server: HTTPServer, settings: Settings) -> None:
    """Finish the work within the grace period, then hang up; what is not finished is handed back."""
    log.info("draining for at most %g s", settings.drain_seconds)
    await tenants.drain(settings.drain_seconds)
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


def _log_request(handler: RequestHandler) -> None:
    request: HTTPServerRequest = handler.request
    level = logging.WARNING if handler.get_status() >= 500 else logging.DEBUG
    if log.isEnabledFor(level):
        status, ms = handler.get_status(), round(request.request_time() * 1e3, 1)
        path = handler.place if isinstance(handler, Handler) else request.path
        told = {"method": request.method, "path": path, "status": status, "ms": ms}
        log.log(level, "%d %s %s %.1f ms", status, request.method, path, ms, extra={"about": told})


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
