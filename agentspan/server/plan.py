"""An agent as Conductor's clients would see its plan: readable, never executed. The engine runs the agent itself."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from agentspan.server import conductor
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import below, is_reference
from agentspan.spec.rules import needs_worker
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]

SDK = "conductor"
"""What `agent_sdk` and `type` say of an agent that is written natively."""


def workflow_def(spec: AgentSpec, version: int = 1) -> Json:
    """The definition: its inputs, its metadata, and the tasks that a run would show."""
    return {
        "name": spec.name,
        "description": spec.description,
        "version": version,
        "schemaVersion": 2,
        "inputParameters": ["prompt", "session_id", "media", "cwd"],
        "timeoutSeconds": int(spec.timeout_seconds),
        "timeoutPolicy": "TIME_OUT_WF",
        "outputParameters": {
            key: f"${{{loop_ref(spec)}.output.{key}}}" for key in ("result", "finishReason", "context")
        },
        "metadata": {
            "agentDef": wire.encode(spec),
            "agent_sdk": SDK,
            "agent_capabilities": capabilities(spec),
        },
        "tasks": steps(spec),
    }


def required_workers(spec: AgentSpec) -> list[str]:
    """The task names that this agent and those below it need workers for, each once."""
    return list(dict.fromkeys(_workers(spec)))


def capabilities(spec: AgentSpec) -> list[str]:
    """What the agent and those below it can do, each word once."""
    return list(dict.fromkeys(_capabilities(spec)))


# The tasks


def steps(spec: AgentSpec) -> list[Json]:
    """What a run of the agent would show: what comes before, the agent's own way, what comes after."""
    before = [*hooks(spec, "before_agent"), *brief(spec), *rails(spec, "input")]
    after = [*rails(spec, "output"), *hooks(spec, "after_agent")]
    return [*before, *way(spec), *after]


def way(spec: AgentSpec) -> list[Json]:
    """The turns of an agent that thinks, or what its strategy makes of its agents."""
    if not spec.thinks:
        return STRATEGIES[spec.strategy](spec)
    planner = spec.child("planner") if isinstance(spec.planner, dict) else None
    handed = [choice(spec, "transfer", spec.agents)] if spec.hybrid else []
    return [*([sub_agent(spec, planner)] if planner else []), loop(spec), *handed]


def sequential(spec: AgentSpec) -> list[Json]:
    """Each agent in turn; what comes after a gate only happens where it lets pass."""
    found: list[Json] = []
    inner = found
    for place, agent in enumerate(spec.agents):
        inner.append(sub_agent(spec, agent))
        if agent.gate and place < len(spec.agents) - 1:
            name = str(agent.gate.get("taskName") or f"{ref(agent)}_gate")
            kind = "SIMPLE" if agent.gate.get("taskName") else "INLINE"
            inner.append(step(name, f"{sub_ref(spec, agent)}_gate", kind, {"result": output_of(sub_ref(spec, agent))}))
            rest: list[Json] = []
            inner.append(switch(f"{sub_ref(spec, agent)}_passed", {"continue": rest}))
            inner = rest
    return found


def parallel(spec: AgentSpec) -> list[Json]:
    return [
        {
            **step(f"{ref(spec)}_fork", f"{ref(spec)}_fork", "FORK_JOIN", {}),
            "forkTasks": [[sub_agent(spec, each)] for each in spec.agents],
        },
        {
            **step(f"{ref(spec)}_fork_join", f"{ref(spec)}_fork_join", "JOIN", {}),
            "joinOn": [sub_ref(spec, each) for each in spec.agents],
        },
    ]


def handoff(spec: AgentSpec) -> list[Json]:
    chooser = step(f"{ref(spec)}_choose", f"{ref(spec)}_choose", "LLM_CHAT_COMPLETE", model_input(spec))
    closing = step(f"{ref(spec)}_synthesis", f"{ref(spec)}_synthesis", "LLM_CHAT_COMPLETE", model_input(spec))
    talk = rounds(spec, [chooser, choice(spec, "choose", spec.agents)])
    return [talk] if spec.synthesize is False else [talk, closing]


