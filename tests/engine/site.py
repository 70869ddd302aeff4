"""A web site on loopback, in the test's own loop, that remembers what it was asked."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler


class Site:
    """`asked` are the requests so far; `answers` says what a path answers, which is else its own name as JSON."""

    def __init__(self, port: int, scheme: str) -> None:
        self.port, self.scheme = port, scheme
        self.asked: list[Any] = []
        self.answers: dict[str, Callable[[RequestHandler], Any]] = {}

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


class _Handler(RequestHandler):
    def initialize(self, site: Site) -> None:
        self.site = site

    async def prepare(self) -> None:
        self.site.asked.append(self.request)
        answer = self.site.answers.get(self.request.path)
        waits = answer(self) if answer else None
        if hasattr(waits, "__await__") and not self._finished:
            await waits
        if not self._finished:
            self.finish({"path": self.request.path})


@contextlib.asynccontextmanager
async def serve(tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    listener, port = bind_unused_port()
    site = Site(port, "https" if tls else "http")
    server = HTTPServer(Application([("/.*", _Handler, {"site": site})]), ssl_options=tls)
    server.add_sockets([listener])
    try:
        yield site
    finally:
        server.stop()
        await server.close_all_connections()
