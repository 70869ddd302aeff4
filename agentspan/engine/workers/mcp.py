"""Performs the tools of MCP servers: arguments to call to result, many at once, each an asyncio task."""

from typing import TYPE_CHECKING, Any

from agentspan.engine import optional
from agentspan.engine.workers.outward import (
    MOST_BYTES,
    SHOWN_CHARS,
    Failure,
    Outward,
    Values,
    headers_of,
    is_deep,
    is_passing,
)
from agentspan.spec import mcp
from agentspan.spec.redact import redacted
from agentspan.spec.tool import ToolSpec
from agentspan.store.views import TaskView

if TYPE_CHECKING:
    from mcp_types import CallToolResult

Json = dict[str, Any]

USUAL_SECONDS = 120.0


class McpWorker(Outward):
    """Takes the calls of tools of type mcp."""

    kind = "mcp"

    async def ask(self, tool: ToolSpec, view: TaskView, values: Values) -> Json | Failure:
        seconds = tool.timeout_seconds or USUAL_SECONDS
        headers = {"Idempotency-Key": view.idempotency_key, **headers_of(tool, values)}
        library = await optional.mcp()
        server = library.McpServer(self.outgoing, mcp.place(tool), headers, most_bytes=MOST_BYTES)
        try:
            result = await server.call(mcp.method(tool), view.input, seconds)
        except TimeoutError:
            return Failure(f"{server.url.host} did not answer within {seconds:g} s", again=True)
        except library.Failed as problem:
            return Failure(f"{server.url.host}: {problem}", again=not problem.status or is_passing(problem.status))
        said = output_of(result)
        if result.is_error:
            # Cut last: half a secret is not known for one.
            return Failure(str(redacted(said, values))[:SHOWN_CHARS] or f"{tool.name} failed and does not say why")
        return {"result": said}


def output_of(result: "CallToolResult") -> Any:
    """What a tool said: data as they are, text as text, of anything else what it is."""
    if (data := result.structured_content) is not None:
        return str(data) if is_deep(data) else data
    pieces = [_piece(each.model_dump(mode="json", by_alias=True, exclude_none=True)) for each in result.content]
    if all(isinstance(each, str) for each in pieces):
        return "\n".join(pieces)
    return pieces[0] if len(pieces) == 1 else pieces


def _piece(content: Json) -> Any:
    kind, resource = content.get("type"), content.get("resource")
    if kind == "text":
        return content["text"]
    if kind == "resource_link":
        return {key: content[key] for key in ("uri", "name", "mimeType") if key in content}
    if isinstance(resource, dict) and "text" in resource:
        return resource["text"]
    data, about = (resource.get("blob"), resource) if isinstance(resource, dict) else (content.get("data"), content)
    return {"contentType": about.get("mimeType", ""), "bytes": len(data or "") * 3 // 4}