def router(spec: AgentSpec) -> list[Json]:
    given = spec.router or {}
    name = str(given.get("taskName") or given.get("name") or "router")
    chooser = step(name, f"{ref(spec)}_router", "SIMPLE", {"prompt": PROMPT})
    if not given.get("taskName"):
        chooser = {**sub_agent(spec, spec.child("router")), "taskReferenceName": f"{ref(spec)}_router"}
    return [chooser, choice(spec, "router", spec.agents)]


def rotation(spec: AgentSpec) -> list[Json]:
    chooser = step(spec.strategy, f"{ref(spec)}_select", "INLINE", {"strategy": spec.strategy})
    return [rounds(spec, [chooser, choice(spec, "select", spec.agents)])]


def manual(spec: AgentSpec) -> list[Json]:
    asked = {"choices": [each.name for each in spec.agents]}
    person = step(f"{ref(spec)}_select", f"{ref(spec)}_select", "HUMAN", asked)
    return [rounds(spec, [person, choice(spec, "select", spec.agents)])]


def swarm(spec: AgentSpec) -> list[Json]:
    members = [spec.child("self"), *spec.agents] if spec.model else list(spec.agents)
    inside = [choice(spec, "active", members)]
    if has_condition(spec):
        name = f"{spec.name}_handoff_check"
        inside.append(step(name, f"{ref(spec)}_handoff_check", "SIMPLE", {"active_agent": f"${{{ref(spec)}_active}}"}))
    return [rounds(spec, inside)]


def rounds(spec: AgentSpec, inside: list[Json]) -> Json:
    """A discussion: so many times at most somebody speaks."""
    return {
        **step(loop_ref(spec), loop_ref(spec), "DO_WHILE", {"maxTurns": spec.max_turns}),
        "loopCondition": f"if ($.{loop_ref(spec)}['iteration'] < {spec.max_turns}) {{ true; }} else {{ false; }}",
        "loopOver": [*inside, *endings(spec)],
    }


def choice(spec: AgentSpec, name: str, agents: Iterable[AgentSpec]) -> Json:
    return switch(f"{ref(spec)}_{name}_agent", {each.name: [sub_agent(spec, each)] for each in agents})


def switch(reference: str, cases: dict[str, list[Json]]) -> Json:
    head = step(reference, reference, "SWITCH", {})
    return {**head, "evaluatorType": "value-param", "expression": "choice", "decisionCases": cases, "defaultCase": []}


def loop(spec: AgentSpec) -> Json:
    """The turns of one agent: ask the model, run the tools it asks for, until it asks for none."""
    think = f"{ref(spec)}_llm"
    asked = step(spec.name, think, "LLM_CHAT_COMPLETE", model_input(spec))
    inside = [*hooks(spec, "before_model"), asked, *hooks(spec, "after_model")]
    if spec.tools:
        inside.append(tool_choice(spec, think))
    inside += endings(spec)
    condition = f"if ($.{loop_ref(spec)}['iteration'] < {spec.max_turns} && $.{think}['toolCalls'].length > 0)"
    return {
        **step(loop_ref(spec), loop_ref(spec), "DO_WHILE", {"maxTurns": spec.max_turns}),
        "loopCondition": f"{condition} {{ true; }} else {{ false; }}",
        "loopOver": inside,
    }


def model_input(spec: AgentSpec) -> Json:
    provider, _, model = spec.model.partition("/")
    given: Json = {
        "llmProvider": provider,
        "model": model,
        "messages": [{"role": "system", "message": spec.instructions}] if isinstance(spec.instructions, str) else [],
        "tools": [{"name": tool.name, "description": tool.description, "type": tool_type(tool)} for tool in spec.tools],
        "maxTokens": spec.max_tokens,
        "temperature": spec.temperature,
    }
    return {key: value for key, value in given.items() if value not in (None, [])}


