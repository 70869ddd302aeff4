"""Speaks to MCP servers over HTTP, under the policy of outgoing calls: which tools they have, and calls of them.

Each exchange has a session of its own, so that any server of ours can make it. Import this module by `optional.mcp()`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

import agentspan
from agentspan.engine.outgoing import MOST_REDIRECTS, Broken, Outgoing, Refused

Json = dict[str, Any]

MOST_PAGES = 20
"""Of a list of tools."""
MOST_LISTED = 1_000
PLAIN = ("", "identity")
"""The encodings of an answer that are read: what is compressed may become too large."""


class Failed(Exception):
    """An exchange that failed. `status`: what HTTP answered instead, 0 if nothing."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class McpServer:
    """The MCP server at a URL, which is sent these headers with each request. What its methods raise: Refused, Failed,
    TimeoutError."""

    def __init__(self, outgoing: Outgoing, url: str, headers: Mapping[str, str], *, most_bytes: int) -> None:
        self.outgoing, self.url, self.most_bytes = outgoing, outgoing.url(url), most_bytes
        self.headers = {"User-Agent": f"agentspan/{agentspan.__version__}", "Accept-Encoding": "identity", **headers}

    async def tools(self, seconds: float) -> list[Json]:
        """Its tools as `tools/list` has them: name, description, inputSchema, annotations."""
        found: list[Json] = []
        async with self._session(seconds) as client:
            cursor = None
            for _ in range(MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                found += [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in page.tools]
                cursor = page.next_cursor
                if not cursor or len(found) >= MOST_LISTED:
                    break
        return found[:MOST_LISTED]

    async def call(self, name: str, arguments: Json, seconds: float) -> CallToolResult:
        """The result of a call of one tool, which may say that it failed."""
        async with self._session(seconds) as client:
            return await client.call_tool(name, arguments)

    @contextlib.asynccontextmanager
    async def _session(self, seconds: float) -> AsyncIterator[Client]:
        bridge = _Bridge(await self.outgoing.loaded(), self.most_bytes)
        http = httpx2.AsyncClient(
            transport=bridge, headers=self.headers, timeout=seconds, max_redirects=MOST_REDIRECTS, trust_env=False
        )
        try:
            async with (
                asyncio.timeout(seconds),
                http,
                Client(streamable_http_client(str(self.url), http_client=http)) as client,
            ):
                yield client
        except TimeoutError:
            raise
        except Exception as problem:  # the library wraps what its tasks raise; what the connection met says more
            if isinstance(bridge.met, Refused):
                raise bridge.met from None
            raise Failed(str(bridge.met or _first(problem)), bridge.status) from None


def _first(problem: BaseException) -> BaseException:
    """What was raised, without the groups around it."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem


class _Bridge(httpx2.AsyncBaseTransport):
    """Makes the requests of the library's HTTP client through ours; `met` is why the last message did not get through,
    and `status` what was answered to it."""

    def __init__(self, judged: httpx.AsyncBaseTransport, most_bytes: int) -> None:
        self.judged, self.most_bytes = judged, most_bytes
        self.met: Exception | None = None
        self.status = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        asked = httpx.Request(
            request.method, str(request.url), headers=request.headers.raw, stream=_Sent(request.stream),
            extensions=request.extensions,
        )  # fmt: skip
        met: Exception | None = None
        status = 0
        try:
            answer = await self.judged.handle_async_request(asked)
            status = answer.status_code
            if status >= 400:
                reason = answer.extensions.get("reason_phrase", b"").decode("latin-1")
                met = Broken(f"it answered {status} {reason}".rstrip())
            elif answer.headers.get("Content-Encoding", "").strip().lower() not in PLAIN:
                await answer.aclose()
                raise Broken("the answer is compressed, which was not asked for")
        except (Refused, Broken) as problem:
            met = problem
            raise httpx2.ConnectError(str(problem)) from problem
        except httpx.TransportError as problem:
            met = Broken(f"it cannot be reached: {problem or type(problem).__name__}")
            raise httpx2.ConnectError(str(met)) from problem
        finally:
            # The stream for news, which a server need not have, says nothing of the messages.
            if request.method == "POST":
                self.met, self.status = met, status if met else 0
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        return httpx2.Response(
            answer.status_code, headers=answer.headers.raw, stream=_Received(answer.stream, self),
            extensions=answer.extensions,
        )  # fmt: skip

    async def aclose(self) -> None:
        await self.judged.aclose()


class _Sent(httpx.AsyncByteStream):
    """The body of a request of the library, for our client."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self.stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.stream:
            yield chunk


class _Received(httpx2.AsyncByteStream):
    """The body of an answer to our client, for the library, as long as it is not too large."""

    def __init__(self, stream: httpx.AsyncByteStream, bridge: _Bridge) -> None:
        self.stream, self.bridge = stream, bridge

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self.stream:
            size += len(chunk)
            if size > self.bridge.most_bytes:
                self.bridge.met = Broken(f"the answer is larger than {self.bridge.most_bytes} bytes")
                raise httpx2.RemoteProtocolError(str(self.bridge.met))
            yield chunk

    async def aclose(self) -> None:
        await self.stream.aclose()
