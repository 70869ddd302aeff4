"""One task looked at closely: what it was given, what its model was sent then, its attempts, what a fork can change."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from agentspan.clock import now_ms
from agentspan.core import events as e
from agentspan.core.asking import question
from agentspan.core.edits import editable
from agentspan.core.ids import split_task
from agentspan.core.run import Run
from agentspan.core.states import Kind, Purpose
from agentspan.core.timeline import Span
from agentspan.engine.providers import ModelRequest
from agentspan.engine.workers.llm import question_of, request_of
from agentspan.errors import NotFound
from agentspan.spec import mask
from agentspan.spec.agent import AgentSpec
from agentspan.store import moments, requests, showing
from agentspan.store.moments import Past
from agentspan.store.reads import Reads, Scene
from agentspan.store.scroll import Scroll
from agentspan.store.timeline import attempts
from agentspan.store.views import RequestView, TaskView

Json = dict[str, Any]


class Inspection(Struct, frozen=True, kw_only=True):
    """A task as it was scheduled and as it stands. `asked` is what its model was sent, None for all other kinds; a fork
    at `fork_at` goes on from what came of it, with `fork_edits`."""

    span: Span
    error: str
    given: Json
    output: Json | None
    asked: Json | None
    attempts: list[Span]
    logs: list[tuple[int, str]]
    credentials: tuple[str, ...]
    request: RequestView | None
    latency_ms: int
    queue_ms: int
    fork_at: int | None
    fork_edits: tuple[str, ...]


async def inspect(reads: Reads, name: str) -> Inspection:
    """The task of an id. NotFound."""
    found = await reads.query(lambda connection: _inspection(reads, connection, name))
    return msgspec.structs.replace(found, logs=await reads.logs(name))


def _inspection(reads: Reads, connection: Any, name: str) -> Inspection:
    tree, number = split_task(name)
    scene = reads.scene(connection, tree)
    scroll = Scroll(connection, tree, scene.seq)
    tried = attempts(connection, scene, scroll, number)
    span = next((each for each in tried if each.seq == number), None)
    if span is None:
        raise NotFound(f"there is no task {name!r}")
    past = moments.before(reads, connection, scene, number, scroll)
    order, run = past.event.fact, past.run(past.event.execution)
    assert isinstance(order, e.TaskScheduled)
    spec = past.root.at(run.path)
    given = past.material.given(run, order)
    of_run = past.run(0).credentials
    view = showing.scheduled(scene.meta, spec, run, number, order, given, past.event.at, of_run)
    asked = sent(past, spec, run, order, view) if order.kind is Kind.LLM else None
    if order.kind is Kind.AGENT and not given:
        given = _prompt(reads, connection, span.child_id)
    fork_at, edits = _fork(lambda seq: Past(reads, connection, scene, seq, scroll), span)
    error, output = _outcome(scroll, scene, span)
    return Inspection(
        span=span, error=error, given={} if asked else mask.masked(given, past.hidden), output=output,
        asked=mask.masked(_told(asked), past.hidden) if asked else None, attempts=tried, logs=[],
        credentials=view.credentials, request=_request(reads, connection, scene, span),
        latency_ms=_latency(span), queue_ms=_queued(span), fork_at=fork_at, fork_edits=edits,
    )  # fmt: skip


def sent(past: Past, spec: AgentSpec, run: Run, order: e.TaskScheduled, view: TaskView) -> ModelRequest:
    """What the model of a task was sent: as the worker that asks it puts it together."""
    if order.purpose is not Purpose.THINK:
        return question_of(spec, question(past.material, spec, run, order), view)
    messages = past.material.transcript(run).messages(spec)
    if source := view.input.get("messages_from"):
        messages = list((past.scroll.log.get(source) or {}).get("messages") or ())
    return request_of(spec, messages, view)


def _told(asked: ModelRequest) -> Json:
    """{messages, tools, parameters}."""
    named = {name: getattr(asked, field) for name, field in PARAMETERS.items()}
    parameters = {name: value for name, value in named.items() if value is not None}
    return {"messages": asked.messages, "tools": asked.tools, "parameters": parameters}


def _prompt(reads: Reads, connection: Any, child: str) -> Json:
    """What an agent was asked; nothing if it was never begun."""
    try:
        scene = reads.scene(connection, child)
    except NotFound:
        return {}
    return {"prompt": reads.material(connection, scene).prompt(scene.run)}


def _outcome(scroll: Scroll, scene: Scene, span: Span) -> tuple[str, Json | None]:
    """The error, whole, and the output."""
    if span.end_seq is None:
        return "", None
    fact = scroll.log.fact(span.end_seq)
    if isinstance(fact, e.TaskFailed):
        return str(mask.masked(fact.error, scene.hidden)), None
    if isinstance(fact, e.TaskCompleted | e.MessagesTaken):
        return span.error, mask.masked(dict(scroll.log.get(span.end_seq) or {}), scene.hidden)
    return span.error, None


def _fork(after: Callable[[int], Past], span: Span) -> tuple[int | None, tuple[str, ...]]:
    """Where a fork goes on from what came of a task, and what it can change there; from the task itself if nothing has
    come of it. None once the run has ended."""
    for seq in filter(None, (span.end_seq, span.seq)):
        past = after(seq)
        if not past.ended:
            return seq, editable(past.scroll, past.event)
    return None, ()


def _request(reads: Reads, connection: Any, scene: Scene, span: Span) -> RequestView | None:
    if span.kind != Kind.HUMAN:
        return None
    tree = scene.meta.tree
    found = requests.asked(tree, scene.root, reads.events(connection, tree))
    view = next((each.view for each in found if each.view.request_id == span.task_id), None)
    return showing.hidden(requests.aged(view, now_ms()), scene.hidden) if view else None


def _latency(span: Span) -> int:
    """How long it ran, or has run; a person is waited for from the moment of the request."""
    began = span.scheduled_at if span.kind == Kind.HUMAN else span.started_at
    return max(0, (span.ended_at or now_ms()) - began) if began else 0


def _queued(span: Span) -> int:
    """How long it waited for somebody to take it."""
    if span.kind in (Kind.HUMAN, Kind.AGENT):
        return 0
    return max(0, (span.started_at or span.ended_at or now_ms()) - span.available_at)


PARAMETERS = {
    "model": "model",
    "temperature": "temperature",
    "maxTokens": "max_tokens",
    "reasoningEffort": "reasoning_effort",
    "thinkingBudgetTokens": "thinking_budget_tokens",
    "responseSchema": "response_schema",
    "baseUrl": "base_url",
}
"""The names of a model call's parameters on the wire, and in ModelRequest."""
