"""Spans of your own with OpenTelemetry, by the GenAI conventions, in the traces that your program sends.

A server makes the spans of its runs from their logs. A run that is started within a span of yours joins its trace.
Without the package `opentelemetry` these functions do nothing.
"""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SCOPE = "agentspan"


def is_tracing_enabled() -> bool:
    """Are spans made? Where OpenTelemetry can be imported."""
    return importlib.util.find_spec("opentelemetry") is not None


@contextmanager
def trace_agent_run(agent_name: str = "", prompt: str = "", **attributes: Any) -> Iterator[Any]:
    """A span around a run. What was asked stays out of it; give attributes for what shall be seen."""
    with _span("invoke_agent", agent_name, {"gen_ai.agent.name": agent_name}, attributes) as span:
        yield span


@contextmanager
def trace_compile(agent_name: str = "", **attributes: Any) -> Iterator[Any]:
    """A span around a compilation."""
    with _span("create_agent", agent_name, {"gen_ai.agent.name": agent_name}, attributes) as span:
        yield span


@contextmanager
def trace_llm_call(agent_name: str = "", model: str = "", **attributes: Any) -> Iterator[Any]:
    """A span around a call of a model that you make yourself."""
    provider, _, name = model.rpartition("/")
    given = {
        "gen_ai.agent.name": agent_name,
        "gen_ai.provider.name": provider.partition("/")[0],
        "gen_ai.request.model": name,
    }
    with _span("chat", name, given, attributes) as span:
        yield span


@contextmanager
def trace_tool_call(agent_name: str = "", tool_name: str = "", **attributes: Any) -> Iterator[Any]:
    """A span around a tool call."""
    given = {"gen_ai.agent.name": agent_name, "gen_ai.tool.name": tool_name}
    with _span("execute_tool", tool_name, given, attributes) as span:
        yield span


@contextmanager
def trace_handoff(source_agent: str = "", target_agent: str = "", **attributes: Any) -> Iterator[Any]:
    """A span around a handoff."""
    given = {"gen_ai.agent.name": source_agent, "agentspan.handoff.target": target_agent}
    with _span("handoff", target_agent, given, attributes) as span:
        yield span


def record_token_usage(
    span: Any = None, prompt_tokens: int = 0, completion_tokens: int = 0, total_tokens: int = 0
) -> None:
    """Token counts on a span; without one, on the present one."""
    if not is_tracing_enabled():
        return
    from opentelemetry import trace

    span = trace.get_current_span() if span is None else span
    span.set_attribute("gen_ai.usage.input_tokens", prompt_tokens)
    span.set_attribute("gen_ai.usage.output_tokens", completion_tokens or max(0, total_tokens - prompt_tokens))


@contextmanager
def _span(operation: str, subject: str, given: dict[str, Any], more: dict[str, Any]) -> Iterator[Any]:
    """A span that bears the operation's name; an exception that leaves it is its error. None without OpenTelemetry."""
    if not is_tracing_enabled():
        yield None
        return
    from opentelemetry import trace

    attributes = {"gen_ai.operation.name": operation, **given, **more}
    shown = {name: _plain(value) for name, value in attributes.items() if value not in (None, "")}
    name = f"{operation} {subject}" if subject else operation
    with trace.get_tracer(SCOPE).start_as_current_span(name, attributes=shown) as span:
        yield span


def _plain(value: Any) -> Any:
    """A value that an attribute can have."""
    return value if isinstance(value, str | bool | int | float) else json.dumps(value, default=str)
