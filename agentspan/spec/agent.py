"""An agent as plain data: all that the engine needs to run it, and all that crosses the wire.

Fields that hold a function in the user's code (`stop_when`, `gate`, `router`, callbacks) hold here the name of the
task that calls it. The field names are the wire's names in snake case; `wire` holds the only exceptions.
"""

from typing import Any

from msgspec import Struct

from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]


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

    def tool(self, name: str) -> ToolSpec | None:
        """The tool of that name, or None."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def at(self, path: tuple[int, ...]) -> "AgentSpec":
        """The sub-agent at `path`: the index among `agents` at each level; () is this agent."""
        return self.agents[path[0]].at(path[1:]) if path else self
