"""The functions of an agent that are no tools, as tasks: guardrails, callbacks, `stop_when`, gates, routers and so on.

Each is a `Duty`: the queue that it serves and what answers a task of it. They are the user's own functions; whatever is
data (patterns, text and count conditions, transfers) is decided by the server and needs no process.
"""

import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from agentspan.agents.agent import Agent, PromptTemplate, are_made_per_run
from agentspan.agents.callback import POSITIONS, overrides, used_positions
from agentspan.agents.convert import arguments
from agentspan.agents.encode import output_of
from agentspan.agents.exceptions import ToolArgumentError
from agentspan.agents.guardrail import GuardrailResult, Rail
from agentspan.agents.handoff import HandoffCondition, OnCondition, OnToolResult, is_function
from agentspan.agents.schema import EMPTY
from agentspan.agents.serialize import own_tools, rails_of
from agentspan.agents.termination import AndTermination, OrTermination, TerminationCondition, TerminationResult
from agentspan.agents.termination import is_function as is_own_termination
from agentspan.agents.tool import ToolDef

Json = dict[str, Any]


class Caller(Protocol):
    """What runs the user's functions for a duty."""

    async def invoke(self, function: Callable[..., Any], /, *places: Any, **names: Any) -> Any:
        """Call a function where it belongs: `async def` on its loop, others in a thread."""

    def tell(self, problem: BaseException) -> None:
        """Put an exception that changes nothing into the log of the task."""


@dataclass(frozen=True)
class Duty:
    """A queue that an agent's function serves."""

    name: str
    agent: Agent
    perform: Callable[[Json, Caller], Awaitable[Json]]


def duties(agent: Agent) -> Iterator[Duty]:
    """What this one agent, sub-agents apart, needs this process for beside its tools."""
    name = agent.name
    for rail in rails_of(agent):
        if rail.guardrail.kind == "custom" and not rail.guardrail.external:
            yield Duty(rail.task, agent, partial(_judge, rail))
    for tool in own_tools(agent):
        if tool.approval is not None and tool.approval.predicate is not None:
            yield Duty(f"{tool.name}_approval", agent, partial(_ask, tool, tool.approval.predicate))
    for position in used_positions(agent.callbacks, agent.legacy_callbacks()):
        yield Duty(f"{name}_{position}", agent, partial(_hook, agent, position))
    if are_made_per_run(agent.instructions):
        yield Duty(f"{name}_instructions", agent, partial(_instruct, agent.instructions))
    if agent.stop_when is not None:
        yield Duty(f"{name}_stop_when", agent, partial(_stop, agent.stop_when))
    if agent.termination is not None and is_own_termination(agent.termination):
        yield Duty(f"{name}_termination", agent, partial(_terminate, agent.termination))
    if callable(agent.gate):
        yield Duty(f"{name}_gate", agent, partial(_pass, agent.gate))
    if callable(agent.router) and not hasattr(agent.router, "_agent_def"):
        yield Duty(f"{name}_router_fn", agent, partial(_route, agent.router))
    if any(is_function(each) for each in agent.handoffs):
        yield Duty(f"{name}_handoff_check", agent, partial(_hand_off, agent))


# Checks


async def _judge(rail: Rail, given: Json, caller: Caller) -> Json:
    """{content, ...} -> a verdict. An exception fails the task: the server decides what that means."""
    content = given.get("content", "")
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    verdict = GuardrailResult.of(await caller.invoke(rail.guardrail.func or _nothing, text))
    on_fail = "pass" if verdict.passed else rail.guardrail.on_fail
    return output_of(
        rail.name,
        {
            "passed": verdict.passed,
            "message": verdict.message,
            "on_fail": on_fail,
            "fixed_output": verdict.fixed_output,
            "guardrail_name": rail.name,
            "should_continue": on_fail == "retry",
        },
    )


async def _ask(tool: ToolDef, predicate: Callable[..., Any], given: Json, caller: Caller) -> Json:
    """{tool_name, arguments, agent_name} -> {approve}: whether to ask a person. If the function cannot say, ask.

    It takes the arguments by name, as the tool gets them, or as one dict.
    """
    values = dict(given.get("arguments") or {})
    try:
        if _takes_names(predicate, tool):
            asked = await caller.invoke(predicate, **_fitting(predicate, _converted(tool, values)))
        else:
            asked = await caller.invoke(predicate, values)
    except Exception as problem:  # the function is the user's; a call that it cannot judge needs a person
        caller.tell(problem)
        return {"approve": True, "reason": f"{type(problem).__name__}: {problem}"}
    return {"approve": bool(asked)}


