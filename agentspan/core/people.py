"""What a person is asked, and what their answer means: for each kind of request a schema and a reading. Pure."""

from collections.abc import Callable
from typing import Any

from agentspan.core.events import TaskScheduled
from agentspan.core.run import Run
from agentspan.core.states import Purpose
from agentspan.core.strategies import allowed, selected
from agentspan.errors import BadInput
from agentspan.spec.agent import AgentSpec
from agentspan.spec.misfit import misfit
from agentspan.spec.rules import DONE

Json = dict[str, Any]


def schema(spec: AgentSpec, run: Run, order: TaskScheduled) -> Json:
    """The JSON Schema of an answer. `spec` is the asking agent's."""
    match order.purpose:
        case Purpose.APPROVE:
            return APPROVAL
        case Purpose.JUDGE:
            return REVIEW
        case Purpose.CHOOSE:
            names = {"type": "string", "enum": [*allowed(spec, run), DONE]}
            return {"type": "object", "properties": {"selected": names}, "required": ["selected"]}
        case Purpose.ACT:
            tool = spec.tool(order.name)
            return dict((tool.config if tool else {}).get("responseSchema") or QUESTION)
        case _:
            return MESSAGE


def answered(spec: AgentSpec, run: Run, order: TaskScheduled, answer: Json) -> Json:
    """The answer as the log keeps it; BadInput says what is wrong with it, and the request stays open."""
    return READINGS.get(order.purpose, _as_it_is)(spec, run, order, answer)


def _as_it_is(spec: AgentSpec, run: Run, order: TaskScheduled, answer: Json) -> Json:
    return answer


def _approval(spec: AgentSpec, run: Run, order: TaskScheduled, answer: Json) -> Json:
    said = _yes(answer)
    arguments = answer.get("arguments")
    if said and arguments is not None:
        if not isinstance(arguments, dict):
            raise BadInput("arguments must be a JSON object: it takes the place of the call's arguments")
        tool = spec.tool(order.name)
        _fits(arguments, tool.input_schema if tool else {}, f"the arguments of {order.name}")
    return {**answer, "approved": said}


def _review(spec: AgentSpec, run: Run, order: TaskScheduled, answer: Json) -> Json:
    edited = "edited_output" in answer or "arguments" in answer
    return {**answer, "approved": True if edited and "approved" not in answer else _yes(answer)}


def _choice(spec: AgentSpec, run: Run, order: TaskScheduled, answer: Json) -> Json:
    names = allowed(spec, run)
    name = selected(spec, answer, names)
    if name is None:
        raise BadInput(f'answer with {{"selected": name}}, one of {", ".join([*names, DONE])}; got {answer!r}')
    return {**answer, "selected": name}


def _question(spec: AgentSpec, run: Run, order: TaskScheduled, answer: Json) -> Json:
    tool = spec.tool(order.name)
    form = (tool.config if tool else {}).get("responseSchema")
    if form:
        _fits(answer, form, "the answer")
        return {"result": answer}
    return {"result": _words(answer)}


def _message(spec: AgentSpec, run: Run, order: TaskScheduled, answer: Json) -> Json:
    return {"messages": [{"id": "", "payload": answer}], "count": 1}


def _turn(spec: AgentSpec, run: Run, order: TaskScheduled, answer: Json) -> Json:
    words = _words(answer)
    if not isinstance(words, str):
        raise BadInput('answer for the agent with {"message": text}')
    return {"content": words, "finish_reason": "stop", "cost": 0.0}


def _words(answer: Json) -> Any:
    """What was said: the one value of an answer that has a usual name, or the whole answer."""
    rest = {key: value for key, value in answer.items() if key != "approved" or len(answer) == 1}
    if len(rest) == 1 and (key := next(iter(rest))) in ("message", "response", "answer", "result", "content", "output"):
        return rest[key]
    return answer


def _yes(answer: Json) -> bool:
    """Yes or no. What is neither must not count as either."""
    said = answer.get("approved")
    if isinstance(said, bool):
        return said
    if isinstance(said, str) and said.strip().lower() in WORDS:
        return WORDS[said.strip().lower()]
    raise BadInput(f'answer a request for approval with {{"approved": true}} or {{"approved": false}}, got {said!r}')


def _fits(value: Any, form: Json, what: str) -> None:
    if form and (problem := misfit(form, value)):
        raise BadInput(f"{what} do not fit its schema: {problem}")


KINDS = {
    Purpose.APPROVE: "approval",
    Purpose.ACT: "question",
    Purpose.JUDGE: "review",
    Purpose.CHOOSE: "selection",
    Purpose.WAIT: "message",
    Purpose.THINK: "turn",
}
"""The kinds of requests, by what the answer is for."""

READINGS: dict[Purpose, Callable[[AgentSpec, Run, TaskScheduled, Json], Json]] = {
    Purpose.APPROVE: _approval,
    Purpose.JUDGE: _review,
    Purpose.CHOOSE: _choice,
    Purpose.ACT: _question,
    Purpose.WAIT: _message,
    Purpose.THINK: _turn,
}

APPROVAL: Json = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "reason": {"type": "string"},
        "arguments": {"type": "object", "description": "replaces the call's arguments"},
    },
    "required": ["approved"],
}
REVIEW: Json = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "edited_output": {"description": "takes the place of what was checked"},
        "reason": {"type": "string"},
    },
    "required": ["approved"],
}
QUESTION: Json = {"type": "object", "properties": {"response": {"type": "string"}}, "required": ["response"]}
MESSAGE: Json = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}

WORDS = {
    "yes": True,
    "true": True,
    "approve": True,
    "approved": True,
    "no": False,
    "false": False,
    "reject": False,
    "rejected": False,
}
