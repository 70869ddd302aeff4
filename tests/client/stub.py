"""A server of a few lines that speaks HTTP on loopback, for what a real one does too rarely."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """What the stub answers; `text` goes out as it is, `cut` ends the connection before an answer."""

    status: int = 200
    body: Any = None
    text: str | None = None
    kind: str = "application/json"
    cut: bool = False


Answer = Callable[[Request], Reply]


@dataclass
class Stub:
    """Answers by `answer`; keeps what was asked."""

    answer: Answer
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, again on the same port."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _read(reader)
            self.requests.append(request)
            reply = self.answer(request)
            if not reply.cut:
                payload = (json.dumps(reply.body) if reply.text is None else reply.text).encode()
                head = f"HTTP/1.1 {reply.status} X\r\nContent-Type: {reply.kind}\r\nConnection: close\r\n"
                if reply.kind != "text/event-stream":
                    head += f"Content-Length: {len(payload)}\r\n"
                writer.write(f"{head}\r\n".encode() + payload)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def stub(answer: Answer) -> AsyncIterator[Stub]:
    """A stub while this lasts."""
    server = Stub(answer)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def frame(number: int | None, kind: str, **data: Any) -> str:
    """One server-sent event."""
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {kind}\ndata: {json.dumps({'type': kind, 'executionId': 'run', **data})}\n\n"


async def _read(reader: asyncio.StreamReader) -> Request:
    method, path, _ = (await reader.readuntil(b"\r\n")).decode().split()
    headers = {}
    while line := (await reader.readuntil(b"\r\n")).decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, json.loads(content) if content else None)
