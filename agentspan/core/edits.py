"""What of an event can be another in a fork: a model's answer, a result, the arguments of a call."""

import json
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.core.reports import unfit
from agentspan.core.states import Kind, Purpose
from agentspan.core.transcript import PRIVATE_KEYS
from agentspan.errors import BadInput

AT_EVENT = ("output", "tool_result", "answer", "arguments")
"""The edits of the event at which a fork is made."""

PAID = ("usage", "cost", "model")
"""What stays of an answer that is replaced: it was paid for."""

Events = Sequence[e.Event]
Settled = e.TaskCompleted | e.TaskFailed | e.TaskTimedOut


def edited_events(events: Events, shared: list[e.Event], edits: dict[str, Any]) -> list[e.Event]:
    """The shared events with the last one edited; `events` is the whole log. BadInput says where an edit can be made.

    `output` is what the event reports: `tool_result` of a tool, `answer` the words of a model. A failure becomes a
    success by it. `arguments` are those of the call that was scheduled or asked for there; at a model's answer with
    several calls, a mapping from a call's place or its tool's name to its arguments.
    """
    if len(outputs := [key for key in edits if key in OUTPUTS]) > 1:
        raise BadInput(f"{' and '.join(outputs)} are the same place of the event: give one of them")
    for key, value in edits.items():
        if key not in editable(events, shared[-1]):
            raise BadInput(_elsewhere(events, shared[-1].seq, key))
        shared = _with_arguments(shared, value) if key == "arguments" else _with_output(shared, value)
    return shared


def editable(events: Events, event: e.Event) -> tuple[str, ...]:
    """What can be edited in a fork at this event."""
    match event.fact:
        case e.TaskScheduled(source=source, purpose=purpose) if source and purpose in CALLS:
            return ("arguments",)
        case e.TaskCompleted() | e.TaskFailed() | e.TaskTimedOut() as fact:
            return _of_settled(order_of(events, fact.task), fact)
        case e.AnswerGiven():
            return ("output", "answer", *(("arguments",) if calls_of(event.fact, None) else ()))
    return ()


def order_of(events: Events, task: int) -> e.TaskScheduled | None:
    """The order of a task."""
    fact = events[task - 1].fact if 0 < task <= len(events) else None
    return fact if isinstance(fact, e.TaskScheduled) else None


def _of_settled(order: e.TaskScheduled | None, fact: Settled) -> tuple[str, ...]:
    completed = isinstance(fact, e.TaskCompleted)
    if order is None or (order.kind is Kind.AGENT and not completed):
        return ()
    if isinstance(fact, e.TaskCompleted) and fact.result is not None and not fact.result.answers:
        return ()
    output = (fact.output or {}) if isinstance(fact, e.TaskCompleted) else {}
    more = ("answer",) if _answers(order) else ("tool_result",) if order.purpose in RESULTS else ()
    approved = order.purpose is Purpose.APPROVE and output.get("approved") is True
    return ("output", *more, *(("arguments",) if approved or calls_of(fact, order) else ()))


def calls_of(fact: e.AnyFact, order: e.TaskScheduled | None) -> list[e.Json]:
    """The calls that an answer makes; [] of what is no answer. A tool may report anything under that name."""
    if isinstance(fact, e.AnswerGiven) or (isinstance(fact, e.TaskCompleted) and order and is_answer(order)):
        return calls_in(fact.output or {})
    return []


def calls_in(output: e.Json) -> list[e.Json]:
    """The calls in a model's answer; [] if what stands there are none."""
    calls = output.get("tool_calls")
    return list(calls) if isinstance(calls, list | tuple) and all(map(_is_call, calls)) else []


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def is_answer(order: e.TaskScheduled) -> bool:
    """Does a model answer this task, or who stands for it?"""
    return order.kind is Kind.LLM or order.purpose is Purpose.THINK


def _answers(order: e.TaskScheduled) -> bool:
    return order.purpose is Purpose.THINK or (order.purpose is Purpose.SPEAK and order.kind is Kind.LLM)


def _elsewhere(events: Events, at: int, key: str) -> str:
    """Why an edit cannot be made here, and the nearest events where it can."""
    places = sorted((abs(event.seq - at), event.seq) for event in events if key in editable(events, event))[:NEAREST]
    told = ", ".join(str(seq) for seq in sorted(seq for _, seq in places))
    where = f"it can be edited at the events {told}" if places else "no event of this run has one"
    return f"event {at} has no {key.replace('_', ' ')} to edit; {where}"


def _with_output(shared: list[e.Event], value: Any) -> list[e.Event]:
    event = shared[-1]
    match event.fact:
        case e.TaskCompleted(result=result) if result is not None:
            return _reworded(shared, result, _text(value))
        case e.TaskCompleted() | e.TaskFailed() | e.TaskTimedOut() as fact:
            order = order_of(shared, fact.task)
            before = (fact.output or {}) if isinstance(fact, e.TaskCompleted) else {}
            assert order is not None
            output = _output(order, {} if unfit(order, before) else before, value)
            if problem := unfit(order, output):
                raise BadInput(problem)
            done = e.TaskCompleted(fact.task, output, worker=fact.worker, started_at=fact.started_at)
            return [*shared[:-1], replace(event, fact=done)]
        case e.AnswerGiven(output=before) as fact:
            return [*shared[:-1], replace(event, fact=replace(fact, output=_answer(before, value)))]
    raise AssertionError(f"event {event.seq} has no output")


