"""The tasks of a tree as spans of time: what each was about, when it waited, ran and ended, and what it took."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from agentspan.core import events as e
from agentspan.core import transcript
from agentspan.core.ids import execution_id, task_id
from agentspan.core.log import Log
from agentspan.core.outcome import reference
from agentspan.core.reports import unfit
from agentspan.core.run import TIME_OUTS
from agentspan.core.states import Kind, Purpose
from agentspan.core.steps import brief, calls_told, said
from agentspan.spec import mask
from agentspan.spec.agent import AgentSpec

SUMMARY_CHARS = 200
ERROR_CHARS = 500
CALLS_TOLD = 20

Names = tuple[str, ...]


class Span(Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """One attempt of a task. It waited in its queue from `available_at` to `started_at` and ran from there to
    `ended_at`; a person was waited for from `scheduled_at` to `ended_at`. `stale_tool`: the code that ran is not the
    one that the agent was started with.
    """

    task_id: str
    execution_id: str
    agent_name: str
    path: Names
    name: str
    ref: str
    kind: str
    purpose: str
    turn: int
    index: int
    call_id: str
    status: str
    attempt: int
    retried_task_id: str
    scheduled_at: int
    available_at: int
    started_at: int
    ended_at: int | None
    worker: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost: float
    cost_unknown: bool
    summary: str
    error: str
    child_id: str
    seq: int
    end_seq: int | None
    stale_tool: bool


class Place(Struct, frozen=True):
    """Where an execution stands in its tree: its agent, and the names down to it. `is_open`: it has not ended."""

    spec: AgentSpec
    path: Names
    is_open: bool


class Lease(Struct, frozen=True):
    """What is known of an open task beside the log."""

    status: str
    worker: str
    started_at: int
    available_at: int


class Chapter(Struct, frozen=True, kw_only=True):
    """What spans are made of: `orders` are the events that scheduled them, `ends` those that settled them, by task;
    `retried` gives the attempt before, `leases` what the queue knows of the open ones."""

    tree: str
    places: Mapping[int, Place]
    orders: Iterable[e.Event]
    ends: Mapping[int, e.Event]
    retried: Mapping[int, int]
    leases: Mapping[int, Lease]
    log: Log
    hidden: mask.Names = mask.NOTHING


def spans(chapter: Chapter) -> list[Span]:
    """The spans of a chapter, in the order of their scheduling."""
    chapter.log.have(_wanted(chapter))
    return [_span(chapter, event, event.fact) for event in chapter.orders if isinstance(event.fact, e.TaskScheduled)]


def _span(chapter: Chapter, event: e.Event, order: e.TaskScheduled) -> Span:
    place, number, index = chapter.places[event.execution], event.seq, order.index
    end, lease = _end(chapter, event, order), chapter.leases.get(number)
    output = answer(order, chapter.log.get(end.seq)) if end and order.kind is Kind.LLM else {}
    usage = output.get("usage") or {}
    tree, agent = chapter.tree, order.kind is Kind.AGENT
    began = getattr(end.fact, "started_at", 0) if end else lease.started_at if lease else 0
    answered = end is not None and isinstance(end.fact, e.TaskCompleted) and "overflow" not in output
    return Span(
        task_id=task_id(tree, number),
        execution_id=execution_id(tree, event.execution),
        agent_name=place.spec.name,
        path=place.path,
        name=order.name,
        ref=reference(place.spec, order),
        kind=order.kind,
        purpose=order.purpose,
        turn=order.turn,
        index=index,
        call_id=transcript.call_id(order.turn, index) if order.purpose in CALLS else "",
        status=_status(order, end, lease),
        attempt=order.attempt + order.lost,
        retried_task_id=task_id(tree, chapter.retried[number]) if number in chapter.retried else "",
        scheduled_at=event.at,
        available_at=lease.available_at if lease else event.at + order.delay_ms,
        started_at=event.at if agent else began,
        ended_at=end.at if end else None,
        worker=getattr(end.fact, "worker", "") if end else lease.worker if lease else "",
        model=str(output.get("model") or order.name) if order.kind is Kind.LLM else "",
        prompt_tokens=usage.get("prompt_tokens", 0),
        completion_tokens=usage.get("completion_tokens", 0),
        cached_tokens=usage.get("cached_tokens", 0),
        cost=output.get("cost") or 0.0,
        cost_unknown=order.kind is Kind.LLM and answered and output.get("cost") is None,
        summary=_summary(order, index, end, chapter),
        error=_shown(_error(end), chapter.hidden, ERROR_CHARS) if end else "",
        child_id=execution_id(tree, number) if agent else "",
        seq=number,
        end_seq=end.seq if end else None,
        stale_tool=end is not None and _is_stale(place.spec, order, end.fact),
    )


def answer(order: e.TaskScheduled, output: e.Json | None) -> e.Json:
    """What a model answered; {} if it cannot be read as an answer."""
    return {} if output is None or unfit(order, output) else output


def spent(outputs: Iterable[e.Json]) -> dict[str, Any]:
    """What the answers of models took in all."""
    prompt, completion, cost, unknown = 0, 0, 0.0, False
    for output in outputs:
        usage = output.get("usage") or {}
        prompt += usage.get("prompt_tokens", 0)
        completion += usage.get("completion_tokens", 0)
        cost += output.get("cost") or 0.0
        unknown = unknown or output.get("cost") is None
    return {"prompt_tokens": prompt, "completion_tokens": completion, "cost": cost, "cost_unknown": unknown}


def _end(chapter: Chapter, event: e.Event, order: e.TaskScheduled) -> e.Event | None:
    """What settled a task. An agent that failed and was retried is open again, under the same task."""
    child = chapter.places.get(event.seq)
    reopened = order.kind is Kind.AGENT and child is not None and child.is_open
    return None if reopened else chapter.ends.get(event.seq)


def _is_stale(spec: AgentSpec, order: e.TaskScheduled, fact: e.AnyFact) -> bool:
    """Did other code run than the agent's tool has, unless it was put in its place where the agent is served?"""
    if not isinstance(fact, e.TaskCompleted | e.TaskFailed) or not fact.code:
        return False
    tool = spec.tool(order.name) if order.purpose is Purpose.ACT else None
    return fact.outdated or bool(tool and tool.source_digest and tool.source_digest not in fact.code)


