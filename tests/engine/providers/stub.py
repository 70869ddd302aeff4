"""A provider on loopback that does what a test tells it to, in OpenAI's protocol or another."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler


class Stub:
    """What the provider was asked, and what it does next."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.abandoned = asyncio.Event()
        self.reached = asyncio.Event()
        self.act: Callable[[Chat], Awaitable[None]] = says("Hello")

    async def was_abandoned(self) -> None:
        """Wait until the caller has closed its connection."""
        await asyncio.wait_for(self.abandoned.wait(), 30)


class Chat(RequestHandler):
    def initialize(self, stub: Stub) -> None:
        self.stub = stub

    async def post(self) -> None:
        self.stub.paths.append(self.request.path)
        self.stub.asked.append(json.loads(self.request.body))
        self.stub.keys.append(self.request.headers.get("Authorization"))
        self.stub.reached.set()
        await self.stub.act(self)

    def on_connection_close(self) -> None:
        self.stub.abandoned.set()

    async def send(self, *chunks: dict[str, Any]) -> None:
        self.set_header("Content-Type", "text/event-stream")
        for chunk in chunks:
            self.write(f"data: {json.dumps(chunk)}\n\n")
            await self.flush()


@asynccontextmanager
async def serving() -> AsyncIterator[Stub]:
    socket, port = bind_unused_port()
    stub = Stub(f"http://127.0.0.1:{port}/v1")
    server = HTTPServer(Application([(".*", Chat, {"stub": stub})]))
    server.add_socket(socket)
    try:
        yield stub
    finally:
        server.stop()
        await server.close_all_connections()


# What a provider may do


def says(*pieces: str, reason: str | None = "stop", usage: dict[str, Any] | None = None) -> Any:
    """Stream a text in these pieces."""
    return streams(*(delta(content=piece) for piece in pieces), end(reason), counted(usage or TOKENS))


def streams(*chunks: dict[str, Any]) -> Any:
    """Stream these chunks, whatever they are."""

    async def act(chat: Chat) -> None:
        await chat.send(*chunks)
        chat.write("data: [DONE]\n\n")

    return act


def gives(body: dict[str, Any]) -> Any:
    """Answer in one piece."""

    async def act(chat: Chat) -> None:
        chat.write(body)

    return act


def fails(status: int, message: str, code: str | None = None, **headers: str) -> Any:
    """Answer with an error."""

    async def act(chat: Chat) -> None:
        chat.set_status(status)
        for name, value in headers.items():
            chat.set_header(name.replace("_", "-"), value)
        chat.write({"error": {"message": message, "type": "error", "code": code}})

    return act


def stalls(*chunks: dict[str, Any]) -> Any:
    """Stream these chunks and then nothing, without ending."""

    async def act(chat: Chat) -> None:
        if chunks:
            await chat.send(*chunks)
        await chat.stub.abandoned.wait()

    return act


def goes_on() -> Any:
    """Count, for as long as somebody listens."""

    async def act(chat: Chat) -> None:
        with suppress(StreamClosedError):
            for number in itertools.count():
                await chat.send(delta(content=f"{number} "))

    return act


# The chunks of a stream


def delta(**fields: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": fields}]}


def call(index: int, arguments: str, name: str | None = None, call_id: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    piece = {"index": index, "function": function} | ({"id": call_id, "type": "function"} if call_id else {})
    return delta(tool_calls=[piece])


def end(reason: str | None) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": 0, "delta": {}, "finish_reason": reason}],
    }


def counted(usage: dict[str, Any]) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [], "usage": usage}


TOKENS = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
