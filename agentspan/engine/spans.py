"""The spans of a trace, made of a tree's log by the GenAI conventions of OpenTelemetry.

An id is a function of the tree and of a number in it, and what a span says is a function of committed events: whoever
makes a span, and however often, makes the same one.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from agentspan.core import events as e
from agentspan.core.advance import ROOT
from agentspan.core.ids import split_execution
from agentspan.core.log import Log
from agentspan.core.opening import FIRST
from agentspan.core.states import Kind, Purpose
from agentspan.core.timeline import Span
from agentspan.spec import mask
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import below
from agentspan.store.reads import Reads, Scene
from agentspan.store.scroll import Scroll
from agentspan.store.timeline import Part, Timeline, timeline

Json = dict[str, Any]

CALLER = "_traceparent"
"""Under this name the input of a root keeps the span that its start belongs to."""
CONTENT_CHARS = 60_000


class Traced(Struct, frozen=True, kw_only=True):
    """One span. Times are milliseconds since the epoch; `error` is "" for a span that went well; `link` is the tree
    that this one was forked from."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int
    is_remote: bool
    calls_out: bool
    start: int
    end: int
    attributes: Json
    error: str = ""
    link: str = ""


class Caller(Struct, frozen=True):
    """The span that a run was started in."""

    trace_id: int
    span_id: int
    is_sampled: bool


def caller(traceparent: str) -> Caller | None:
    """What a W3C traceparent says; None if it is none."""
    found = TRACEPARENT.fullmatch(traceparent.strip().lower())
    if not found or found[1] == "ff" or not int(found[2], 16) or not int(found[3], 16):
        return None
    return Caller(int(found[2], 16), int(found[3], 16), bool(int(found[4], 16) & 1))


def trace_of(tree: str) -> int:
    """The id of a trace that nobody else began: that of the run, without its dashes."""
    return int(tree.replace("-", ""), 16)