def _output(order: e.TaskScheduled, before: e.Json, value: Any) -> e.Json:
    """What a task of this purpose reports."""
    if is_answer(order):
        return _answer(before, value)
    if order.purpose is Purpose.APPROVE:
        said = {"approved": value} if isinstance(value, bool) else value
        if not isinstance(said, dict) or not isinstance(said.get("approved"), bool):
            raise BadInput('the output of an approval is true, false or {"approved": ..., "reason": ...}')
        return said
    kept = {key: before[key] for key in PRIVATE_KEYS if key in before}
    return {**kept, **value} if isinstance(value, dict) else {**kept, "result": value}


def _answer(before: e.Json, value: Any) -> e.Json:
    """A model's answer with other words; what it cost stays."""
    paid = {"cost": 0.0, **{key: before[key] for key in PAID if key in before}}
    if isinstance(value, dict) and value.keys() & {"content", "tool_calls"}:
        return {"content": "", "finish_reason": "stop", **paid, **value}
    return {"content": _text(value), "finish_reason": "stop", **paid}


def _text(value: Any) -> str:
    if isinstance(value, dict) and list(value) == ["result"]:
        value = value["result"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _reworded(shared: list[e.Event], result: e.Result, words: str) -> list[e.Event]:
    """A sub-agent's reply in other words: those of its answers."""
    for place, seq in enumerate(result.answers):
        said = words if place == len(result.answers) - 1 else ""
        fact = shared[seq - 1].fact
        if isinstance(fact, e.TaskCompleted) and fact.result is not None:
            shared = _reworded(shared, fact.result, said)
        elif isinstance(fact, e.TaskCompleted | e.AnswerGiven | e.VerdictGiven):
            output = fact.output or {}
            key = "content" if "content" in output else "result"
            shared = _put(shared, seq, replace(fact, output={**output, key: said}))
    return shared


def _with_arguments(shared: list[e.Event], value: Any) -> list[e.Event]:
    if not isinstance(value, dict):
        raise BadInput("arguments must be a JSON object: it takes the place of the call's arguments")
    event = shared[-1]
    match event.fact:
        case e.TaskScheduled(source=source) as order:
            return _put(shared, source, _called(shared[source - 1].fact, {order.index: value}))
        case e.TaskCompleted(task=task) if calls := calls_of(event.fact, order_of(shared, task)):
            return _put(shared, event.seq, _called(event.fact, _by_call(calls, value)))
        case e.AnswerGiven():
            return _put(shared, event.seq, _called(event.fact, _by_call(calls_of(event.fact, None), value)))
    return _put(shared, event.seq, _called(event.fact, {0: value}))


def _called(fact: e.AnyFact, given: dict[int, e.Json]) -> e.AnyFact:
    """The fact that holds the arguments of calls, with others for those in `given`."""
    assert isinstance(fact, e.TaskCompleted | e.AnswerGiven | e.VerdictGiven)
    output = fact.output or {}
    if not calls_in(output) or isinstance(output.get("arguments", output.get("args")), dict):
        return replace(fact, output={**output, "arguments": next(iter(given.values()))})
    calls = [
        {**{key: part for key, part in call.items() if key != "raw"}, "arguments": given[place]}
        if place in given
        else call
        for place, call in enumerate(calls_in(output))
    ]
    return replace(fact, output={**output, "tool_calls": calls})


def _by_call(calls: list[e.Json], value: e.Json) -> dict[int, e.Json]:
    """Arguments by the place of their call, from a mapping by place or tool name, or those of an only call."""
    names = [call["name"] for call in calls]
    known = {str(place): place for place in range(len(calls))}
    known |= {name: place for place, name in enumerate(names) if names.count(name) == 1}
    if value and value.keys() <= known.keys() and all(isinstance(each, dict) for each in value.values()):
        return {known[key]: each for key, each in value.items()}
    if len(calls) == 1:
        return {0: value}
    told = ", ".join(f"{place}: {name}" for place, name in enumerate(names))
    raise BadInput(
        f"this answer makes {len(calls)} calls: give arguments as an object from the place of a call (from 0) or its "
        f"tool's name to the call's arguments; the calls are {told}"
    )


def _put(shared: list[e.Event], seq: int, fact: e.AnyFact) -> list[e.Event]:
    return [*shared[: seq - 1], replace(shared[seq - 1], fact=fact), *shared[seq:]]


NEAREST = 6
OUTPUTS = ("output", "tool_result", "answer")
CALLS = frozenset({Purpose.ACT, Purpose.APPROVE})
RESULTS = frozenset({Purpose.ACT, Purpose.WAIT})
