"""Tools of MCP servers: one of type `mcp` stands for all of a server, or, with a `method`, is one of them. Pure.

What a server says of its tools, anybody may have written: only what a tool needs is taken.
"""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from agentspan.spec.found import chosen, shown, word
from agentspan.spec.http import CREDENTIAL, header_problems
from agentspan.spec.schemas import TEXT_CHARS, Foreign
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]

KEPT = ("headers", "credentials")
"""What the tools have of the one that stands for them."""


def place(tool: ToolSpec) -> str:
    """The URL of its server."""
    return str(tool.config.get("server_url") or tool.config.get("serverUrl") or "")


def method(tool: ToolSpec) -> str:
    """What the server calls it; "" of a tool that stands for all."""
    return str(tool.config.get("method") or "")


def problems(tool: ToolSpec) -> Iterator[str]:
    """Why a tool of type mcp can never be performed or found."""
    url = place(tool)
    if not url.lower().startswith(("http://", "https://")):
        yield f"its server_url must begin with http:// or https://, got {url!r}"
    if CREDENTIAL.search(url):
        yield "its server_url holds a credential, which would be seen in the logs of others: put it into a header"
    yield from header_problems(tool)


def tools_of(listed: list[Json], tool: ToolSpec, about: str = "") -> tuple[ToolSpec, ...]:
    """The tools of a server, as `tools/list` has them, that a tool of type mcp stands for, each with its options.

    `about`: what the agent is for, which decides if there are too many. InvalidSpec if one that was named is not there.
    """
    found = {str(each["name"]): _tool(each, tool) for each in listed if isinstance(each.get("name"), str)}
    return chosen(found, tool, place=shown(place(tool)), what="tool", about=about)


def _tool(listed: Json, tool: ToolSpec) -> ToolSpec:
    given = listed.get("inputSchema")
    schema = Foreign(given).schema(given) if isinstance(given, dict) else {}
    said, hints = listed.get("description"), listed.get("annotations")
    is_safe = isinstance(hints, dict) and (hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True)
    return replace(
        tool,
        name=word(listed["name"]),
        description=(said if isinstance(said, str) else "")[:TEXT_CHARS] or listed["name"],
        input_schema={**schema, "type": "object"},
        config={
            **{key: value for key, value in tool.config.items() if key in KEPT},
            "server_url": place(tool),
            "method": listed["name"],
        },
        # A call that may do something twice is made again only if the user says so.
        retry_count=tool.retry_count if is_safe or tool.retry_count is not None else 0,
    )
