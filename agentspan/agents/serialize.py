"""An Agent as an AgentSpec: fields copied by name, functions replaced by the names of the tasks that call them."""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import convert
from msgspec.structs import fields as spec_fields

from agentspan.agents.agent import Agent, instructions_of, resolve_agent
from agentspan.agents.callback import used_positions
from agentspan.agents.credentials import names_of
from agentspan.agents.gate import gate_config
from agentspan.agents.guardrail import Rail, rails
from agentspan.agents.termination import is_function
from agentspan.agents.tool import ToolDef, get_tool_def, get_tool_defs
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import Budget
from agentspan.spec.tool import ToolSpec
from agentspan.spec.wire import encode

Json = dict[str, Any]


def serialize(agent: Agent) -> AgentSpec:
    """The spec of an agent and all below it. Instructions that are a function are called now."""
    values = {name: _value(agent, name) for name in SPEC_FIELDS}
    return AgentSpec(**{name: value for name, value in values.items() if value is not None})


def config_of(agent: Agent) -> Json:
    """The agent as it goes over the wire."""
    return encode(serialize(agent))


def tool_spec(tool: ToolDef, guardrails: tuple[Json, ...] = ()) -> ToolSpec:
    """The spec of a tool, with its guardrails as they are called in its agent."""
    config = {key: value for key, value in tool.config.items() if value is not None and key != "agent"}
    if (nested := tool.config.get("agent")) is not None:
        config["agentConfig"] = encode(serialize(resolve_agent(nested)))
    if tool.credentials:
        config["credentials"] = names_of(tool.credentials)
    return ToolSpec(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        tool_type=tool.tool_type,
        approval_required=tool.approval_required,
        approval=tool.approval.to_config(tool.name) if tool.approval else None,
        timeout_seconds=tool.timeout_seconds,
        config=config,
        guardrails=guardrails,
        stateful=tool.stateful,
        max_calls=tool.max_calls,
        retry_count=tool.retry_count,
        retry_delay_seconds=tool.retry_delay_seconds,
        retry_logic=tool.retry_policy,
        source_digest=tool.newest().source_digest,
    )


def rails_of(agent: Agent) -> list[Rail]:
    """The guardrails of an agent and of its tools."""
    return rails(agent.guardrails, {tool.name: tool.guardrails for tool in own_tools(agent)})


def own_tools(agent: Agent) -> list[ToolDef]:
    """The tools of an agent; one that is run by Claude Code has only names of tools."""
    return [] if agent.is_claude_code else get_tool_defs(agent.tools)


def tree(agent: Agent) -> Iterator[Agent]:
    """The agent and all agents below it: sub-agents, a router, a planner, a fallback, agents that are tools."""
    yield agent
    for child in agent.agents:
        yield from tree(child)
    for other in (agent.router, agent.planner, agent.fallback):
        if isinstance(other, Agent) or hasattr(other, "_agent_def"):
            yield from tree(resolve_agent(other, agent.model))
    for each in agent.tools:
        nested = None if isinstance(each, str) else get_tool_def(each).config.get("agent")
        if nested is not None:
            yield from tree(resolve_agent(nested))


def _value(agent: Agent, name: str) -> Any:
    if name in MADE:
        return MADE[name](agent)
    value = getattr(agent, name)
    if isinstance(value, list):
        return tuple(value) or None
    return value if value not in ("", {}) else None


def _tools(agent: Agent) -> tuple[ToolSpec, ...]:
    if agent.is_claude_code:
        return (ToolSpec(name=agent.name, description=f"Claude Code agent {agent.name}"),)
    found = rails_of(agent)
    return tuple(
        tool_spec(each, tuple(rail.to_config() for rail in found if rail.tool == each.name))
        for each in get_tool_defs(agent.tools)
    )


def _metadata(agent: Agent) -> Json | None:
    own = {"_framework_passthrough": True} if agent.is_claude_code else {}
    return {**agent.metadata, **own} or None


def _router(agent: Agent) -> Json | None:
    router = agent.router
    if router is None:
        return None
    if isinstance(router, Agent) or hasattr(router, "_agent_def"):
        return encode(serialize(resolve_agent(router, agent.model)))
    return {"taskName": f"{agent.name}_router_fn"}


