"""Tracing with OpenTelemetry. No spans are made by this version, and the functions that would make them say so."""

from contextlib import AbstractContextManager
from typing import Any

from agentspan.agents.exceptions import unbuilt


def is_tracing_enabled() -> bool:
    """Are spans made? Not by this version."""
    return False


def trace_agent_run(*args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
    """A span around a run."""
    raise unbuilt("Tracing (trace_agent_run)")


def trace_compile(*args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
    """A span around a compilation."""
    raise unbuilt("Tracing (trace_compile)")


def trace_llm_call(*args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
    """A span around a call of a model."""
    raise unbuilt("Tracing (trace_llm_call)")


def trace_tool_call(*args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
    """A span around a tool call."""
    raise unbuilt("Tracing (trace_tool_call)")


def trace_handoff(*args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
    """A span around a handoff."""
    raise unbuilt("Tracing (trace_handoff)")


def record_token_usage(*args: Any, **kwargs: Any) -> None:
    """Token counts on a span."""
    raise unbuilt("Tracing (record_token_usage)")