def _status(order: e.TaskScheduled, end: e.Event | None, lease: Lease | None) -> str:
    if end is None:
        waits = order.kind in (Kind.HUMAN, Kind.AGENT)
        return lease.status if lease else "IN_PROGRESS" if waits else "SCHEDULED"
    if isinstance(end.fact, e.TaskFailed) and end.fact.terminal:
        return "FAILED_WITH_TERMINAL_ERROR"
    return STATUSES[type(end.fact)]


def _error(end: e.Event) -> str:
    match end.fact:
        case e.TaskFailed(error=error):
            return error
        case e.TaskTimedOut(limit=limit):
            return TIME_OUTS[limit]
        case e.TaskCanceled(reason=reason):
            return reason
    return ""


def _summary(order: e.TaskScheduled, index: int, end: e.Event | None, chapter: Chapter) -> str:
    """What a task was about: the arguments of a call, the end of an answer, the question to a person."""
    hidden, log = chapter.hidden, chapter.log
    is_done = end is not None and isinstance(end.fact, e.TaskCompleted)
    if order.purpose in CALLS or order.purpose is Purpose.APPROVE:
        given = mask.masked(log.call(order.source, index), hidden)
        asked = next((given[key] for key in ASKED if key in given), given) if order.kind is Kind.HUMAN else given
        words = brief(asked, SUMMARY_CHARS) if asked else ""
        if order.purpose is Purpose.APPROVE and end and is_done:
            return _joined(words, _shown(said(order, log.get(end.seq) or {}), hidden, SUMMARY_CHARS // 2))
        return words
    if end is None or not is_done:
        return _shown(log.text(order.about), hidden, SUMMARY_CHARS) if transcript.named(order.about) else ""
    done = log.get(end.seq) or {}
    if order.purpose in SPOKEN:
        words = str(done.get("content") or "") if order.kind is not Kind.AGENT else log.text(_result(end))
        return _joined(_tail(words, hidden), brief(mask.masked(calls_told(done, CALLS_TOLD), hidden), SUMMARY_CHARS))
    return _shown(said(order, done), hidden, SUMMARY_CHARS)


def _result(end: e.Event | None) -> e.Result:
    fact = end.fact if end else None
    return fact.result or e.Result() if isinstance(fact, e.TaskCompleted) else e.Result()


def _tail(words: str, hidden: mask.Names) -> str:
    """The last words of a text."""
    text = str(mask.masked(words, hidden))
    text = " ".join(text[-4 * SUMMARY_CHARS :].split()) if len(text) > SUMMARY_CHARS else " ".join(text.split())
    return text if len(text) <= SUMMARY_CHARS else f"…{text[1 - SUMMARY_CHARS :]}"


def _shown(text: str, hidden: mask.Names, most: int) -> str:
    return brief(mask.masked(text, hidden), most) if text else ""


def _joined(*parts: str) -> str:
    return brief(" → ".join(part for part in parts if part), SUMMARY_CHARS)


def _wanted(chapter: Chapter) -> set[int]:
    """The events of which more must be known than that they were: what their summaries are made of."""
    found: set[int] = set()
    for event in chapter.orders:
        order, end = event.fact, chapter.ends.get(event.seq)
        if not isinstance(order, e.TaskScheduled):
            continue
        found.add(order.source)
        if end and order.purpose not in CALLS:
            found |= {end.seq, *transcript.named(_result(end))}
        if not end:
            found |= transcript.named(order.about)
    return found


CALLS = frozenset({Purpose.ACT, Purpose.WAIT})
SPOKEN = frozenset({Purpose.THINK, Purpose.SPEAK})
ASKED = ("question", "content", "prompt", "message")
"""Which of its arguments a question to a person is about."""

STATUSES: dict[type[Any], str] = {
    e.TaskCompleted: "COMPLETED",
    e.TaskFailed: "FAILED",
    e.TaskTimedOut: "TIMED_OUT",
    e.TaskCanceled: "CANCELED",
    e.MessagesTaken: "COMPLETED",
}
"""What an attempt has become, by the event that settled it."""
