"""Spans of a program's own, and runs that join its trace."""

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentspan.agents import (
    is_tracing_enabled,
    record_token_usage,
    trace_agent_run,
    trace_compile,
    trace_handoff,
    trace_llm_call,
    trace_tool_call,
)
from agentspan.client.transport import traced
from agentspan.engine.spans import caller


@pytest.fixture(scope="module")
def kept() -> InMemorySpanExporter:
    """What the program's own tracer makes; it can be set once in a process."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def exporter(kept: InMemorySpanExporter) -> InMemorySpanExporter:
    kept.clear()
    return kept


def test_spans_nest_under_the_names_of_the_conventions(exporter: InMemorySpanExporter) -> None:
    assert is_tracing_enabled()
    with trace_agent_run("helper", "a secret question", session_id="s1"):
        with trace_llm_call("helper", "openai/gpt-4o-mini") as call:
            record_token_usage(call, prompt_tokens=10, total_tokens=15)
        with trace_tool_call("helper", "look", city={"name": "Oslo"}), trace_handoff("helper", "other"):
            pass
    with trace_compile("helper"):
        pass
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert list(spans) == [
        "chat gpt-4o-mini", "handoff other", "execute_tool look", "invoke_agent helper", "create_agent helper",
    ]  # fmt: skip
    chat = dict(spans["chat gpt-4o-mini"].attributes or {})
    assert (chat["gen_ai.provider.name"], chat["gen_ai.request.model"]) == ("openai", "gpt-4o-mini")
    assert (chat["gen_ai.usage.input_tokens"], chat["gen_ai.usage.output_tokens"]) == (10, 5)
    assert dict(spans["execute_tool look"].attributes or {})["city"] == '{"name": "Oslo"}'
    run = spans["invoke_agent helper"]
    assert "secret" not in str(dict(run.attributes or {}))
    parent = spans["chat gpt-4o-mini"].parent
    assert parent
    assert run.context
    assert parent.span_id == run.context.span_id


def test_an_exception_is_the_error_of_its_span(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="no"), trace_tool_call("helper", "look"):
        raise ValueError("no")
    [span] = exporter.get_finished_spans()
    assert not span.status.is_ok


def test_requests_say_in_which_span_they_are_made(exporter: InMemorySpanExporter) -> None:
    assert traced() == {}
    with trace_agent_run("helper") as span:
        found = span.get_span_context()
        line = f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"
        assert traced() == {"traceparent": line}
        began = caller(line)
        assert began
        assert (began.trace_id, began.span_id, began.is_sampled) == (found.trace_id, found.span_id, True)


def test_without_opentelemetry_nothing_happens() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "opentelemetry" else find(name, *rest)
from agentspan.agents import is_tracing_enabled, record_token_usage, trace_agent_run
with trace_agent_run("helper") as span:
    record_token_usage(span, 1, 2)
print(is_tracing_enabled(), span)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, timeout=30, capture_output=True, text=True)
    assert said.stdout.strip() == "False None"