def span_of(tree: str, *numbers: int) -> int:
    """The id of the span of an execution or a task."""
    text = ":".join([tree, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) or 1


def spans(reads: Reads, connection: Any, tree: str, ends: set[int] | None, *, content: bool) -> list[Traced]:
    """The spans that these events of a tree ended; all that have ended so far for None. [] for a run that its caller
    does not trace."""
    scene = reads.scene(connection, tree)
    log = reads.outputs(connection, tree, [FIRST])
    began = None if scene.meta.forked_from else caller(str((log.get(FIRST) or {}).get(CALLER) or ""))
    if began and not began.is_sampled:
        return []
    # What a fork shares with another run is in that one's trace.
    last = scene.meta.forked_at
    line = timeline(reads, connection, tree, max(last, min(ends) - 1 if ends else 0))
    told = _Told(scene, began, log, content)
    log.have(span.end_seq for span in line.spans if span.end_seq)
    found = [each for part in line.executions for each in told.executions(connection, part)]
    found += [each for each in map(told.task, _tasks(line)) if each]
    return [each for seq, each in found if seq > last and (ends is None or seq in ends)]


def _tasks(line: Timeline) -> Iterator[Span]:
    """A sub-agent is told of by its execution."""
    return (span for span in line.spans if span.end_seq and span.kind != Kind.AGENT)


class _Told:
    """Makes spans of one tree, each with the event that ended it."""

    def __init__(self, scene: Scene, began: Caller | None, log: Log, content: bool) -> None:
        self.scene, self.log, self.content, self.began = scene, log, content, began
        self.tree = scene.meta.tree
        self.trace_id = began.trace_id if began else trace_of(self.tree)
        self.common: Json = {"gen_ai.conversation.id": scene.meta.session_id} if scene.meta.session_id else {}
        if scene.meta.run_id:
            self.common["agentspan.run.id"] = scene.meta.run_id

    def executions(self, connection: Any, part: Part) -> Iterator[tuple[int, Traced]]:
        """A span for each time that an execution ended: what was retried ended more than once."""
        tree, number = split_execution(part.execution_id)
        scroll = Scroll(connection, tree, self.scene.seq, self.scene.seq)
        again, since = 0, part.start_time
        for event in scroll.attempts(number, 1, self.scene.seq + 1):
            if isinstance(event.fact, e.ExecutionRetried):
                again, since = event.seq, event.at
            elif isinstance(event.fact, e.ExecutionForked):
                since = event.at
            elif isinstance(event.fact, e.ENDINGS):
                yield event.seq, self._execution(part, number, event, again, since)

    def _execution(self, part: Part, number: int, end: e.Event, again: int, since: int) -> Traced:
        parent, remote = self._above(part, number)
        fact = end.fact
        reason = str(getattr(fact, "finish_reason", "")) or STATUS[type(fact)].lower()
        attributes: Json = {
            "gen_ai.operation.name": "invoke_agent",
            **_model(part.model),
            "gen_ai.agent.name": part.agent_name,
            "gen_ai.agent.id": part.agent_name,
            "gen_ai.agent.version": str(part.version),
            "gen_ai.usage.input_tokens": part.prompt_tokens,
            "gen_ai.usage.output_tokens": part.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": part.cached_tokens,
            "agentspan.execution.id": part.execution_id,
            "agentspan.execution.status": STATUS[type(fact)],
            "agentspan.finish_reason": reason,
            "agentspan.turns": part.turns,
            "agentspan.cost_usd": part.cost,
        }
        failed = not isinstance(fact, e.ExecutionCompleted)
        if failed:
            attributes["error.type"] = reason
        if self.content:
            attributes |= self._conversation(number, fact)
        return Traced(
            name=f"invoke_agent {part.agent_name}", trace_id=self.trace_id,
            span_id=span_of(self.tree, number, again) if again else span_of(self.tree, number),
            parent_id=span_of(self.tree, number) if again else parent, is_remote=remote and not again, calls_out=False,
            start=since, end=end.at, attributes={**self.common, **attributes},
            error=self._hidden(str(getattr(fact, "reason", "")))[:ERROR_CHARS] or reason if failed else "",
            link=self.scene.meta.forked_from if number == ROOT else "",
        )  # fmt: skip

    def _above(self, part: Part, number: int) -> tuple[int, bool]:
        """The span above that of an execution, and whether it was made elsewhere."""
        if number == ROOT:
            return (self.began.span_id, True) if self.began else (0, False)
        return span_of(self.tree, split_execution(part.parent_id)[1]), False

    def task(self, span: Span) -> tuple[int, Traced] | None:
        """The span of one attempt of a task."""
        assert span.end_seq is not None
        name, attributes = self._named(span)
        fact = self.log.fact(span.end_seq)
        error = ""
        if not isinstance(fact, e.TaskCompleted | e.MessagesTaken):
            error = span.error or span.status.lower()
            attributes["error.type"] = getattr(fact, "cause", "") or span.status.lower()
        execution = split_execution(span.execution_id)[1]
        # A person is waited for from the moment of the request; what was never taken, waited all its time.
        start = span.started_at if span.started_at and span.kind != Kind.HUMAN else span.scheduled_at
        traced = Traced(
            name=name, trace_id=self.trace_id, span_id=span_of(self.tree, span.seq),
            parent_id=span_of(self.tree, execution), is_remote=False, calls_out=span.kind == Kind.LLM,
            start=start, end=max(start, span.ended_at or 0), error=error,
            attributes={**self.common, **self._where(span), **attributes},
        )  # fmt: skip
        return span.end_seq, traced

    def _where(self, span: Span) -> Json:
        waited = (span.started_at or span.ended_at or 0) - span.available_at
        given: Json = {
            "gen_ai.agent.name": span.agent_name,
            "agentspan.execution.id": span.execution_id,
            "agentspan.task.id": span.task_id,
            "agentspan.task.purpose": span.purpose,
            "agentspan.task.status": span.status,
            "agentspan.task.attempt": span.attempt,
        }
        if span.kind != Kind.HUMAN:
            given |= {"agentspan.task.queued_ms": max(0, waited), "agentspan.worker": span.worker}
        return given

    def _named(self, span: Span) -> tuple[str, Json]:
        """The name of a task's span, and what is said of such tasks alone."""
        if span.kind == Kind.LLM:
            return f"chat {_bare(span.name)}", self._chat(span)
        if span.kind == Kind.HUMAN:
            return f"wait_for_person {span.name}", {}
        if span.purpose == Purpose.ACT:
            return f"execute_tool {span.name}", self._tool(span)
        return f"{span.purpose} {span.name}", {}

    def _chat(self, span: Span) -> Json:
        output = self.log.get(span.end_seq or 0) or {}
        usage = output.get("usage") or {}
        spec = self._spec(span)
        attributes: Json = {
            "gen_ai.operation.name": "chat",
            **_model(span.name),
            "gen_ai.request.temperature": spec.temperature if spec else None,
            "gen_ai.request.max_tokens": spec.max_tokens if spec else None,
        }
        if usage:
            attributes |= {
                "gen_ai.response.model": str(output.get("model") or _bare(span.name)),
                "gen_ai.response.finish_reasons": [str(output.get("finish_reason") or "stop")],
                "gen_ai.usage.input_tokens": usage.get("prompt_tokens", 0),
                "gen_ai.usage.output_tokens": usage.get("completion_tokens", 0),
                "gen_ai.usage.cache_read.input_tokens": usage.get("cached_tokens", 0),
                "gen_ai.usage.reasoning.output_tokens": usage.get("reasoning_tokens", 0),
                "agentspan.cost_usd": output.get("cost"),
            }
        if self.content and usage:
            attributes["gen_ai.output.messages"] = self._json([_said(output, span)])
        return {key: value for key, value in attributes.items() if value is not None}

    def _tool(self, span: Span) -> Json:
        spec = self._spec(span)
        tool = spec.tool(span.name) if spec else None
        attributes: Json = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": span.name,
            "gen_ai.tool.call.id": span.call_id,
            "gen_ai.tool.type": "function" if span.kind == Kind.WORKER else "extension",
            "gen_ai.tool.description": tool.description if tool and tool.description else None,
        }
        if self.content:
            order = self.log.fact(span.seq)
            if isinstance(order, e.TaskScheduled):
                attributes["gen_ai.tool.call.arguments"] = self._json(self.log.call(order.source, order.index))
            if span.status == "COMPLETED":
                attributes["gen_ai.tool.call.result"] = self._json(self.log.get(span.end_seq or 0) or {})
        return {key: value for key, value in attributes.items() if value is not None}

    def _conversation(self, number: int, fact: e.AnyFact) -> Json:
        """What a root was asked, and what an execution answered."""
        found: Json = {}
        if number == ROOT:
            said = {"role": "user", "parts": [{"type": "text", "content": self.log.prompt(FIRST)}]}
            found["gen_ai.input.messages"] = self._json([said])
        if isinstance(fact, e.ExecutionCompleted) and (text := self.log.text(fact.result)):
            parts = [{"type": "text", "content": text}]
            answer = {"role": "assistant", "parts": parts, "finish_reason": fact.finish_reason}
            found["gen_ai.output.messages"] = self._json([answer])
        return found

    def _spec(self, span: Span) -> AgentSpec | None:
        """The agent of a task."""
        return next((each for each in _all(self.scene.root) if each.name == span.agent_name), None)

    def _json(self, value: Any) -> str:
        return msgspec.json.encode(mask.masked(value, self.scene.hidden)).decode()[:CONTENT_CHARS]

    def _hidden(self, text: str) -> str:
        return str(mask.masked(text, self.scene.hidden))


