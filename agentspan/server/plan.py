"""An agent as Conductor's clients would see its plan: readable, never executed. The engine runs the agent itself."""

from collections.abc import Iterator
from typing import Any

from agentspan.server import conductor
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import is_reference
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
    if not spec.agents:
        return [loop(spec)]
    return fork(spec) if spec.strategy == "parallel" else [sub_agent(spec, each) for each in spec.agents]


def loop(spec: AgentSpec) -> Json:
    """The turns of one agent: ask the model, run the tools it asks for, until it asks for none."""
    think = f"{ref(spec)}_llm"
    inside = [step(spec.name, think, "LLM_CHAT_COMPLETE", model_input(spec))]
    if spec.tools:
        inside.append(tool_choice(spec, think))
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
    """A call: its approval first if it needs one."""
    given = dict.fromkeys(tool.input_schema.get("properties", {}), f"${{{ref(spec)}_llm.output.toolCalls}}")
    call = step(tool.name, f"{ref(spec)}_{tool.name}", tool_type(tool), given)
    if not tool.approval_required:
        return [call]
    return [
        step(f"{ref(spec)}_approval_human", f"{ref(spec)}_{tool.name}_approval", "HUMAN", {"tool": tool.name}),
        call,
    ]


def fork(spec: AgentSpec) -> list[Json]:
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


def sub_agent(spec: AgentSpec, agent: AgentSpec) -> Json:
    given = {"prompt": "${workflow.input.prompt}", "session_id": "${workflow.input.session_id}"}
    # A reference is known by its name alone until a run begins.
    known = {} if is_reference(agent) else {"version": 1, "workflowDefinition": workflow_def(agent)}
    return {
        **step(agent.name, sub_ref(spec, agent), "SUB_WORKFLOW", given),
        "subWorkflowParam": {"name": agent.name, **known},
    }


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


def _workers(spec: AgentSpec) -> Iterator[str]:
    yield from (tool.name for tool in spec.tools if tool.tool_type in ("worker", "cli"))
    for agent in spec.agents:
        yield from _workers(agent)


def _capabilities(spec: AgentSpec) -> Iterator[str]:
    if spec.agents:
        yield "multi-agent-hybrid" if spec.tools else f"multi-agent-{spec.strategy}"
    else:
        yield "tool-calling" if spec.tools else "simple"
    for agent in spec.agents:
        yield from _capabilities(agent)


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
