"""Replaces tools that stand for the operations of an OpenAPI description by those operations, as it is at that moment.

A run begins with the result, so that it stays what it was whatever the description says later.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
from msgspec.structs import replace

from agentspan.clock import now_ms
from agentspan.engine.outgoing import Broken, Outgoing
from agentspan.errors import InvalidSpec
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.apis import tools_of
from agentspan.spec.check import below, check
from agentspan.spec.http import CREDENTIAL
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]

MOST_BYTES = 16 << 20
SECONDS = 20.0
KEPT_MS = 60_000
"""How long a description counts as fresh."""
MOST_KEPT = 20
MOST_DESCRIPTIONS = 20
"""In one agent, with all below it."""
NESTED = ("router", "planner", "fallback")


class Descriptions:
    """Reads descriptions where `outgoing` lets it, and keeps them for a minute."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing
        self._kept: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    async def expanded(self, spec: AgentSpec) -> AgentSpec:
        """The agent with operations in place of what stands for them. InvalidSpec, Refused."""
        tools = {wire_of(tool): tool for tool in stand_ins(spec)}
        if not tools:
            return spec
        check(spec)
        if len(tools) > MOST_DESCRIPTIONS:
            raise InvalidSpec(f"agent {spec.name!r} reads {len(tools)} descriptions; {MOST_DESCRIPTIONS} are allowed")
        documents = await asyncio.gather(*(self._document(tool) for tool in tools.values()))
        made = await asyncio.to_thread(
            lambda: {key: tools_of(each, tool) for (key, tool), each in zip(tools.items(), documents, strict=True)}
        )
        return _replaced(spec, lambda tool: made[wire_of(tool)])

    async def _document(self, tool: ToolSpec) -> Any:
        url = str(tool.config["url"])
        # What is kept came without credentials, so it is anybody's; other headers may change what is told.
        headers = {k: v for k, v in (tool.config.get("headers") or {}).items() if not CREDENTIAL.search(str(v))}
        key = msgspec.json.encode([url, headers], order="deterministic").decode()
        at, kept = self._kept.get(key, (0, None))
        if kept is not None and now_ms() - at < KEPT_MS:
            return kept
        document = await self._read(url, headers)
        self._kept[key] = (now_ms(), document)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return document

    async def _read(self, url: str, headers: Json) -> Any:
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
    """The tools that stand for operations, of an agent and of all below it."""
    yield from (tool for tool in spec.tools if tool.tool_type == "api")
    for child in below(spec):
        yield from stand_ins(child)


def wire_of(tool: ToolSpec) -> bytes:
    return msgspec.json.encode(tool, order="deterministic")


def _replaced(spec: AgentSpec, made: Callable[[ToolSpec], tuple[ToolSpec, ...]]) -> AgentSpec:
    tools: list[ToolSpec] = []
    for tool in spec.tools:
        tools += made(tool) if tool.tool_type == "api" else [_nested_tool(tool, made)]
    nested = {name: _nested(getattr(spec, name), made) for name in NESTED}
    return replace(spec, tools=tuple(tools), agents=tuple(_replaced(each, made) for each in spec.agents), **nested)


def _nested_tool(tool: ToolSpec, made: Callable[[ToolSpec], tuple[ToolSpec, ...]]) -> ToolSpec:
    given = tool.config.get("agentConfig")
    return replace(tool, config={**tool.config, "agentConfig": _nested(given, made)}) if given else tool


def _nested(given: Any, made: Callable[[ToolSpec], tuple[ToolSpec, ...]]) -> Any:
    """A definition inside a definition, as JSON; anything else stays."""
    if not isinstance(given, dict) or not given.get("name") or "taskName" in given:
        return given
    spec = wire.decode(given)
    return wire.encode(_replaced(spec, made)) if any(True for _ in stand_ins(spec)) else given