async def _stop(stop_when: Callable[..., Any], given: Json, caller: Caller) -> Json:
    """{result, messages, iteration} -> {should_continue}."""
    context = {"result": "", "messages": [], "iteration": 0, **given}
    try:
        return {"should_continue": not await caller.invoke(stop_when, context)}
    except Exception as problem:  # documented: what raises does not stop
        caller.tell(problem)
        return {"should_continue": True}


async def _terminate(condition: TerminationCondition, given: Json, caller: Caller) -> Json:
    """{result, messages, iteration, token_usage} -> {should_continue, reason}."""
    context = {"result": "", "messages": [], "iteration": 0, **given, "token_usage": _usage(given.get("token_usage"))}
    try:
        told = await _terminated(condition, context, caller)
    except Exception as problem:  # as with stop_when
        caller.tell(problem)
        return {"should_continue": True, "reason": ""}
    return {"should_continue": not told.should_terminate, "reason": told.reason}


async def _terminated(condition: TerminationCondition, context: Json, caller: Caller) -> TerminationResult:
    if type(condition) is AndTermination:
        told = [await _terminated(each, context, caller) for each in condition.conditions]
        met = all(each.should_terminate for each in told)
        return TerminationResult(met, " AND ".join(each.reason for each in told if each.reason) if met else "")
    if type(condition) is OrTermination:
        for each in condition.conditions:
            if (one := await _terminated(each, context, caller)).should_terminate:
                return one
        return TerminationResult(False)
    said = await caller.invoke(condition.should_terminate, context)
    return said if isinstance(said, TerminationResult) else TerminationResult(bool(said), type(condition).__name__)


async def _pass(gate: Callable[..., Any], given: Json, caller: Caller) -> Json:
    """{result} -> {decision}: continue if the function says True, or cannot say."""
    try:
        goes_on = await caller.invoke(gate, dict(given))
    except Exception as problem:  # documented: what raises lets pass
        caller.tell(problem)
        goes_on = True
    return {"decision": "stop" if not goes_on or goes_on == "stop" else "continue"}


# Choices


async def _route(router: Callable[..., Any], given: Json, caller: Caller) -> Json:
    """{prompt, conversation, last_agent} -> {selected_agent}. An exception fails the task."""
    more: Json = {key: given[key] for key in ("conversation", "last_agent") if key in given}
    first = next(iter(_parameters(router) or ()), None)
    more = {key: value for key, value in _fitting(router, more).items() if key != first}
    said = await caller.invoke(router, given.get("prompt", ""), **more)
    definition = getattr(said, "_agent_def", said)
    return {"selected_agent": "" if said is None else str(getattr(definition, "name", definition))}


async def _hand_off(agent: Agent, given: Json, caller: Caller) -> Json:
    """{result, active_agent, conversation, messages, is_transfer, transfer_to} -> {active_agent, handoff}.

    A transfer that the model asked for goes first, then the conditions in their order; what `allowed_transitions`
    forbids does not happen.
    """
    active = _member(agent, given.get("active_agent", ""))
    allowed = (agent.allowed_transitions or {}).get(active)
    if given.get("is_transfer") and given.get("transfer_to"):
        target = _member(agent, given["transfer_to"])
        return _to(target) if allowed is None or target in allowed else _stay(active)
    for condition in agent.handoffs:
        is_open = condition.target != active and (allowed is None or condition.target in allowed)
        if is_open and await _is_met(condition, {**given, "active_agent": active}, caller):
            return _to(condition.target)
    return _stay(active)


async def _is_met(condition: HandoffCondition, given: Json, caller: Caller) -> bool:
    results = _tool_results(given)
    name, result = results[-1] if results else ("", "")
    context = {
        "result": "",
        "iteration": 0,
        **given,
        "messages": given.get("messages") or given.get("conversation") or "",
        "tool_name": name,
        "tool_result": result,
    }
    if isinstance(condition, OnToolResult) and not is_function(condition):
        return any(condition.should_handoff({**context, "tool_name": n, "tool_result": r}) for n, r in results)
    function = condition.condition if type(condition) is OnCondition else condition.should_handoff
    try:
        return bool(await caller.invoke(function or _nothing, context))
    except Exception as problem:  # documented: what raises does not hand off
        caller.tell(problem)
        return False


# Words put in


