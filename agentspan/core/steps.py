"""A log as a person reads it: one line for each event, with what can be changed in a fork there."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from agentspan.core import events as e
from agentspan.core import transcript
from agentspan.core.advance import ROOT
from agentspan.core.edits import calls_in, editable, is_answer, order_of
from agentspan.core.log import Log
from agentspan.core.run import TIME_OUTS, Run, evolve
from agentspan.core.states import Kind, Purpose
from agentspan.spec import mask
from agentspan.spec.agent import AgentSpec

SUMMARY_CHARS = 120


class Step(Struct, frozen=True, rename="camel"):
    """One event: what happened, to which agent (`path` names the agents from the root's child down to it).

    `edits` are what a fork at this event can change of it, beside what it can change anywhere. It is not `forkable`
    where the run has ended.
    """

    seq: int
    kind: str
    agent: str
    path: list[str]
    turn: int
    at: int
    summary: str
    forkable: bool
    edits: list[str]


def steps(spec: AgentSpec, events: Sequence[e.Event]) -> list[Step]:
    """The steps of a whole log."""
    return list(_steps(spec, events))


def log_of(events: Sequence[e.Event]) -> Log:
    """The facts of a log that is at hand."""
    return Log(lambda seqs: {seq: events[seq - 1].fact for seq in seqs if 0 < seq <= len(events)})


def brief(value: Any, most: int = SUMMARY_CHARS) -> str:
    """A value as one short line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _steps(spec: AgentSpec, events: Sequence[e.Event]) -> Iterator[Step]:
    log, hidden = log_of(events), mask.names(spec)
    runs: dict[int, Run] = {}
    for event in events:
        runs[event.execution] = run = evolve(runs.get(event.execution) or Run(id=event.execution), event)
        yield step(spec, events, event, run, log, hidden, ended=runs[ROOT].ended)


def step(
    spec: AgentSpec, events: Sequence[e.Event], event: e.Event, run: Run, log: Log, hidden: mask.Names, *, ended: bool
) -> Step:
    """One event as a line. `run` is its own execution's state after it; `ended`: the root has ended by then."""
    order = _order(events, event.fact)
    names = [spec.at(run.path[: depth + 1]).name for depth in range(len(run.path))]
    words = brief(_summary(event, order, log))
    return Step(
        seq=event.seq, kind=kind(event.fact, order), agent=names[-1] if names else spec.name, path=names,
        turn=order.turn if order else run.turn, at=event.at, summary=str(mask.masked(words, hidden)),
        forkable=not ended, edits=list(editable(events, event)) if not ended else [],
    )  # fmt: skip


def kind(fact: e.AnyFact, order: e.TaskScheduled | None) -> str:
    """The word for an event. `order` is that of the task that it schedules or settles."""
    match fact:
        case e.TaskScheduled(kind=Kind.HUMAN):
            return "request"
        case e.TaskScheduled(purpose=purpose):
            return ASKED[purpose]
        case e.TaskCompleted() if order and order.kind is Kind.HUMAN and order.purpose is not Purpose.ACT:
            return "response"
        case e.TaskCompleted() if order:
            return DONE[order.purpose]
        case e.TaskFailed() | e.TaskTimedOut():
            return "failure"
        case e.CallRefused():
            return "refused_call"
        case e.AnswerGiven():
            return "answer"
        case _:
            return _words(type(fact).__name__)


def _order(events: Sequence[e.Event], fact: e.AnyFact) -> e.TaskScheduled | None:
    if isinstance(fact, e.TaskScheduled):
        return fact
    return order_of(events, fact.task) if isinstance(fact, e.SETTLEMENTS) else None


def _summary(event: e.Event, order: e.TaskScheduled | None, log: Log) -> Any:
    fact = event.fact
    match fact:
        case e.ExecutionStarted():
            return (fact.input or {}).get("prompt") or "begins"
        case e.TaskScheduled(source=source) if source and fact.purpose in CALLS:
            return f"{fact.name}({brief(log.call(source, fact.index))})"
        case e.TaskScheduled():
            return f"{fact.name}{f', attempt {fact.attempt + fact.lost + 1}' if fact.attempt + fact.lost else ''}"
        case e.TaskCompleted() | e.AnswerGiven():
            return said(order, log.get(event.seq) or {})
        case e.TaskFailed(error=error):
            return f"{order.name if order else 'task'}: {error}"
        case e.TaskTimedOut(limit=limit):
            return f"{order.name if order else 'task'}: {TIME_OUTS[limit]}"
        case e.CallRefused(cause=cause, detail=detail):
            return detail or cause
        case e.VerdictGiven():
            return f"{fact.guardrail} ({fact.position}): {fact.verdict}{f', {fact.message}' if fact.message else ''}"
        case e.SpeakerChosen(name=name, by=by):
            return f"{name or 'nobody'}{f', by {by}' if by else ''}"
        case e.MessageReceived(message=message):
            return transcript.mail_text(message)
        case e.ExecutionCompleted(finish_reason=word, result=result):
            return f"{word}: {log.text(result)}"
        case e.ExecutionForked(tree=tree, seq=seq):
            return f"of {tree} at {seq}"
        case _:
            return getattr(fact, "reason", "") or getattr(fact, "message", "") or getattr(fact, "model", "")


def said(order: e.TaskScheduled | None, output: e.Json) -> str:
    """What a task brought, in words: a model's answer with its calls, a result, a decision."""
    if order is None or is_answer(order):
        return answered(output)
    if order and order.purpose is Purpose.APPROVE:
        reason = f": {output['reason']}" if output.get("reason") else ""
        return f"{'approved' if output.get('approved') is True else 'rejected'}{reason}"
    return transcript.text_of(output)


def answered(output: e.Json) -> str:
    """A model's answer with its calls, in words."""
    return " → ".join(part for part in (str(output.get("content") or ""), calls_told(output)) if part)


def calls_told(output: e.Json, most: int | None = None) -> str:
    """The calls that a model's answer makes, in words; the first `most` of them."""
    calls = calls_in(output)[:most]
    return ", ".join(f"{call['name']}({brief(call.get('arguments') or {}, 60)})" for call in calls)


def _words(name: str) -> str:
    """ExecutionStarted: execution_started."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


CALLS = frozenset({Purpose.ACT, Purpose.APPROVE})
ASKED = {
    Purpose.THINK: "thinking",
    Purpose.ACT: "call",
    Purpose.APPROVE: "request",
    Purpose.SPEAK: "handoff",
    Purpose.JUDGE: "check",
    Purpose.CHOOSE: "choice",
    Purpose.WAIT: "wait",
    Purpose.HOOK: "callback",
    Purpose.BRIEF: "brief",
    Purpose.CONDENSE: "condense",
}
"""What an event is called that schedules a task, by its purpose."""

DONE = {
    Purpose.THINK: "answer",
    Purpose.ACT: "result",
    Purpose.APPROVE: "response",
    Purpose.SPEAK: "reply",
    Purpose.JUDGE: "checked",
    Purpose.CHOOSE: "chosen",
    Purpose.WAIT: "result",
    Purpose.HOOK: "called_back",
    Purpose.BRIEF: "briefed",
    Purpose.CONDENSE: "condensed",
}
"""What the event is called that brings its result."""
