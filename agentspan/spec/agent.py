"""An agent as plain data: all that the engine needs to run it, and all that crosses the wire.

Fields that hold a function in the user's code (`stop_when`, `gate`, `router`, callbacks) hold here the name of the
task that calls it. The field names are the wire's names in snake case; `wire` holds the only exceptions.
"""

from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agentspan.spec.plan import FORM
from agentspan.spec.policy import Budget
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]
Path = tuple[int | str, ...]
"""The way from a root agent down to another: an index among `agents`, or one of the words in `AgentSpec.child`."""


class AgentSpec(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One agent and its sub-agents."""

    name: str
    description: str = ""
    model: str = ""
    base_url: str | None = None
    instructions: str | Json | None = None
    tools: tuple[ToolSpec, ...] = ()
    agents: tuple["AgentSpec", ...] = ()
    strategy: str = "handoff"
    router: Json | None = None
    output_type: Json | None = None
    guardrails: tuple[Json, ...] = ()
    memory: Json | None = None
    max_turns: int = 25
    max_tokens: int | None = None
    timeout_seconds: float = 0
    temperature: float | None = None
    reasoning_effort: str | None = None
    thinking_config: Json | None = None
    stop_when: Json | None = None
    termination: Json | None = None
    handoffs: tuple[Json, ...] = ()
    callbacks: tuple[Json, ...] = ()
    allowed_transitions: dict[str, list[str]] | None = None
    introduction: str | None = None
    metadata: Json | None = None
    code_execution: Json | None = None
    cli_config: Json | None = None
    include_contents: str | None = None
    planner: bool | Json | None = None
    enable_planning: bool | None = None
    planner_context: Any = None
    plan_source: Any = None
    required_tools: tuple[str, ...] = ()
    prefill_tools: tuple[Json, ...] = ()
    gate: Json | None = None
    credentials: tuple[str, ...] = ()
    external: bool = False
    synthesize: bool | None = None
    fallback: Any = None
    fallback_max_turns: int | None = None
    context_window_budget: int | None = None
    masked_fields: tuple[str, ...] = ()
    budget: Budget | None = None
    fail_fast: bool = False
    width: int | None = None
    deployed: bool = False

    def tool(self, name: str) -> ToolSpec | None:
        """The tool of that name, or None."""
        return next((tool for tool in self.own_tools if tool.name == name), None)

    def at(self, path: Path) -> "AgentSpec":
        """The agent at `path`; () is this agent."""
        return self.child(path[0]).at(path[1:]) if path else self

    def child(self, step: int | str) -> "AgentSpec":
        """The sub-agent at an index, as it runs within this one; "self": this agent as a member of its own swarm;
        "router": the agent that chooses; "tool:x": the agent behind tool x."""
        if isinstance(step, int):
            return _member(self, self.agents[step])
        if step == "self":
            return _member(self, self._alone())
        if step == "router":
            return _nested(msgspec.json.encode(self.router))
        if step in ("planner", "fallback"):
            return _nested(msgspec.json.encode(self._other(step)))
        tool = self.tool(step.partition(":")[2])
        if tool and tool.config.get("member"):
            return next(agent for agent in self.agents if agent.name == tool.name)
        return _nested(msgspec.json.encode(tool.config["agentConfig"] if tool else {"name": step}))

    def _alone(self) -> "AgentSpec":
        """This agent as a member of its own swarm: what belongs to the whole swarm is left to it."""
        whole = ("before_agent", "after_agent")
        callbacks = tuple(each for each in self.callbacks if each.get("position") not in whole)
        rails = tuple(each for each in self.guardrails if str(each.get("position")).startswith("tool"))
        return replace(
            self, agents=(), strategy="handoff", router=None, guardrails=rails, callbacks=callbacks, gate=None,
            output_type=None, termination=None, stop_when=None, metadata=None,
        )  # fmt: skip

    def _other(self, role: str) -> Any:
        """The planner or the fallback, which may be this agent itself with another task."""
        given = self.planner if role == "planner" else self.fallback
        config = given if isinstance(given, dict) else {"name": f"{self.name}_{role}", "model": self.model}
        if role == "fallback":
            return {**config, **({"maxTurns": self.fallback_max_turns} if self.fallback_max_turns else {})}
        tools = [{"name": t.name, "description": t.description, "args": t.input_schema} for t in self.own_tools]
        parts = (str(config.get("instructions") or ""), FORM, f"The tools are:\n{_dumped(tools)}", self._hints())
        return {**config, "instructions": "\n\n".join(part for part in parts if part), "tools": []}

    def _hints(self) -> str:
        return f"What you must know:\n{_dumped(self.planner_context)}" if self.planner_context else ""

    @property
    def executes_plan(self) -> bool:
        """Does it carry out a plan before it answers?"""
        return self.strategy == "plan_execute" or isinstance(self.planner, dict) or isinstance(self.plan_source, dict)

    @property
    def thinks(self) -> bool:
        """Has it a turn loop of its own? A team has none, unless it calls tools and hands off beside."""
        return not self.agents or self.hybrid or self.executes_plan

    @property
    def hybrid(self) -> bool:
        """Does it call tools of its own until it hands off to one of its agents?"""
        return bool(self.agents and self.tools) and self.strategy == "handoff"

    @property
    def own_tools(self) -> tuple[ToolSpec, ...]:
        """The tools that its model is offered: its own, and the ways to its agents where it thinks beside them."""
        if self.executes_plan and self.agents:
            return (*self.tools, *(_as_tool(agent) for agent in self.agents))
        if not self.hybrid:
            return self.tools
        return (*self.tools, *(transfer(self.name, agent.name, agent.description) for agent in self.agents))


def transfer(source: str, target: str, description: str = "") -> ToolSpec:
    """The tool by which one agent hands the conversation to another."""
    about = f" {target}: {description}" if description else ""
    return ToolSpec(
        name=f"{source}_transfer_to_{target}",
        description=f"Hand the conversation over to {target}.{about}",
        input_schema={"type": "object", "properties": {}},
        tool_type="transfer",
        config={"target": target},
    )


def _as_tool(agent: AgentSpec) -> ToolSpec:
    """A member that a plan calls like a tool."""
    request = {"type": "object", "properties": {"request": {"type": "string"}}, "required": ["request"]}
    return ToolSpec(agent.name, agent.description, request, tool_type="agent_tool", config={"member": True})


def _dumped(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _member(team: AgentSpec, agent: AgentSpec) -> AgentSpec:
    """An agent as it runs in a team: with the ways to its peers in a swarm, with the team's tools elsewhere."""
    if team.strategy == "swarm" and agent.thinks:
        peers = [(each.name, each.description) for each in team.agents]
        peers = [(team.name, team.description), *peers] if team.model else peers
        allowed = (team.allowed_transitions or {}).get(agent.name)
        reachable = {name: text for name, text in peers if name != agent.name and (allowed is None or name in allowed)}
        ways = tuple(transfer(agent.name, name, text) for name, text in reachable.items())
        of_tools = (each for each in team.handoffs if each.get("type") == "on_tool_result")
        conditions = tuple(each for each in of_tools if each.get("target") in reachable)
        return replace(agent, tools=(*agent.tools, *ways), handoffs=conditions)
    if team.tools and agent.thinks and not team.thinks and team.strategy != "swarm":
        own = {tool.name for tool in agent.tools}
        return replace(agent, tools=(*agent.tools, *(tool for tool in team.tools if tool.name not in own)))
    return agent


@lru_cache(maxsize=1_000)
def _nested(config: bytes) -> AgentSpec:
    return msgspec.json.decode(config, type=AgentSpec, strict=False)
