"""The way to a process on this machine's loopback: a request, or a websocket, is handed on and the answer brought back.

Each request has a connection of its own and is asked as HTTP/1.0, so that the end of the connection is the end of the
answer. A websocket is not understood but tunnelled. Both go no faster than who reads them.
"""

import asyncio
from collections.abc import Iterable

from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPOutputError,
    HTTPServerRequest,
    parse_response_start_line,
)
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError
from tornado.tcpclient import TCPClient
from tornado.web import RequestHandler

CHUNK_BYTES = HEAD_BYTES = 64 * 1024
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 120.0

ONE_HOP = frozenset(
    {"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection"}
    | {"Te", "Trailer", "Transfer-Encoding", "Upgrade"}
)
"""Headers that are about one connection and not about the request."""


class Gone(Exception):
    """Nobody answers there, or not to the end of the answer's head."""


def is_websocket(request: HTTPServerRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def forward(handler: RequestHandler, port: int, headers: HTTPHeaders) -> None:
    """Answer a request as the process at the port does; `headers` are sent in place of the request's own. Gone."""
    headers["Connection"] = "close"
    upstream = await _connect(port)
    try:
        status, found = await _ask(upstream, handler.request, "HTTP/1.0", headers)
        handler.set_status(status)
        _take_over(handler, found)
        await handler.flush()
        if status != 304 and handler.request.method != "HEAD":
            await _pour(upstream, handler)
        await handler.finish()
    except (StreamClosedError, HTTPOutputError):
        pass  # the browser has gone; or the process has, and the browser sees that the answer was cut
    finally:
        upstream.close()


async def tunnel(handler: RequestHandler, port: int, headers: HTTPHeaders) -> None:
    """Join a browser's websocket to the process at the port until either ends. Gone."""
    headers["Connection"], headers["Upgrade"] = "Upgrade", "websocket"
    upstream = await _connect(port)
    try:
        status, found = await _ask(upstream, handler.request, "HTTP/1.1", headers)
        if status != 101:
            handler.set_status(status)
            await handler.finish()
            return
        browser = handler.detach()
        browser.set_nodelay(True)
        try:
            await browser.write(_lines("HTTP/1.1 101 Switching Protocols", found.get_all()))
            await _join(browser, upstream)
        except StreamClosedError:
            pass
        finally:
            browser.close()
    finally:
        upstream.close()


async def _connect(port: int) -> IOStream:
    try:
        stream = await TCPClient().connect("127.0.0.1", port, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError) as problem:
        raise Gone from problem
    stream.set_nodelay(True)
    return stream


async def _ask(
    upstream: IOStream, request: HTTPServerRequest, version: str, headers: HTTPHeaders
) -> tuple[int, HTTPHeaders]:
    """Send the request; the status and the headers of the answer."""
    try:
        await upstream.write(_lines(f"{request.method} {request.uri} {version}", headers.get_all()) + request.body)
        reading = upstream.read_until(b"\r\n\r\n", max_bytes=HEAD_BYTES)
        head = await asyncio.wait_for(reading, ANSWER_SECONDS)
        first, _, rest = head.decode("latin1").partition("\r\n")
        return parse_response_start_line(first).code, HTTPHeaders.parse(rest)
    except (StreamClosedError, TimeoutError, HTTPInputError, UnsatisfiableReadError) as problem:
        raise Gone from problem


def _lines(first: str, headers: Iterable[tuple[str, str]]) -> bytes:
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin1")


def _take_over(handler: RequestHandler, found: HTTPHeaders) -> None:
    """Give the answer the headers of that of the process."""
    handler.clear_header("Content-Type")
    if "Etag" in found or "Last-Modified" in found:
        handler.set_header("Cache-Control", "no-cache")
    for name in set(found) - ONE_HOP - {"Server", "Date"}:
        handler.clear_header(name)
        for value in found.get_list(name):
            handler.add_header(name, value)


async def _pour(upstream: IOStream, handler: RequestHandler) -> None:
    """Write the answer's body to the browser as it comes."""
    while True:
        try:
            chunk = await upstream.read_bytes(CHUNK_BYTES, partial=True)
        except StreamClosedError:
            return
        handler.write(chunk)
        await handler.flush()


async def _join(one: IOStream, other: IOStream) -> None:
    """Write what each side says to the other, until either ends."""
    ways = [asyncio.ensure_future(_pump(one, other)), asyncio.ensure_future(_pump(other, one))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pump(source: IOStream, target: IOStream) -> None:
    while True:
        await target.write(await source.read_bytes(CHUNK_BYTES, partial=True))
