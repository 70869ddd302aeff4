"""What goes into a model call and what comes out of it, the same for every provider."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from agentspan.config import Limit
from agentspan.spec.chat import text_of as text_of
from agentspan.spec.nesting import is_deep
from agentspan.spec.script import Usage as Usage

FinishReason = Literal["stop", "tool_calls", "length", "content_filter"]
Emit = Callable[[str], None]


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One turn to think about. Messages and tools are in the form of OpenAI's chat interface.

    `attempt` counts the tries of this turn from 0; `seed` names the turn, the same for each of its attempts.
    `response_schema` is {name, schema}: the JSON that the answer must be. The caller has told the model of it in words
    as well, so it may go unused. Without `stream` the answer comes in one piece.
    """

    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = []
    temperature: float | None = None
    max_tokens: int | None = None
    base_url: str | None = None
    thinking_budget_tokens: int | None = None
    reasoning_effort: str | None = None
    response_schema: dict[str, Any] | None = None
    attempt: int = 0
    seed: str = ""
    stream: bool = True


class ToolCall(msgspec.Struct, frozen=True):
    """A tool that the model wants called. `arguments` is None if the provider's JSON was malformed; `raw` keeps it."""

    id: str
    name: str
    arguments: dict[str, Any] | None
    raw: str = ""


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model said. `cost` is in US dollars; None means that the price is not known.

    `thoughts` are what it thought before its calls, signed: as `thinking_blocks` of the message they let it think on.
    """

    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    cost: float | None = None
    model: str = ""
    thoughts: tuple[dict[str, Any], ...] = ()


class CallSettings(Protocol):
    """The part of the server's settings that a model call reads."""

    @property
    def data_dir(self) -> Path: ...

    @property
    def scripts_path(self) -> Path: ...

    @property
    def first_token_seconds(self) -> float: ...

    @property
    def idle_seconds(self) -> float: ...

    @property
    def total_seconds(self) -> float: ...

    @property
    def limits(self) -> tuple[Limit, ...]: ...


def tool_call(call_id: str, name: str, text: str) -> ToolCall:
    """A call from the text of its arguments, which must be one JSON object; strings inside it stay strings."""
    try:
        arguments = None if is_deep(text.encode()) else msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeError):
        arguments = None
    if isinstance(arguments, dict):
        return ToolCall(call_id, name, arguments)
    return ToolCall(call_id, name, None, text)


def finish(reason: str | None, has_calls: bool) -> FinishReason:
    """The finish reason of an answer, whatever the provider wrote, or if it wrote none."""
    if reason in ("length", "max_tokens"):
        return "length"
    if reason == "content_filter":
        return "content_filter"
    return "tool_calls" if has_calls else "stop"


def has_media(messages: list[dict[str, Any]]) -> bool:
    """True if something other than text is in the conversation."""
    contents = (each.get("content") for each in messages)
    return any(part.get("type") != "text" for parts in contents if isinstance(parts, list) for part in parts)