async def _hook(agent: Agent, position: str, given: Json, caller: Caller) -> Json:
    """What the position is about -> what the first function that overrides says, or {}.

    The legacy function comes first, then the handlers in their order.
    """
    values = {"agent_name": agent.name, "position": position, **given}
    for function in _callbacks(agent, position):
        try:
            said = await caller.invoke(function, **_fitting(function, values))
            if said is not None and not isinstance(said, Mapping):
                raise TypeError(f"a callback must return a dict or None, got {type(said).__name__}")
            if said:
                return output_of(f"{position} of {agent.name}", said)
        except Exception as problem:  # documented: a callback that raises changes nothing
            caller.tell(problem)
    return {}


def _callbacks(agent: Agent, position: str) -> Iterator[Callable[..., Any]]:
    if (legacy := agent.legacy_callbacks().get(position)) is not None:
        yield legacy
    for handler in agent.callbacks:
        if overrides(handler, POSITIONS[position]):
            yield getattr(handler, POSITIONS[position])


async def _instruct(instructions: Any, given: Json, caller: Caller) -> Json:
    """{prompt, context, agent} -> {result}: the text; the docstring if the function returns nothing."""
    said = await caller.invoke(instructions, **_fitting(instructions, given))
    if isinstance(said, PromptTemplate):
        raise TypeError("instructions that are made per run must be text; a PromptTemplate is sent with the agent")
    return {"result": str(said if said is not None else inspect.getdoc(instructions) or "")}


# What functions take


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """The parameters by name; None where they cannot be known."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def _fitting(function: Callable[..., Any], values: Json) -> Json:
    """Those of the values that the function takes by name."""
    takes = _parameters(function)
    if takes is None or any(each.kind is each.VAR_KEYWORD for each in takes.values()):
        return values
    named = {name for name, each in takes.items() if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    return {key: value for key, value in values.items() if key in named}


def _takes_names(predicate: Callable[..., Any], tool: ToolDef) -> bool:
    """Are its parameters those of the tool, or `**kwargs`? Else it takes one dict."""
    takes = _parameters(predicate) or {}
    fields = set(tool.input_schema.get("properties") or ())
    needed = {name for name, each in takes.items() if each.default is each.empty and each.kind is not each.VAR_KEYWORD}
    return needed <= fields


def _converted(tool: ToolDef, values: Json) -> Json:
    """The arguments as the tool's hints make them; as they came where they do not fit, which the tool will say."""
    if tool.func is None or tool.tool_type != "worker":
        return values
    takes = tool.parameters()
    try:
        places, names = arguments(tool.name, takes, values)
    except ToolArgumentError:
        return values
    only = [each.name for each in takes.fields if each.positional_only]
    defaults = {each.name: each.default for each in takes.fields if each.default is not EMPTY}
    return {**defaults, **dict(zip(only, places, strict=False)), **names}


def _usage(given: Any) -> Json:
    """Token counts by their names in Python, beside the wire's."""
    usage = dict(given or {})
    return {**usage, **{f"{kind}_tokens": usage[f"{kind}Tokens"] for kind in KINDS if f"{kind}Tokens" in usage}}


def _tool_results(given: Json) -> list[tuple[str, Any]]:
    """Name and result of each tool that answered since the user or another agent spoke."""
    if given.get("tool_name"):
        return [(str(given["tool_name"]), given.get("tool_result", ""))]
    found: list[tuple[str, Any]] = []
    names: dict[Any, str] = {}
    messages = given.get("messages")
    for message in messages if isinstance(messages, list) else ():
        role = message.get("role")
        for call in message.get("tool_calls") or ():
            names[call.get("id")] = str(call.get("name") or (call.get("function") or {}).get("name") or "")
        if role == "user":
            found = []
        elif role == "tool":
            name = message.get("name") or names.get(message.get("tool_call_id")) or ""
            found.append((str(name), message.get("content", message.get("message", ""))))
    return found


def _member(agent: Agent, given: Any) -> str:
    """The name of a swarm's member, from its name or from its index: "0" is the team's own agent."""
    names = [agent.name, *(each.name for each in agent.agents)]
    text = str(given)
    return names[int(text)] if text.isdigit() and int(text) < len(names) and text not in names else text


def _to(target: str) -> Json:
    return {"active_agent": target, "handoff": True}


def _stay(active: str) -> Json:
    return {"active_agent": active, "handoff": False}


def _nothing(*_: Any) -> None:
    return None


KINDS = ("prompt", "completion", "total")
