"""Who answers in place of models, of tools and of people while an agent runs in memory."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agentspan.client.launch import scripts_folder
from agentspan.errors import InvalidSpec, ModelFailure
from agentspan.spec import script as scripts
from agentspan.spec.chat import last_user_text, turn_of
from agentspan.spec.script import Answer, Fault

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a model is asked.

    `purpose`: think (a turn of the agent), choose (who is next), judge (a guardrail), speak (a synthesis), condense.
    `turn` is the agent's, from 1; `attempt` counts the tries from 0; `of` names the question, the same in each attempt.
    `check` is the guardrail that judges, `called_as` the tool by which the agent was called.
    """

    agent: str
    model: str
    messages: list[Json]
    tools: list[Json] = field(default_factory=list)
    purpose: str = "think"
    turn: int = 1
    attempt: int = 0
    options: Json = field(default_factory=dict)
    of: str = ""
    check: str = ""
    called_as: str = ""

    @property
    def execution(self) -> int:
        """The number of the execution that asks."""
        return int(self.of.partition(":")[0])

    @property
    def prompt(self) -> str:
        """What the user said last."""
        return last_user_text(self.messages)


@dataclass(frozen=True)
class ToolCall:
    """A task that a function or a service would do: a tool, a guardrail, a callback, ..."""

    name: str
    args: Json
    agent: str
    purpose: str = "act"
    id: str = ""


class Answering(Protocol):
    """Answers what a run asks. NOT_GIVEN hands the question on: to the function, or to nobody."""

    def model(self, asked: Asked) -> Any:
        """A text, an object with the fields of a script's answer, or an exception."""

    def tool(self, call: ToolCall) -> Any:
        """A value, or an exception."""

    def person(self, request: Json) -> Any:
        """An object such as {"approved": True}."""


class NotGiven:
    """No answer."""

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN = NotGiven()


class Recorded(dict[str, Any]):
    """The output of a task as a log keeps it."""


class Given:
    """Answers that a test gives.

    `model`: a list (one answer for each question), a function of Asked, the name of a scripted model, or a dict of
    these by the agent's name ("*" for all others). Without it, agents with a scripted model have theirs. `tools`: by
    name, a result, an exception to raise, or a function of the arguments, in place of the tool. `people`: True or
    False for every approval, a list of answers, a function of the request, or a dict of answers by the tool's name.
    """

    def __init__(self, model: Any = None, tools: Mapping[str, Any] | None = None, people: Any = None) -> None:
        self._model, self._tools, self._people = _models(model), dict(tools or {}), _person(people)
        self._kept: dict[str, Any] = {}

    def model(self, asked: Asked) -> Any:
        again = self._kept.get(asked.of)
        if asked.attempt and isinstance(again, Answer) and again.errors:
            return again
        source = self._model.get(asked.agent, self._model.get("*"))
        said = source(asked) if source is not None else _own(asked)
        self._kept[asked.of] = said
        return said

    def tool(self, call: ToolCall) -> Any:
        found = self._tools.get(call.name, NOT_GIVEN)
        return found(**call.args) if callable(found) and not _is_error(found) else found

    def person(self, request: Json) -> Any:
        return self._people(request)


def _models(given: Any) -> dict[str, Callable[[Asked], Any]]:
    named = (
        given if isinstance(given, Mapping) and "content" not in given and "tool_calls" not in given else {"*": given}
    )
    return {str(name): _model(each, str(name)) for name, each in named.items() if each is not None}


def _model(given: Any, name: str) -> Callable[[Asked], Any]:
    if isinstance(given, str) and given.startswith("scripted/"):
        return lambda asked: _scripted(given.partition("/")[2], asked)
    if callable(given):
        return given  # type: ignore[no-any-return]
    if not isinstance(given, list | tuple):
        raise TypeError(f"model must be a list of answers, a function, or the name of a scripted model, got {given!r}")
    left = [each if isinstance(each, BaseException) else _answer(each) for each in given]
    return lambda asked: _next(left, len(given), asked)


def _next(left: list[Any], count: int, asked: Asked) -> Any:
    if not left:
        raise ModelFailure(f"the answers given ({count}) are used up, and {asked.agent} asks its model for another one")
    first = left[0]
    if isinstance(first, Answer) and first.times == "forever":
        return first
    if isinstance(first, Answer) and isinstance(first.times, int) and first.times > 1:
        left[0] = msgspec.structs.replace(first, times=first.times - 1)
        return first
    return left.pop(0)


