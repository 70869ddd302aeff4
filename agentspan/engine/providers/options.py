"""A request in the words of litellm's call, which has them translated for each provider.

What a provider does not take is refused by litellm with its name. What is left out here is left out on purpose.
"""

from typing import Any

from agentspan.engine.providers.attachments import fitted
from agentspan.engine.providers.model import ModelRequest, text_of
from agentspan.engine.providers.names import Route
from agentspan.engine.providers.schemas import is_object, is_recursive, strict, wire_name

Json = dict[str, Any]


def arguments(litellm: Any, request: ModelRequest, way: Route, total_seconds: float) -> Json:
    """What `litellm.acompletion` is called with."""
    optional: Json = {
        "tools": request.tools,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "reasoning_effort": request.reasoning_effort,
        "thinking": _thinking(request, way),
        "response_format": _response_format(litellm, request, way),
    }
    return {
        **way.arguments,
        **{name: value for name, value in optional.items() if value is not None and value != []},
        "model": way.model,
        "messages": fitted(request.messages, way.provider.prefix, request.model),
        **({"stream": True, "stream_options": {"include_usage": True}} if request.stream else {}),
        "timeout": total_seconds,
        "num_retries": 0,
        "max_retries": 0,
        # Some versions import an undeclared package for any call with tools, unless this is set.
        "_skip_mcp_handler": True,
    }


def _thinking(request: ModelRequest, way: Route) -> Json | None:
    if not request.thinking_budget_tokens or (way.provider.prefix in SIGNED and _is_amid_calls(request.messages)):
        return None
    return {"type": "enabled", "budget_tokens": request.thinking_budget_tokens}


def _is_amid_calls(messages: list[Json]) -> bool:
    """True if the model goes on after its own tool calls, whose thoughts are not in the conversation any more."""
    calls = [each for each in messages if each.get("tool_calls")]
    return bool(calls) and not calls[-1].get("thinking_blocks")


def _response_format(litellm: Any, request: ModelRequest, way: Route) -> Json | None:
    """How the provider is told of the answer's schema, if it can be; else the words of the conversation have to do."""
    if request.response_schema is None:
        return None
    prefix, schema = way.provider.prefix, request.response_schema["schema"]
    name = way.model.partition("/")[2]
    if not is_object(schema) or (prefix in FLAT and is_recursive(schema)):
        return None
    if request.tools and not _takes_both(litellm, prefix, name):
        return None
    if litellm.supports_response_schema(model=name, custom_llm_provider=prefix):
        closed = strict(schema)
        described = {"name": wire_name(request.response_schema["name"]), "schema": closed or schema}
        return {"type": "json_schema", "json_schema": {**described, "strict": closed is not None}}
    known = litellm.get_supported_openai_params(model=name, custom_llm_provider=prefix) or ()
    if "response_format" not in known or prefix in NO_JSON_MODE:
        return None
    # A provider refuses the mode if nobody has told the model of it.
    told = any("json" in text_of(each).lower() for each in request.messages)
    return {"type": "json_object"} if told else None


def _takes_both(litellm: Any, prefix: str, name: str) -> bool:
    """True if tools and a schema can be in one call. litellm gives a schema to older models of Anthropic as a tool that
    they must use, and they would never use another."""
    if prefix in ("anthropic", "bedrock"):
        return bool(litellm.utils.supports_native_structured_output(model=name, custom_llm_provider=prefix))
    return prefix in ("openai", "azure")


FLAT = {"anthropic", "bedrock", "gemini", "vertex_ai"}
"""Take no schema that refers to itself."""
NO_JSON_MODE = {"anthropic", "bedrock", "lm_studio", "perplexity"}
SIGNED = {"anthropic", "bedrock", "vertex_ai"}
"""Refuse to think on after a tool's result unless they are given back what they thought before the call."""
