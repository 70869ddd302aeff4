"""Models of the outside world, through litellm: always streamed, never retried here (the engine owns retries)."""

import asyncio
import logging
import os
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import msgspec

from agentspan import clock
from agentspan.engine.providers.failures import explain
from agentspan.engine.providers.model import (
    CallSettings,
    Emit,
    ModelAnswer,
    ModelRequest,
    ToolCall,
    Usage,
    finish,
    tool_call,
)
from agentspan.engine.providers.names import NO_KEY, Route, route
from agentspan.errors import InvalidSpec, ModelFailure

_litellm: Any = None
_importing = threading.Lock()


async def preload() -> None:
    """Import litellm in a thread, which takes seconds; the server calls this in the background once it is ready."""
    await asyncio.to_thread(_load)


async def prepare(settings: CallSettings) -> None:
    """Have litellm ready before the clock of a call starts."""
    if _litellm is None:
        await preload()


async def answer(request: ModelRequest, settings: CallSettings, emit: Emit, environ: Mapping[str, str]) -> ModelAnswer:
    """Call the provider and gather its stream."""
    try:
        way = route(request.model, environ, request.base_url)
    except InvalidSpec as error:
        raise ModelFailure(str(error)) from None
    answered = _Answered()
    try:
        stream = await _litellm.acompletion(**_arguments(request, way, settings.total_seconds))
        try:
            async for chunk in stream:
                emit(answered.add(chunk))
        finally:
            await stream.aclose()
    except Exception as error:  # litellm raises its own tree, the provider libraries' and plain errors of its parsers
        raise explain(error, request.model, way) from None
    return answered.answer(request.model, way.model)


def _load() -> None:
    global _litellm
    with _importing:
        if _litellm is None:
            _litellm = _import()


def _import() -> Any:
    # Without this, litellm fetches a price list from the network while it is imported.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    # Its limits of connections, 500 to one host, would make agents wait for each other.
    os.environ.setdefault("AIOHTTP_CONNECTOR_LIMIT", "100000")
    os.environ.setdefault("AIOHTTP_CONNECTOR_LIMIT_PER_HOST", "100000")
    with warnings.catch_warnings():
        # Its own old ways are no news to our users. The first answer builds what the import put off.
        warnings.simplefilter("ignore")
        try:
            import litellm
        except ImportError as error:
            raise ModelFailure(f'Calling a model needs `pip install "agentspan[server]"` ({error}).') from None
        logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
        asked = {"model": "openai/none", "api_key": NO_KEY, "messages": [], "mock_response": "none"}
        for _ in litellm.completion(**asked, stream=True):
            pass
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm


def _arguments(request: ModelRequest, way: Route, total_seconds: float) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "tools": request.tools,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "reasoning_effort": request.reasoning_effort,
    }
    if request.thinking_budget_tokens:
        optional["thinking"] = {"type": "enabled", "budget_tokens": request.thinking_budget_tokens}
    if request.response_schema:
        optional["response_format"] = _response_format(request.response_schema)
    return {
        **way.arguments,
        **{name: value for name, value in optional.items() if value is not None and value != []},
        "model": way.model,
        "messages": request.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "timeout": total_seconds,
        "num_retries": 0,
        "max_retries": 0,
        # Some versions import an undeclared package for any call with tools, unless this is set.
        "_skip_mcp_handler": True,
    }


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": _is_strict(schema)}}


def _is_strict(schema: Any) -> bool:
    """True if every object in the schema is closed and complete, which is what a provider's strict mode asks."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, dict):
        return True
    fields = schema.get("properties")
    if isinstance(fields, dict) and (
        schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(fields)
    ):
        return False
    return all(map(_is_strict, schema.values()))


class _Call(msgspec.Struct):
    """A tool call that is still being told."""

    index: int
    id: str
    name: str = ""
    arguments: str = ""


class _Answered:
    """The answer so far, gathered from chunks."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: list[_Call] = []
        self._reason: str | None = None
        self._usage: Any = None

    def add(self, chunk: Any) -> str:
        """Take a chunk in and return its text, which may be empty."""
        self._usage = getattr(chunk, "usage", None) or self._usage
        choices = getattr(chunk, "choices", None)
        if not choices:
            return ""
        self._reason = choices[0].finish_reason or self._reason
        delta = choices[0].delta
        for piece in getattr(delta, "tool_calls", None) or ():
            self._add_call(piece)
        text = getattr(delta, "content", None) or ""
        self._texts.append(text)
        return text

    def _add_call(self, piece: Any) -> None:
        call = self._open_call(piece.index, piece.id or "")
        call.id = call.id or piece.id or ""
        if piece.function is not None:
            call.name += piece.function.name or ""
            call.arguments += piece.function.arguments or ""

    def _open_call(self, index: int, call_id: str) -> "_Call":
        """The call that a piece continues. Some providers give every call the index 0 and an id of its own."""
        for call in reversed(self._calls):
            if call.index == index and (not call_id or call.id in ("", call_id)):
                return call
        self._calls.append(_Call(index, call_id))
        return self._calls[-1]

    def answer(self, model: str, priced_as: str) -> ModelAnswer:
        calls = tuple(_tool_call(each) for each in self._calls)
        return ModelAnswer(
            content="".join(self._texts),
            tool_calls=calls,
            finish_reason=finish(self._reason, bool(calls)),
            usage=_usage(self._usage),
            cost=_cost(self._usage, priced_as),
            model=model,
        )


def _tool_call(call: _Call) -> ToolCall:
    return tool_call(call.id or f"call_{clock.new_id()}", call.name, call.arguments)


def _usage(usage: Any) -> Usage:
    if usage is None:
        return Usage()
    prompt, completion = (getattr(usage, f"{name}_tokens_details", None) for name in ("prompt", "completion"))
    return Usage(
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=usage.completion_tokens or 0,
        cached_tokens=getattr(prompt, "cached_tokens", None) or 0,
        reasoning_tokens=getattr(completion, "reasoning_tokens", None) or 0,
    )


def _cost(usage: Any, model: str) -> float | None:
    if usage is None:
        return None
    try:
        prompt, completion = _litellm.cost_per_token(model=model, usage_object=usage)
    except Exception:  # a model without a price raises a plain Exception, and a price we cannot tell is unknown
        return None
    return float(prompt + completion)
