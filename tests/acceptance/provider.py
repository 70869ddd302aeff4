"""A model provider in this process: it speaks OpenAI's protocol on loopback, in a thread of its own, and remembers
every request with the time at which it came."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

Json = dict[str, Any]


class Asked(NamedTuple):
    """A request: when it came (ms since the epoch), its number, what was said before, and all of its body."""

    at: float
    number: int
    messages: list[Json]
    body: Json

    @property
    def turn(self) -> int:
        """From 1: how many answers it has seen, and one."""
        return 1 + sum(each["role"] == "assistant" for each in self.messages)

    @property
    def prompt(self) -> str:
        return str(next(each["content"] for each in self.messages if each["role"] == "user"))


class Reply(NamedTuple):
    """What it answers, after so many seconds: a text, and calls by name and arguments.

    With `rest` it refuses for the rate instead, and wants to be left alone for so many seconds.
    """

    text: str
    calls: Sequence[tuple[str, Json]] = ()
    seconds: float = 0.0
    rest: float | None = None


class Provider:
    """`url` is the base_url of its models; `asked` all requests so far; `open` how many wait at this moment."""

    def __init__(self, reply: Callable[[Asked], Reply]) -> None:
        self.reply, self.asked, self.open, self.url = reply, list[Asked](), 0, ""
        self.answered: Callable[[Asked], None] = lambda asked: None


class Chat(RequestHandler):
    def initialize(self, provider: Provider) -> None:
        self.provider = provider

    async def post(self) -> None:
        provider = self.provider
        body = json.loads(self.request.body)
        asked = Asked(time.time() * 1000, len(provider.asked) + 1, body["messages"], body)
        provider.asked.append(asked)
        reply = provider.reply(asked)
        provider.open += 1
        try:
            await asyncio.sleep(reply.seconds)
        finally:
            provider.open -= 1
        if reply.rest is not None:
            self.set_status(429)
            self.set_header("Retry-After", str(reply.rest))
            self.finish({"error": {"message": "Slow down", "type": "rate_limit", "code": None}})
            return
        calls = [
            {
                "index": index,
                "id": f"c{asked.number}-{index}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for index, (name, arguments) in enumerate(reply.calls)
        ]
        self.set_header("Content-Type", "text/event-stream")
        delta = {"role": "assistant", "content": reply.text, **({"tool_calls": calls} if calls else {})}
        for chunk in (
            {"choices": [{"index": 0, "delta": delta}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}},
        ):
            self.write(f"data: {json.dumps({'id': 'x', 'object': 'chat.completion.chunk', 'model': 'm', **chunk})}\n\n")
        self.write("data: [DONE]\n\n")
        with suppress(StreamClosedError):
            await self.finish()
            provider.answered(asked)


@contextmanager
def providing(reply: Callable[[Asked], Reply]) -> Iterator[Provider]:
    """A provider for the time of a test."""
    provider, ready, loop = Provider(reply), threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        socket, port = bind_unused_port()
        server = HTTPServer(Application([("/v1/chat/completions", Chat, {"provider": provider})], log_function=quiet))
        server.add_socket(socket)
        provider.url = f"http://127.0.0.1:{port}/v1"
        ready.set()
        await ended.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="provider")
    thread.start()
    try:
        assert ready.wait(10)
        yield provider
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def quiet(_: RequestHandler) -> None:
    pass
