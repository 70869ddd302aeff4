"""What makes a spec impossible to run, and what this version does not run yet.

`check` is asked before a run is stored, so that a definition that cannot work is an answer and not a failed run.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from agentspan.errors import InvalidSpec, NotImplementedHere
from agentspan.spec import http, mcp
from agentspan.spec.agent import AgentSpec
from agentspan.spec.credentials import names_problem
from agentspan.spec.found import is_stand_in
from agentspan.spec.rules import TERMINATIONS, patterns_problem
from agentspan.spec.tool import BACK_OFFS, ToolSpec

STRATEGIES = ("handoff", "sequential", "parallel", "router", "round_robin", "random", "swarm", "manual", "plan_execute")
CALLBACKS = ("before_agent", "after_agent", "before_model", "after_model", "before_tool", "after_tool")
BUILT_TOOL_TYPES = ("worker", "http", "api", "mcp", "human", "agent_tool", "pull_workflow_messages")


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
    for child in below(spec, path):
        check(child, f"{path}/")


def below(spec: AgentSpec, path: str = "") -> Iterator[AgentSpec]:
    """The agents right below one: members, the router, the planner, the fallback, those behind tools."""
    return (_child(spec, step, path or spec.name) for step in _steps(spec))


def _steps(spec: AgentSpec) -> Iterator[int | str]:
    """The ways to the agents right below."""
    yield from range(len(spec.agents))
    if spec.router and not spec.router.get("taskName"):
        yield "router"
    if isinstance(spec.planner, dict):
        yield "planner"
    if isinstance(spec.fallback, dict) and spec.fallback.get("name"):
        yield "fallback"
    yield from (f"tool:{tool.name}" for tool in spec.tools if tool.tool_type == "agent_tool")


def _child(spec: AgentSpec, step: int | str, path: str) -> AgentSpec:
    if isinstance(step, int):
        return spec.agents[step]
    try:
        return spec.child(step)
    except msgspec.ValidationError as problem:
        raise InvalidSpec(f"agent {path!r}, {step}: {problem}") from problem


def is_reference(spec: AgentSpec) -> bool:
    """Does it only name an agent that is deployed elsewhere? Some clients call a team without a model external too."""
    return not spec.agents and (spec.external or not spec.model)


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
    if double := _double(tool.name for tool in spec.tools if not is_stand_in(tool)):
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
        if tool.tool_type == "agent_tool" and not isinstance(tool.config.get("agentConfig"), dict):
            yield f"tool {tool.name!r} is an agent and has no agentConfig"
        if tool.tool_type in OF_TYPE:
            yield from (f"tool {tool.name!r}: {problem}" for problem in OF_TYPE[tool.tool_type](tool))
    yield from _team_problems(spec)
    for rail in (*spec.guardrails, *(rail for tool in spec.tools for rail in tool.guardrails)):
        yield from _guardrail_problems(rail)
    if spec.include_contents not in (None, "none", "default"):
        yield f"includeContents must be 'none' or 'default', got {spec.include_contents!r}"
    missing = set(spec.required_tools) - {tool.name for tool in spec.tools}
    if missing and not any(map(is_stand_in, spec.tools)):
        yield f"requiredTools names no tool of its own: {', '.join(sorted(missing))}"
    if spec.termination and (odd := next(_odd_rules(spec.termination), None)):
        yield f"unknown termination {odd!r}"
    for names in (spec.credentials, *(tool.config.get("credentials") or () for tool in spec.tools)):
        yield from filter(None, [names_problem(names)])
    if odd_ones := [each.get("position") for each in spec.callbacks if each.get("position") not in CALLBACKS]:
        yield f"a callback's position must be one of {', '.join(CALLBACKS)}, got {odd_ones[0]!r}"
    if nameless := [each["position"] for each in spec.callbacks if not each.get("taskName")]:
        yield f"the callback {nameless[0]} has no taskName"
    if spec.width is not None and spec.width < 1:
        yield f"width must be 1 or more, got {spec.width}"
    if spec.budget and min(each or 0 for each in msgspec.structs.astuple(spec.budget)) < 0:
        yield "a budget must not be negative"


def _api_problems(tool: ToolSpec) -> Iterator[str]:
    """Why a tool that stands for the operations of an API can never be replaced by them."""
    url = tool.config.get("url")
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        yield f"its url must begin with http:// or https://, got {url!r}"


OF_TYPE: dict[str, Callable[[ToolSpec], Iterator[str]]] = {
    "http": http.problems, "api": _api_problems, "mcp": mcp.problems,
}  # fmt: skip


def _team_problems(spec: AgentSpec) -> Iterator[str]:
    """What makes it impossible to choose who speaks."""
    members = {agent.name for agent in spec.agents}
    if not spec.agents:
        return
    if spec.strategy == "handoff" and not spec.model:
        yield "the handoff strategy asks the agent's own model who is next: give it a model"
    if spec.strategy == "router" and not spec.router:
        yield "the router strategy needs a router: an agent, or a function that names one"
    if lost := [str(each.get("target")) for each in spec.handoffs if each.get("target") not in members | {spec.name}]:
        yield f"handoffs to {', '.join(lost)}, who is no member; the members are {', '.join(sorted(members))}"
    allowed = spec.allowed_transitions or {}
    named = {*allowed, *(name for names in allowed.values() for name in names)}
    if lost := sorted(named - members - {spec.name}):
        yield f"allowedTransitions name {', '.join(lost)}, no member; the members are {', '.join(sorted(members))}"


def _guardrail_problems(rail: dict[str, Any]) -> Iterator[str]:
    name = rail.get("name") or "guardrail"
    if (rail.get("onFail") or "retry") not in ("retry", "raise", "fix", "human"):
        yield f"guardrail {name!r}: onFail must be retry, raise, fix or human, got {rail.get('onFail')!r}"
    if (rail.get("position") or "output") not in ("input", "output", "tool", "tool_input", "tool_output"):
        yield f"guardrail {name!r}: position must be input or output (of a tool: tool_input, tool_output)"
    kind = rail.get("guardrailType") or "custom"
    if kind not in ("regex", "llm", "custom", "external"):
        yield f"guardrail {name!r}: guardrailType must be regex, llm, custom or external, got {kind!r}"
    if kind == "regex" and (problem := patterns_problem(rail.get("patterns") or ())):
        yield f"guardrail {name!r}: {problem}"
    if kind in ("custom", "external") and not (rail.get("taskName") or rail.get("name")):
        yield "a guardrail that is a function needs a name"


def _odd_rules(rule: dict[str, Any]) -> Iterator[str]:
    kind = rule.get("type")
    if kind in ("and", "or"):
        for each in rule.get("conditions") or ():
            yield from _odd_rules(each)
    elif kind not in TERMINATIONS and kind != "unknown":
        yield str(kind)


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
    except RecursionError:
        return "is nested too deeply"
    return None if schema.get("type", "object") == "object" else "must describe an object"


def _double(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


UNBUILT: dict[str, Callable[[AgentSpec], Any]] = {
    "tools for media or search": lambda s: [t for t in s.tools if t.tool_type not in BUILT_TOOL_TYPES],
    "code execution": lambda s: (s.code_execution or {}).get("enabled"),
    "command-line tools": lambda s: (s.cli_config or {}).get("enabled"),
    "claude-code models": lambda s: s.model.startswith("claude-code"),
}
"""Features that the contract documents and that this version does not run: each a sentence, never a silent no-op."""
