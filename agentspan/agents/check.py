"""What is wrong with an agent as it is written: asked when it is made, so that a slip is an error where it stands."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from agentspan.agents.callback import POSITIONS
from agentspan.agents.gate import gate_config
from agentspan.agents.handoff import HandoffCondition
from agentspan.agents.termination import TerminationCondition
from agentspan.agents.tool import ToolDef, get_tool_defs
from agentspan.spec.found import TYPES as FOUND_AT_RUN

CONTENTS = (None, "none", "default")


class Written(Protocol):
    """The parameters of an agent that are looked at: of any type, until they have been."""

    name: str
    model: Any
    fallback: Any
    include_contents: Any
    gate: Any
    callbacks: list[Any]
    tools: list[Any]
    required_tools: list[Any]
    agents: list[Any]
    strategy: Any
    handoffs: list[Any]
    allowed_transitions: Any

    @property
    def external(self) -> bool: ...

    @property
    def is_claude_code(self) -> bool: ...


def check_agent(agent: Written) -> None:
    """Raise the first problem: ValueError for a value that cannot be, TypeError for a wrong type."""
    for look in CHECKS:
        for problem in look(agent):
            raise problem


def model_problem(model: Any, what: str) -> Exception | None:
    """Why this is no name of a model; None if it is one."""
    if not isinstance(model, str):
        return TypeError(f'{what} must be text, "provider/model", got {type(model).__name__}')
    provider, _, name = model.partition("/")
    if provider and name:
        return None
    return ValueError(f'{what} must be "provider/model" such as "openai/gpt-4o", got {model!r}')


def _model(agent: Written) -> Iterator[Exception]:
    if agent.model == "" or (isinstance(agent.model, str) and agent.model.startswith("claude-code")):
        return
    if problem := model_problem(agent.model, f"the model of agent {agent.name!r}"):
        yield problem


def _fallback(agent: Written) -> Iterator[Exception]:
    given = agent.fallback
    for each in given if isinstance(given, (list, tuple)) else [given] if isinstance(given, str) else []:
        model = each.get("model") if isinstance(each, dict) else each
        if problem := model_problem(model, f"a fallback of agent {agent.name!r}"):
            yield problem


def _numbers(agent: Written) -> Iterator[Exception]:
    for name in ("max_turns", "max_tokens", "thinking_budget_tokens", "width", "fallback_max_turns"):
        value = getattr(agent, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            yield ValueError(f"{name} must be a whole number, 1 or more, got {value!r}")
    for name, most, words in (("temperature", 2, "between 0 and 2"), ("timeout_seconds", math.inf, "0 or more")):
        value = getattr(agent, name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 <= value <= most and value != math.inf):
            yield ValueError(f"{name} must be a number, {words}, got {value!r}")


def _words(agent: Written) -> Iterator[Exception]:
    if agent.include_contents not in CONTENTS:
        yield ValueError(f"include_contents must be 'none' or 'default', got {agent.include_contents!r}")


def _functions(agent: Written) -> Iterator[Exception]:
    for name, (wanted, is_right) in KINDS.items():
        value = getattr(agent, name)
        if value is not None and not is_right(value):
            yield TypeError(f"{name} must be {wanted}, got {type(value).__name__}")
    if agent.gate is not None:
        try:
            gate_config(agent.gate, agent.name)
        except ValueError as problem:
            yield problem
    for handler in agent.callbacks:
        yield from _handler(handler)


def _handler(handler: object) -> Iterator[Exception]:
    if isinstance(handler, type):
        yield TypeError(f"callbacks must be CallbackHandler objects: write {handler.__name__}()")
    elif not any(hasattr(handler, method) for method in POSITIONS.values()):
        yield TypeError(f"callbacks must be CallbackHandler objects, got {type(handler).__name__}")


def _tools(agent: Written) -> Iterator[Exception]:
    if agent.is_claude_code:
        if not all(isinstance(each, (str, ToolDef)) for each in agent.tools):
            yield ValueError("an agent run by Claude Code takes its tools as names (strings)")
        return
    if text := next((each for each in agent.tools if isinstance(each, str)), None):
        yield TypeError(f"Expected a @tool-decorated function or a ToolDef, got {text!r}: names are for Claude Code")
        return
    tools = get_tool_defs(agent.tools)
    names = [each.name for each in tools if each.tool_type not in FOUND_AT_RUN]
    if double := next((name for name in names if names.count(name) > 1), None):
        yield ValueError(f"Duplicate tool names: {double!r} occurs twice in agent {agent.name!r}")
    known: set[str | None] = {*names, *(f"{agent.name}_transfer_to_{each.name}" for each in agent.agents)}
    known |= {name for each in tools if each.tool_type in FOUND_AT_RUN for name in _picked(each)}
    if None in known or agent.external:
        return
    if missing := [name for name in agent.required_tools if name not in known]:
        has = ", ".join(names) if names else "none"
        yield ValueError(f"required_tools of agent {agent.name!r} names {missing[0]!r}, but its tools are: {has}")


def _picked(tool: ToolDef) -> list[str | None]:
    """The names that a tool which stands for others may bring; None if nobody knows yet."""
    return tool.config.get("tool_names") or [None]


def _team(agent: Written) -> Iterator[Exception]:
    names = [each.name for each in agent.agents]
    if double := next((name for name in names if names.count(name) > 1), None):
        yield ValueError(f"Duplicate sub-agent names: {double!r} occurs twice in agent {agent.name!r}")
    if agent.strategy == "swarm" and agent.name in names:
        yield ValueError(f"a swarm is a member of itself: a sub-agent must not be named {agent.name!r} too")
    if wrong := next((each for each in agent.handoffs if not isinstance(each, HandoffCondition)), None):
        what = type(wrong).__name__
        yield TypeError(f"handoffs must be OnTextMention, OnToolResult or OnCondition objects, got {what}")
    if not names:
        return
    known = [agent.name, *names]
    named = [condition.target for condition in agent.handoffs]
    if nobody := next((name for name in named if name not in known), None):
        yield ValueError(f"a handoff goes to {nobody!r}, but the agents are: {', '.join(known)}")
    transitions = agent.allowed_transitions or {}
    named = [*transitions, *(name for targets in transitions.values() for name in targets)]
    if nobody := next((name for name in named if name not in known), None):
        yield ValueError(f"allowed_transitions names {nobody!r}, but the agents are: {', '.join(known)}")


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "stop_when": ("a function of a context", callable),
    "router": ("an Agent or a function", lambda value: callable(value) or hasattr(value, "instructions")),
    "termination": ("a TerminationCondition", lambda value: isinstance(value, TerminationCondition)),
    "before_agent_callback": ("a function", callable),
    "after_agent_callback": ("a function", callable),
    "before_model_callback": ("a function", callable),
    "after_model_callback": ("a function", callable),
}
"""What may stand in a field, in words and as a question."""

CHECKS: tuple[Callable[[Written], Iterator[Exception]], ...] = (
    _model,
    _fallback,
    _numbers,
    _words,
    _functions,
    _tools,
    _team,
)
