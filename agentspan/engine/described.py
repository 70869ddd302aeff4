"""Replaces tools that stand for the operations of an OpenAPI description, or for the tools of an MCP server, by those,
as they are at that moment.

A run begins with the result, so that it stays what it was whatever the description or the server says later.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import httpx
import msgspec
from msgspec.structs import replace

from agentspan.clock import now_ms
from agentspan.engine import optional
from agentspan.engine.outgoing import Broken, Outgoing
from agentspan.engine.workers.outward import headers_of, lines
from agentspan.errors import InvalidSpec
from agentspan.spec import apis, mcp, wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import below, check
from agentspan.spec.credentials import of_tool
from agentspan.spec.found import is_stand_in, shown
from agentspan.spec.http import CREDENTIAL, named
from agentspan.spec.redact import redacted
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]
Made = Callable[[ToolSpec, str], tuple[ToolSpec, ...]]
"""What stands in the place of a tool, given what its agent is about."""

MOST_BYTES = 16 << 20
SECONDS = 20.0
KEPT_MS = 60_000
"""How long a description counts as fresh."""
MOST_KEPT = 20
MOST_DESCRIPTIONS = 20
"""In one agent, with all below it."""
NESTED = ("router", "planner", "fallback")


class Descriptions:
    """Reads descriptions where `outgoing` lets it, and keeps them for a minute. `values` gives the credentials of
    these names that are stored."""

    def __init__(self, outgoing: Outgoing, values: Callable[[Iterable[str]], Awaitable[dict[str, str]]]) -> None:
        self.outgoing, self.values = outgoing, values
        self._kept: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    async def expanded(self, spec: AgentSpec, prompt: str = "") -> AgentSpec:
        """The agent with operations and tools in place of what stands for them; of too many, those that fit its
        instructions and the prompt. InvalidSpec, Refused, and NotImplementedHere if a library is missing."""
        tools = {wire_of(tool): tool for tool in stand_ins(spec)}
        if not tools:
            return spec
        check(spec)
        if len(tools) > MOST_DESCRIPTIONS:
            raise InvalidSpec(f"agent {spec.name!r} reads {len(tools)} descriptions; {MOST_DESCRIPTIONS} are allowed")
        _check_credentials(spec)
        documents = dict(zip(tools, await asyncio.gather(*map(self._document, tools.values())), strict=True))

        def made(tool: ToolSpec, about: str) -> tuple[ToolSpec, ...]:
            return TOOLS_OF[tool.tool_type](documents[wire_of(tool)], tool, f"{about}\n{prompt}")

        return await asyncio.to_thread(_replaced, spec, made)

    async def _document(self, tool: ToolSpec) -> Any:
        url = mcp.place(tool) if tool.tool_type == "mcp" else str(tool.config["url"])
        headers = tool.config.get("headers") or {}
        key = msgspec.json.encode([tool.tool_type, url, headers], order="deterministic").decode()
        at, kept = self._kept.get(key, (0, None))
        if kept is not None and now_ms() - at < KEPT_MS:
            return kept
        document = await (self._listed(tool) if tool.tool_type == "mcp" else self._read(url, headers))
        self._kept[key] = (now_ms(), document)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return document

    async def _listed(self, tool: ToolSpec) -> Any:
        """The tools of an MCP server, which shows them to those alone who show their credentials."""
        library, names = await optional.mcp(), named(tool)
        values = lines(await self.values(names)) if names else {}
        server = library.McpServer(self.outgoing, mcp.place(tool), headers_of(tool, values), most_bytes=MOST_BYTES)
        try:
            return redacted(await server.tools(SECONDS), values)
        except (library.Failed, TimeoutError) as problem:
            told = redacted(str(problem), values) or "no answer"
            raise InvalidSpec(f"the tools of {shown(mcp.place(tool))} cannot be listed: {told}") from None

    async def _read(self, url: str, headers: Json) -> Any:
        # What is kept came without credentials, so it is anybody's; other headers may change what is told.
        headers = {name: value for name, value in headers.items() if not CREDENTIAL.search(str(value))}
        asked = httpx.Request("GET", self.outgoing.url(url), headers={"Accept": "application/json", **headers})
        host = asked.url.host
        try:
            answer = await self.outgoing.fetch(asked, seconds=SECONDS, most_bytes=MOST_BYTES)
        except (Broken, TimeoutError, httpx.TransportError) as problem:
            raise InvalidSpec(f"the API description at {host} cannot be read: {problem or 'no answer'}") from None
        if answer.status != 200:
            raise InvalidSpec(f"the API description at {host} cannot be read: {answer.status} {answer.reason}")
        try:
            return await asyncio.to_thread(msgspec.json.decode, answer.body)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            raise InvalidSpec(f"the API description at {host} is no JSON") from None


def stand_ins(spec: AgentSpec) -> Iterator[ToolSpec]:
    """The tools that stand for others, of an agent and of all below it."""
    yield from filter(is_stand_in, spec.tools)
    for child in below(spec):
        yield from stand_ins(child)


def _check_credentials(spec: AgentSpec) -> None:
    """InvalidSpec for headers that would show an MCP server what nobody declared for it."""
    for tool in spec.tools:
        if tool.tool_type == "mcp" and (foreign := set(named(tool)) - {*(of_tool(tool) or spec.credentials)}):
            raise InvalidSpec(
                f"agent {spec.name!r}, tool {tool.name!r}: its headers use {', '.join(sorted(foreign))}, which its "
                "credentials do not list"
            )
    for child in below(spec):
        _check_credentials(child)


def wire_of(tool: ToolSpec) -> bytes:
    return msgspec.json.encode(tool, order="deterministic")


def _replaced(spec: AgentSpec, made: Made) -> AgentSpec:
    tools: list[ToolSpec] = []
    for tool in spec.tools:
        tools += made(tool, str(spec.instructions or "")) if is_stand_in(tool) else [_nested_tool(tool, made)]
    nested = {name: _nested(getattr(spec, name), made) for name in NESTED}
    return replace(spec, tools=tuple(tools), agents=tuple(_replaced(each, made) for each in spec.agents), **nested)


def _nested_tool(tool: ToolSpec, made: Made) -> ToolSpec:
    given = tool.config.get("agentConfig")
    return replace(tool, config={**tool.config, "agentConfig": _nested(given, made)}) if given else tool


def _nested(given: Any, made: Made) -> Any:
    """A definition inside a definition, as JSON; anything else stays."""
    if not isinstance(given, dict) or not given.get("name") or "taskName" in given:
        return given
    spec = wire.decode(given)
    return wire.encode(_replaced(spec, made)) if any(True for _ in stand_ins(spec)) else given


TOOLS_OF: dict[str, Callable[[Any, ToolSpec, str], tuple[ToolSpec, ...]]] = {
    "api": apis.tools_of, "mcp": mcp.tools_of,
}  # fmt: skip
