"""What makes a spec impossible to run, and what this version does not run yet.

`check` is asked before a run is stored, so that a definition that cannot work is an answer and not a failed run.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from agentspan.errors import InvalidSpec, NotImplementedHere
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import BACK_OFFS

STRATEGIES = ("handoff", "sequential", "parallel", "router", "round_robin", "random", "swarm", "manual", "plan_execute")
BUILT_STRATEGIES = ("sequential", "parallel")
BUILT_TOOL_TYPES = ("worker",)


def check(spec: AgentSpec, where: str = "") -> None:
    """Raise InvalidSpec if the spec can never run, NotImplementedHere if only this version cannot run it."""
    path = f"{where}{spec.name or '?'}"
    if where and is_reference(spec):
        if problem := next(_loose(spec), None):
            raise InvalidSpec(f"agent {path!r}: {problem}")
        return
    if problem := next(problems(spec), None):
        raise InvalidSpec(f"agent {path!r}: {problem}")
    if feature := next((name for name, used in UNBUILT.items() if used(spec)), None):
        raise NotImplementedHere(f"agent {path!r} uses {feature}, which this version does not run yet")
    for agent in spec.agents:
        check(agent, f"{path}/")


def is_reference(spec: AgentSpec) -> bool:
    """Does it only name an agent that is deployed elsewhere?"""
    return spec.external or not (spec.model or spec.agents)


def problems(spec: AgentSpec) -> Iterator[str]:
    """Why this one agent, sub-agents apart, can never run; nothing if it can."""
    if not spec.name:
        yield "it has no name"
    if is_reference(spec):
        yield (
            "it has no model and no sub-agents, so it refers to a deployed agent: give it a model "
            '("provider/model"), or run the deployed agent by its name'
        )
    if isinstance(spec.instructions, dict) and not _is_text(spec.instructions):
        yield "instructions must be text, a prompt template with a name, or a function"
    if spec.max_turns < 1:
        yield f"maxTurns must be 1 or more, got {spec.max_turns}"
    if spec.timeout_seconds < 0:
        yield f"timeoutSeconds must be 0 (none) or more, got {spec.timeout_seconds}"
    if spec.strategy not in STRATEGIES:
        yield f"unknown strategy {spec.strategy!r}; the strategies are {', '.join(STRATEGIES)}"
    if double := _double(tool.name for tool in spec.tools):
        yield f"two tools are named {double!r}"
    if double := _double(agent.name for agent in spec.agents):
        yield f"two sub-agents are named {double!r}"
    for tool in spec.tools:
        if not tool.name:
            yield "a tool has no name"
        if tool.retry_logic is not None and tool.retry_logic not in BACK_OFFS:
            yield f"tool {tool.name!r}: retryLogic must be one of {', '.join(BACK_OFFS)}, got {tool.retry_logic!r}"
        if min(tool.retry_count or 0, tool.retry_delay_seconds or 0, tool.timeout_seconds or 0) < 0:
            yield f"tool {tool.name!r}: retryCount, retryDelaySeconds and timeoutSeconds must not be negative"


def _loose(spec: AgentSpec) -> Iterator[str]:
    """What is wrong with a reference to a deployed agent."""
    if not spec.name:
        yield "it has no name"
    if said := [name for name in ("instructions", "tools", "agents") if getattr(spec, name)]:
        yield (
            f"it has {' and '.join(said)} but no model: give it a model; "
            "a reference to a deployed agent takes them from there"
        )


def _is_text(instructions: dict[str, Any]) -> bool:
    if instructions.get("type") == "prompt_template":
        return bool(instructions.get("name")) and isinstance(instructions.get("variables") or {}, dict)
    return bool(instructions.get("_worker_ref"))


def check_schemas(spec: AgentSpec) -> None:
    """Raise InvalidSpec for a tool whose inputSchema is not JSON Schema of an object. Server side: needs jsonschema."""
    for tool in (tool for tool in spec.tools if tool.input_schema):
        if problem := _schema_problem(msgspec.json.encode(tool.input_schema, order="deterministic")):
            raise InvalidSpec(f"agent {spec.name!r}, tool {tool.name!r}: inputSchema {problem}")
    for agent in spec.agents:
        check_schemas(agent)


@lru_cache(maxsize=2_000)
def _schema_problem(data: bytes) -> str | None:
    """What is wrong with a schema. Kept, since a check takes a millisecond and the same tools come with each start."""
    import jsonschema  # type: ignore[import-untyped]

    schema = msgspec.json.decode(data)
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as problem:
        return f"is not JSON Schema: {problem.message}"
    return None if schema.get("type", "object") == "object" else "must describe an object"


def _double(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _strategy(spec: AgentSpec) -> bool:
    return bool(spec.agents) and spec.strategy not in BUILT_STRATEGIES


UNBUILT: dict[str, Callable[[AgentSpec], Any]] = {
    "a strategy other than sequential and parallel": _strategy,
    "tools beside sub-agents": lambda s: s.agents and s.tools,
    "tools that are no functions": lambda s: [t for t in s.tools if t.tool_type not in BUILT_TOOL_TYPES],
    "guardrails": lambda s: s.guardrails or [t for t in s.tools if t.guardrails],
    "a router": lambda s: s.router,
    "output_type": lambda s: s.output_type,
    "memory": lambda s: s.memory,
    "stop_when": lambda s: s.stop_when,
    "termination": lambda s: s.termination,
    "handoffs": lambda s: s.handoffs,
    "callbacks": lambda s: s.callbacks,
    "code execution": lambda s: (s.code_execution or {}).get("enabled"),
    "command-line tools": lambda s: (s.cli_config or {}).get("enabled"),
    "include_contents": lambda s: s.include_contents not in (None, "default"),
    "planning": lambda s: s.planner or s.enable_planning or s.plan_source,
    "required_tools": lambda s: s.required_tools,
    "prefill_tools": lambda s: s.prefill_tools,
    "a gate": lambda s: s.gate,
    "credentials": lambda s: s.credentials or [t for t in s.tools if t.config.get("credentials")],
    "fallback models": lambda s: s.fallback,
    "masked_fields": lambda s: s.masked_fields,
    "per-tool call limits": lambda s: [t for t in s.tools if t.max_calls],
    "claude-code models": lambda s: s.model.startswith("claude-code"),
}
"""Features that the contract documents and that this version does not run: each a sentence, never a silent no-op."""
