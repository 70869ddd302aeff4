"""A real MCP server on loopback, in a thread of its own, that remembers the requests and the calls it was sent."""

import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import anyio
import uvicorn
from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel
from tornado.testing import bind_unused_port

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(40)


class Where(BaseModel):
    """A place."""

    city: str
    country: str = "fr"


class McpSite:
    """`headers` of each request, `called` tools with their arguments. `token`: what Authorization must bear. `down`: so
    many calls get a 503 before one is heard. `moved`: where everybody is sent. `slow` waits for `hold`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/mcp"
        self.headers: list[dict[str, str]] = []
        self.called: list[tuple[str, Any]] = []
        self.token = ""
        self.down = 0
        self.moved = ""
        self.hold = threading.Event()
        self.begun = threading.Event()

    def guarded(self, app: App) -> App:
        async def guard(scope: Scope, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.headers.append(headers)
            if self.token and headers.get("authorization") != f"Bearer {self.token}":
                return await _answer(send, 401)
            if self.moved:
                return await _answer(send, 307, [(b"location", self.moved.encode())])
            if self.down and scope["method"] == "POST":
                self.down -= 1
                return await _answer(send, 503)
            return await app(scope, receive, send)

        return guard


async def _answer(send: Any, status: int, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})
    await send({"type": "http.response.body", "body": b""})


def _tools(site: McpSite) -> MCPServer:
    server = MCPServer("site", log_level="ERROR")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        site.called.append(("add", (a, b)))
        return a + b

    @server.tool()
    def pay(amount: int) -> str:
        """Pay an amount."""
        site.called.append(("pay", amount))
        return f"paid {amount}"

    @server.tool()
    def whoami() -> str:
        """Repeat the last authorization."""
        return f"you are {site.headers[-1].get('authorization', 'nobody')}"

    @server.tool()
    def fail() -> str:
        """Always fails."""
        site.called.append(("fail", None))
        raise ToolError("the till is empty")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def slow() -> str:
        """Answers when it may."""
        site.called.append(("slow", None))
        site.begun.set()
        await anyio.to_thread.run_sync(site.hold.wait, 20)
        return "at last"

    @server.tool()
    async def pay_slowly(amount: int) -> str:
        """Pay, and answer when it may."""
        site.called.append(("pay_slowly", amount))
        await anyio.to_thread.run_sync(site.hold.wait, 20)
        return f"paid {amount}"

    @server.tool()
    def weather(where: Where) -> dict[str, str]:
        """The weather of a place."""
        return {"city": where.city, "country": where.country, "sky": "blue"}

    @server.tool(structured_output=False)
    def big(chars: int) -> str:
        """A long text."""
        return "x" * chars

    @server.tool()
    def picture() -> Image:
        """A picture."""
        return Image(data=PNG, format="png")

    return server


@contextlib.contextmanager
def mcp_site(*, json: bool = False, stateless: bool = False) -> Iterator[McpSite]:
    """A site that answers as streams or as JSON, with sessions or without."""
    listener, port = bind_unused_port()
    site = McpSite(port)
    app = _tools(site).streamable_http_app(json_response=json, stateless_http=stateless)
    server = uvicorn.Server(uvicorn.Config(site.guarded(app), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.hold.set()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