def _answer(given: Any) -> Answer:
    return scripts.answers([given], "the model of this run")[0]


def _own(asked: Asked) -> Any:
    if asked.model.startswith("scripted/"):
        return _scripted(asked.model.partition("/")[2], asked)
    raise ModelFailure(
        f"{asked.agent} asks {asked.model or 'a model'}, and no answer is given: pass model=[...], one answer for each "
        "question, or a function of the question"
    )


def _scripted(name: str, asked: Asked) -> Answer:
    """The answer that is due by a script of the local server."""
    file = scripts_folder() / f"{name}.json"
    known = _scripts(file)
    if name not in known:
        raise ModelFailure(f'There is no script "{name}" in {file.parent}.')
    turn = turn_of(asked.messages)
    found = scripts.due(known[name], turn)
    if found is None:
        raise ModelFailure(scripts.too_short(name, known[name], turn))
    return found


def _scripts(file: Path) -> dict[str, list[Answer]]:
    try:
        return scripts.scripts(file.read_bytes(), file.stem)
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, InvalidSpec) as error:
        raise ModelFailure(f"The script file {file} cannot be read: {error}") from None


def _person(given: Any) -> Callable[[Json], Any]:
    if given is None:
        return lambda request: NOT_GIVEN
    if isinstance(given, bool):
        return lambda request: {"approved": given} if request["kind"] in ("approval", "review") else NOT_GIVEN
    if isinstance(given, Mapping):
        return lambda request: _of(given.get(request["tool"], NOT_GIVEN), request)
    if callable(given):
        return given  # type: ignore[no-any-return]
    left = list(given)
    return lambda request: _of(left.pop(0), request) if left else NOT_GIVEN


def _of(answer: Any, request: Json) -> Any:
    return answer(request) if callable(answer) else answer


def said(answer: Any, asked: Asked) -> Json:
    """An answer as the log keeps it. ModelFailure if the model fails in this attempt."""
    if isinstance(answer, Recorded):
        return dict(answer)
    if isinstance(answer, ModelFailure):
        raise answer
    if isinstance(answer, BaseException):
        raise ModelFailure(str(answer) or type(answer).__name__)
    whole = answer if isinstance(answer, Answer) else _answer(answer)
    if asked.attempt < len(whole.errors):
        raise _failure(whole.errors[asked.attempt], asked)
    turn = turn_of(asked.messages)
    fill = scripts.filler(asked.messages, turn)
    calls = [_call(each.name, scripts.filled(each.arguments, fill)) for each in whole.tool_calls]
    content = fill(whole.content or "".join(whole.chunks or ()))
    usage = whole.usage or scripts.count(asked.messages, content, [len(each.get("arguments") or ()) for each in calls])
    return {
        "content": content,
        **({"tool_calls": calls} if calls else {}),
        "finish_reason": _finish(whole.finish_reason, bool(calls)),
        "usage": msgspec.to_builtins(usage),
        "cost": whole.cost,
        "model": asked.model,
    }


def _call(name: str, arguments: Any) -> Json:
    if isinstance(arguments, str):
        try:
            value = json.loads(arguments or "{}")
        except ValueError:
            value = None
        return {"name": name, "arguments": value} if isinstance(value, dict) else {"name": name, "raw": arguments}
    return {"name": name, "arguments": arguments}


def _finish(reason: str | None, has_calls: bool) -> str:
    if reason in FINISHES:
        return FINISHES[reason]
    return "tool_calls" if has_calls else "stop"


def _failure(fault: Fault, asked: Asked) -> ModelFailure:
    text = fault.text(asked.model)
    return ModelFailure(text, retryable=fault.passes, retry_after_ms=fault.retry_after_ms, cause=fault.cause)


def as_person(answer: Any) -> Json:
    """A person's answer as an object: a bool approves or not, any other value is the response."""
    if isinstance(answer, bool):
        return {"approved": answer}
    return dict(answer) if isinstance(answer, Mapping) else {"response": answer}


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


FINISHES = {"length": "length", "max_tokens": "length", "content_filter": "content_filter", "refusal": "content_filter"}
