"""Models of the outside world, through litellm, never retried here for their faults (the engine owns retries)."""

import asyncio
import hashlib
import logging
import os
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agentspan import clock
from agentspan.engine.providers import options
from agentspan.engine.providers.failures import explain, is_about_format, is_refusal
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
    way = _way(request.model, request.base_url, environ)
    arguments = options.arguments(_litellm, request, way, settings.total_seconds)
    try:
        return await _ask(arguments, request, way, emit)
    except Exception as error:  # litellm raises its own tree, the provider libraries' and plain errors of its parsers
        if "response_format" not in arguments or not is_about_format(error):
            return _refused(error, request, way)
    # The model has been told of the schema in words too: better without the provider's help than not at all.
    del arguments["response_format"]
    try:
        return await _ask(arguments, request, way, emit)
    except Exception as error:
        return _refused(error, request, way)


async def embed(
    model: str, texts: list[str], base_url: str | None, settings: CallSettings, environ: Mapping[str, str]
) -> tuple[list[list[float]], int]:
    """A vector for each text, and the tokens of all."""
    way = _way(model, base_url, environ)
    name = way.model.partition("/")[2]
    asked = {**way.arguments, "model": f"{EMBEDDERS.get(way.provider.prefix, way.provider.prefix)}/{name}"}
    limits = {"timeout": settings.total_seconds, "num_retries": 0, "max_retries": 0}
    try:
        given = await _litellm.aembedding(**asked, input=texts, **limits)
    except Exception as error:  # as in answer
        raise explain(error, model, way) from None
    rows = sorted(given.data, key=lambda row: row["index"])
    if len(rows) != len(texts):
        raise ModelFailure(f"{model} gave {len(rows)} vectors for {len(texts)} texts.", retryable=True)
    return [list(map(float, row["embedding"])) for row in rows], _usage(getattr(given, "usage", None)).prompt_tokens


def quota(model: str, base_url: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """The provider's name, and what names the quota of this key at this address."""
    way = _way(model, base_url, environ)
    given = ({name: value for name, value in way.arguments.items() if name != "api_version"}, way.provider.prefix)
    return way.provider.prefix, hashlib.sha256(repr(given).encode()).hexdigest()


def _way(model: str, base_url: str | None, environ: Mapping[str, str]) -> Route:
    try:
        return route(model, environ, base_url)
    except InvalidSpec as error:
        raise ModelFailure(str(error)) from None


async def _ask(arguments: dict[str, Any], request: ModelRequest, way: Route, emit: Emit) -> ModelAnswer:
    answered = _Answered()
    given = await _litellm.acompletion(**arguments)
    if not request.stream:
        emit(answered.add(given))
        return answered.answer(request.model, way.model)
    if way.provider.prefix in REFUSING and hasattr(given.completion_stream, "__anext__"):
        given.completion_stream = _Overheard(given.completion_stream, answered.refuse)
    try:
        async for chunk in given:
            emit(answered.add(chunk))
    finally:
        await given.aclose()
    return answered.answer(request.model, way.model)


def _refused(error: Exception, request: ModelRequest, way: Route) -> ModelAnswer:
    """The answer that an error means: a refusal is one. Raises ModelFailure for all others."""
    failure = explain(error, request.model, way)
    if not is_refusal(error):
        raise failure from None
    return ModelAnswer(content=failure.message, finish_reason="content_filter", model=request.model)


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
    # Of embeddings it takes a wish for no retries for no wish at all.
    litellm.DEFAULT_MAX_RETRIES = 0
    # Where a provider takes no addresses, litellm fetches a document for it: from public addresses alone.
    litellm.user_url_validation = True
    return litellm


class _Call(msgspec.Struct):
    """A tool call that is still being told."""

    index: int
    id: str
    name: str = ""
    arguments: str = ""

    @property
    def is_whole(self) -> bool:
        """True if the arguments are complete, so that what comes next is another call."""
        return bool(self.arguments) and tool_call("", "", self.arguments).arguments is not None


class _Answered:
    """The answer so far, gathered from chunks."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: list[_Call] = []
        self._reason: str | None = None
        self._refusal = ""
        self._thoughts: list[dict[str, Any]] = []
        self._usage: Any = None

    def add(self, chunk: Any) -> str:
        """Take a chunk, or an answer in one piece, and return its text, which may be empty."""
        self._usage = getattr(chunk, "usage", None) or self._usage
        choices = getattr(chunk, "choices", None)
        if not choices:
            return ""
        self._reason = choices[0].finish_reason or self._reason
        said = getattr(choices[0], "delta", None) or getattr(choices[0], "message", None)
        for place, piece in enumerate(getattr(said, "tool_calls", None) or ()):
            self._add_call(piece, place)
        blocks = getattr(said, "thinking_blocks", None) or ()
        self._thoughts += [dict(each) for each in blocks if each.get("signature") or each.get("data")]
        text = getattr(said, "content", None) or ""
        self.refuse((getattr(said, "provider_specific_fields", None) or {}).get("refusal"))
        self._texts.append(text)
        return text

    def refuse(self, piece: str | None) -> None:
        """Take a piece of a refusal in, which stands apart from the text."""
        if piece:
            self._refusal += piece

    def _add_call(self, piece: Any, place: int) -> None:
        function = piece.function
        name = (function and function.name) or ""
        index = getattr(piece, "index", None)
        call = self._open_call(place if index is None else index, piece.id or "", name)
        call.id = call.id or piece.id or ""
        # Some providers say the name again with each piece.
        call.name += "" if name == call.name else name
        call.arguments += (function and function.arguments) or ""

    def _open_call(self, index: int, call_id: str, name: str) -> "_Call":
        """The call that a piece continues. Some providers give every call the index 0, with an id of its own or not."""
        for call in reversed(self._calls):
            if call.index == index and (not call_id or call.id in ("", call_id)) and not (name and call.is_whole):
                return call
        self._calls.append(_Call(index, call_id))
        return self._calls[-1]

    def answer(self, model: str, priced_as: str) -> ModelAnswer:
        calls = tuple(_tool_call(each) for each in self._calls)
        return ModelAnswer(
            content="".join(self._texts) + self._refusal,
            tool_calls=calls,
            finish_reason="content_filter" if self._refusal else finish(self._reason, bool(calls)),
            usage=_usage(self._usage),
            cost=_cost(self._usage, priced_as),
            model=model,
            thoughts=tuple(self._thoughts) if calls else (),
        )


class _Overheard:
    """A stream of OpenAI's chunks with an ear for refusals, which litellm leaves out."""

    def __init__(self, stream: Any, hear: Callable[[str | None], None]) -> None:
        self._stream, self._hear = stream, hear

    def __aiter__(self) -> "_Overheard":
        return self

    async def __anext__(self) -> Any:
        chunk = await anext(self._stream)
        for choice in getattr(chunk, "choices", None) or ():
            self._hear(getattr(choice.delta, "refusal", None))
        return chunk

    async def aclose(self) -> None:
        close = getattr(self._stream, "aclose", None) or self._stream.close
        await close()


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


REFUSING = {"openai", "azure"}
"""Send a refusal apart from the text."""

EMBEDDERS = {"cohere_chat": "cohere", "ollama_chat": "ollama"}
"""Where litellm has another prefix for a provider's embeddings than for its chat."""
