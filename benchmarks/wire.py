"""The thinnest HTTP client: one kept-alive connection, one request at a time, JSON both ways. What it costs is not
counted as the server's cost, so it must be little."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec

HEAD = "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"


class Refused(Exception):
    """The server answered with an error."""


class Connection(asyncio.Protocol):
    """Opens at the first request, and again after the server has hung up."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[Any] | None = None

    async def post(self, path: str, body: Any) -> Any:
        return await self._ask("POST", path, msgspec.json.encode(body))

    async def get(self, path: str) -> Any:
        return await self._ask("GET", path, b"")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _ask(self, method: str, path: str, body: bytes) -> Any:
        loop = asyncio.get_running_loop()
        if self._transport is None:
            name, _, port = self._host.partition(":")
            await loop.create_connection(lambda: self, name, int(port))
        assert self._transport is not None
        self._answer = loop.create_future()
        self._transport.write(HEAD.format(method=method, path=path, host=self._host, length=len(body)).encode() + body)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if len(rest) < length:
            return
        self._buffer = b""
        if self._answer is None or self._answer.done():
            return
        if head[9:12] in (b"200", b"204"):
            self._answer.set_result(msgspec.json.decode(rest) if rest else None)
        else:
            self._answer.set_exception(Refused(f"{head[9:12].decode()}: {rest.decode()}"))

    def connection_lost(self, problem: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the server hung up"))