def _output_type(agent: Agent) -> Json | None:
    if agent.output_type is None:
        return None
    from agentspan.agents.shape import shape_of

    return shape_of(agent.output_type)


def _memory(agent: Agent) -> Json | None:
    if agent.memory is None:
        return None
    if not hasattr(agent.memory, "to_config"):
        raise TypeError(f"memory must be a ConversationMemory or a SemanticMemory, got {type(agent.memory).__name__}")
    return agent.memory.to_config()


def _callbacks(agent: Agent) -> tuple[Json, ...]:
    positions = used_positions(agent.callbacks, agent.legacy_callbacks())
    return tuple({"position": each, "taskName": f"{agent.name}_{each}"} for each in positions)


def _termination(agent: Agent) -> Json | None:
    """The condition on the wire. One that has a part of the user's own is judged as a whole in the user's process."""
    if agent.termination is None:
        return None
    if is_function(agent.termination):
        return {"type": "unknown", "taskName": f"{agent.name}_termination"}
    return agent.termination.to_config()


def _planner(agent: Agent) -> Any:
    if isinstance(agent.planner, Agent) or hasattr(agent.planner, "_agent_def"):
        return encode(serialize(resolve_agent(agent.planner, agent.model)))
    return True if agent.planner else None


def _fallback(agent: Agent) -> Any:
    """An agent as it is, models as a list."""
    given = agent.fallback
    if isinstance(given, Agent) or hasattr(given, "_agent_def"):
        return encode(serialize(resolve_agent(given, agent.model)))
    return [given] if isinstance(given, (str, dict)) else list(given) if given else None


def _prefill(agent: Agent) -> tuple[Json, ...]:
    return tuple(
        each if isinstance(each, dict) else {"name": each.name, "arguments": each.arguments}
        for each in agent.prefill_tools
    )


SPEC_FIELDS = tuple(field.name for field in spec_fields(AgentSpec) if field.name != "deployed")
"""What an Agent says of itself; that it is deployed, the server knows."""

MADE: dict[str, Callable[[Agent], Any]] = {
    "instructions": instructions_of,
    "tools": _tools,
    "agents": lambda agent: tuple(serialize(each) for each in agent.agents),
    "strategy": lambda agent: str(agent.strategy) if agent.agents or agent.strategy == "plan_execute" else None,
    "router": _router,
    "output_type": _output_type,
    "guardrails": lambda agent: tuple(rail.to_config() for rail in rails_of(agent) if not rail.tool),
    "memory": _memory,
    "thinking_config": lambda agent: (
        {"enabled": True, "budgetTokens": agent.thinking_budget_tokens} if agent.thinking_budget_tokens else None
    ),
    "stop_when": lambda agent: {"taskName": f"{agent.name}_stop_when"} if agent.stop_when else None,
    "termination": _termination,
    "handoffs": lambda agent: tuple(each.to_config(agent.name) for each in agent.handoffs),
    "callbacks": _callbacks,
    "metadata": _metadata,
    "code_execution": lambda agent: agent.code_execution.to_config() if agent.code_execution else None,
    "cli_config": lambda agent: agent.cli_config.to_config() if agent.cli_config else None,
    "planner": _planner,
    "gate": lambda agent: gate_config(agent.gate, agent.name) if agent.gate is not None else None,
    "credentials": lambda agent: tuple(names_of(agent.credentials)),
    "fallback": _fallback,
    "prefill_tools": _prefill,
    "budget": lambda agent: convert(agent.budget.to_config(), Budget) if agent.budget else None,
}
"""Spec fields that are made of the agent's rather than copied."""

ELSEWHERE = {
    "dependencies": "stays in this process: tools get it in ToolContext",
    "local_code_execution": "code_execution",
    "allowed_languages": "code_execution",
    "allowed_commands": "code_execution",
    "cli_commands": "cli_config",
    "cli_allowed_commands": "cli_config",
    "before_agent_callback": "callbacks",
    "after_agent_callback": "callbacks",
    "before_model_callback": "callbacks",
    "after_model_callback": "callbacks",
    "thinking_budget_tokens": "thinking_config",
    "stateful": "the start request's runId",
}
"""Agent's parameters that are no field of the spec, and where they go."""