def tool_choice(spec: AgentSpec, think: str) -> Json:
    """Each call the model asks for becomes a task of its tool; all calls of a turn run at once."""
    return {
        **step(
            f"{ref(spec)}_tool_router",
            f"{ref(spec)}_tool_router",
            "SWITCH",
            {"toolCalls": f"${{{think}.output.toolCalls}}"},
        ),
        "evaluatorType": "value-param",
        "expression": "toolCalls",
        "decisionCases": {
            "tool_call": [
                {
                    **step(f"{ref(spec)}_fork", f"{ref(spec)}_fork", "FORK_JOIN", {}),
                    "forkTasks": [tool_tasks(spec, tool) for tool in spec.tools],
                },
                {
                    **step(f"{ref(spec)}_fork_join", f"{ref(spec)}_fork_join", "JOIN", {}),
                    "joinOn": [f"{ref(spec)}_{tool.name}" for tool in spec.tools],
                },
            ]
        },
        "defaultCase": [],
    }


def tool_tasks(spec: AgentSpec, tool: ToolSpec) -> list[Json]:
    """A call: what checks it, its approval if it needs one, itself, and what checks its result."""
    place = f"{ref(spec)}_{tool.name}"
    given = dict.fromkeys(tool.input_schema.get("properties", {}), f"${{{ref(spec)}_llm.output.toolCalls}}")
    asked: list[Json] = []
    if policy := (tool.approval or {}).get("taskName"):
        asked.append(step(str(policy), f"{place}_approval_policy", "SIMPLE", {"tool": tool.name}))
    if (tool.approval_required or tool.approval) and not tool.audits:
        asked.append(step(f"{ref(spec)}_approval_human", f"{place}_approval", "HUMAN", {"tool": tool.name}))
    return [
        *checks(tool.guardrails, "input", place),
        *asked,
        *hooks(spec, "before_tool", place),
        call(spec, tool, given),
        *hooks(spec, "after_tool", place),
        *checks(tool.guardrails, "output", place),
    ]


def call(spec: AgentSpec, tool: ToolSpec, given: Json) -> Json:
    """The call itself; that of an agent shows its plan."""
    called = step(tool.name, f"{ref(spec)}_{tool.name}", tool_type(tool), given)
    if tool.tool_type != "agent_tool":
        return called
    return {**called, "subWorkflowParam": sub_workflow(spec.child(f"tool:{tool.name}"))}


# What is put around


def hooks(spec: AgentSpec, position: str, place: str = "") -> list[Json]:
    names = [str(each["taskName"]) for each in spec.callbacks if each.get("position") == position][:1]
    return [step(name, f"{place or ref(spec)}_{position}", "SIMPLE", {"position": position}) for name in names]


def brief(spec: AgentSpec) -> list[Json]:
    """The function that gives the instructions."""
    given = spec.instructions.get("_worker_ref") if isinstance(spec.instructions, dict) else None
    return [step(str(given), f"{ref(spec)}_instructions", "SIMPLE", {"prompt": PROMPT})] if given else []


def rails(spec: AgentSpec, position: str) -> list[Json]:
    return checks(spec.guardrails, position, ref(spec))


def checks(guardrails: Iterable[Json], position: str, place: str) -> list[Json]:
    """The guardrails of a position: patterns, models and functions."""
    return [
        step(
            check_name(rail),
            f"{place}_{conductor.plain(str(rail.get('name')))}",
            check_type(rail),
            {"onFail": rail.get("onFail")},
        )
        for rail in guardrails
        if (rail.get("position") or "output") == position
    ]


def endings(spec: AgentSpec) -> list[Json]:
    """What ends the rounds besides their number, where it is a function of the user's."""
    names = [*([str(spec.stop_when["taskName"])] if spec.stop_when else []), *termination_workers(spec)]
    return [
        step(name, conductor.plain(name), "SIMPLE", {"iteration": f"${{{loop_ref(spec)}.output.iteration}}"})
        for name in names
    ]


def sub_agent(spec: AgentSpec, agent: AgentSpec) -> Json:
    given = {"prompt": PROMPT, "session_id": "${workflow.input.session_id}"}
    return {
        **step(agent.name, sub_ref(spec, agent), "SUB_WORKFLOW", given),
        "subWorkflowParam": sub_workflow(agent),
    }