def _all(spec: AgentSpec) -> Iterator[AgentSpec]:
    """An agent, and all below it."""
    yield spec
    for child in below(spec):
        yield from _all(child)


def _said(output: Json, span: Span) -> Json:
    """A model's answer as a message of the conventions."""
    parts: list[Json] = [{"type": "text", "content": output["content"]}] if output.get("content") else []
    for call in output.get("tool_calls") or ():
        arguments = call.get("arguments", call.get("raw"))
        parts.append({"type": "tool_call", "name": call.get("name"), "arguments": arguments})
    return {"role": "assistant", "parts": parts, "finish_reason": output.get("finish_reason") or "stop"}


def _model(name: str) -> Json:
    """Who a model is asked of, and under which name."""
    if not name:
        return {}
    prefix = name.partition("/")[0].lower()
    return {"gen_ai.provider.name": PROVIDERS.get(prefix, prefix), "gen_ai.request.model": _bare(name)}


def _bare(name: str) -> str:
    return name.partition("/")[2] or name


def traced_by(lines: Iterable[str]) -> str:
    """The traceparent among what a request may bring; "" for none that can be read."""
    return next((each.strip().lower() for each in lines if caller(each)), "")


ERROR_CHARS = 500
TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
STATUS: dict[type[Any], str] = {
    e.ExecutionCompleted: "COMPLETED",
    e.ExecutionFailed: "FAILED",
    e.ExecutionTimedOut: "TIMED_OUT",
    e.ExecutionTerminated: "TERMINATED",
}
PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "google_gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""The names that the conventions have for providers, where they are not ours."""