def sub_workflow(agent: AgentSpec) -> Json:
    """An agent within another; a reference is known by its name alone until a run begins."""
    known = {} if is_reference(agent) else {"version": 1, "workflowDefinition": workflow_def(agent)}
    return {"name": agent.name, **known}


def step(name: str, reference: str, kind: str, given: Json) -> Json:
    return {"name": name, "taskReferenceName": reference, "type": kind, "inputParameters": given}


# Names


def ref(spec: AgentSpec) -> str:
    return conductor.plain(spec.name)


def loop_ref(spec: AgentSpec) -> str:
    return f"{ref(spec)}_loop"


def sub_ref(spec: AgentSpec, agent: AgentSpec) -> str:
    return f"{ref(spec)}_{ref(agent)}"


def tool_type(tool: ToolSpec) -> str:
    return TOOL_TYPES.get(tool.tool_type, "SIMPLE")


def output_of(reference: str) -> str:
    return f"${{{reference}.output.result}}"


def check_name(rail: Json) -> str:
    return str(rail.get("taskName") or rail.get("name") or "guardrail")


def check_type(rail: Json) -> str:
    return CHECK_TYPES.get(str(rail.get("guardrailType") or "custom"), "SIMPLE")


def has_condition(spec: AgentSpec) -> bool:
    """Has a swarm a condition that is a function of the user's?"""
    return any(each.get("type") == "on_condition" for each in spec.handoffs)


def termination_workers(spec: AgentSpec) -> list[str]:
    rule = spec.termination
    return [str(rule.get("taskName") or f"{spec.name}_termination")] if rule and needs_worker(rule) else []


def _workers(spec: AgentSpec) -> Iterator[str]:
    """The functions of the user's that the agent and those below it need."""
    yield from _named(spec)
    for agent in below(spec):
        yield from _workers(agent)


def _named(spec: AgentSpec) -> Iterator[str]:
    yield from (tool.name for tool in spec.tools if tool.tool_type in ("worker", "cli"))
    yield from (str(tool.approval["taskName"]) for tool in spec.tools if (tool.approval or {}).get("taskName"))  # type: ignore[index]
    guardrails = (*spec.guardrails, *(rail for tool in spec.tools for rail in tool.guardrails))
    yield from (check_name(rail) for rail in guardrails if (rail.get("guardrailType") or "custom") == "custom")
    yield from (str(each["taskName"]) for each in spec.callbacks if each.get("taskName"))
    functions = (spec.stop_when, spec.gate, spec.router)
    yield from (str(each["taskName"]) for each in functions if each and each.get("taskName"))
    yield from termination_workers(spec)
    yield from (str(each["name"]) for each in brief(spec))
    if spec.strategy == "swarm" and has_condition(spec):
        yield f"{spec.name}_handoff_check"


def _capabilities(spec: AgentSpec) -> Iterator[str]:
    if spec.agents:
        yield "multi-agent-hybrid" if spec.tools else f"multi-agent-{spec.strategy}"
    else:
        yield "tool-calling" if spec.tools else "simple"
    for agent in spec.agents:
        yield from _capabilities(agent)


PROMPT = "${workflow.input.prompt}"

STRATEGIES: dict[str, Callable[[AgentSpec], list[Json]]] = {
    "sequential": sequential,
    "parallel": parallel,
    "handoff": handoff,
    "router": router,
    "round_robin": rotation,
    "random": rotation,
    "manual": manual,
    "swarm": swarm,
}

CHECK_TYPES = {"regex": "INLINE", "llm": "LLM_CHAT_COMPLETE"}
TOOL_TYPES = {
    "http": "HTTP",
    "api": "HTTP",
    "mcp": "CALL_MCP_TOOL",
    "agent_tool": "SUB_WORKFLOW",
    "human": "HUMAN",
    "generate_image": "GENERATE_IMAGE",
    "generate_audio": "GENERATE_AUDIO",
    "generate_video": "GENERATE_VIDEO",
    "generate_pdf": "GENERATE_PDF",
    "rag_index": "LLM_INDEX_TEXT",
    "rag_search": "LLM_SEARCH_INDEX",
    "pull_workflow_messages": "PULL_WORKFLOW_MESSAGES",
}
