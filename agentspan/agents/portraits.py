"""The pictures of the SDK's objects: each as plain data, drawn by the drawing room, with its text and its JSON.

Nothing here asks a function of the user's, except for a handle nothing asks the server, and no secret is shown.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from agentspan.agents import watching
from agentspan.agents.agent import Agent, PromptTemplate, resolve_agent
from agentspan.agents.approval import ApprovalPolicy
from agentspan.agents.budget import Budget
from agentspan.agents.compare import TOTALS, Comparison
from agentspan.agents.credentials import names_of
from agentspan.agents.guardrail import Guardrail
from agentspan.agents.handle import AgentHandle
from agentspan.agents.memory import ConversationMemory, SemanticMemory
from agentspan.agents.planning import Plan
from agentspan.agents.result import AgentResult, AgentStatus, TokenUsage
from agentspan.agents.runs import Runs
from agentspan.agents.tool import ToolDef, get_tool_def
from agentspan.drawing import cards, graph
from agentspan.drawing import runs as lists
from agentspan.drawing.markup import Html
from agentspan.drawing.output import as_plain
from agentspan.drawing.telling import transcript
from agentspan.drawing.words import count, limit, money, plural, short, status_word
from agentspan.errors import AgentspanError

Json = dict[str, Any]

HANDLE_SECONDS = 3.0
CHARS = 4000
HTML, TEXT, JSON, SVG, MARKDOWN = "text/html", "text/plain", "application/json", "image/svg+xml", "text/markdown"


def portrait(shown: Any) -> Json:
    """The forms of an object by mime type; where there is no text, its repr is its text."""
    for kind in type(shown).__mro__:
        if kind in PORTRAITS:
            return {key: str(each) if isinstance(each, Html) else each for key, each in PORTRAITS[kind](shown).items()}
    raise TypeError(f"there is no picture of {type(shown).__name__}")


def result_portrait(result: AgentResult, *, times: bool = True, shown: bool = True) -> Json:
    """A result; what the end of its run brought with it (see `watching`) is drawn too. `shown`: in short, if this very
    cell shows it already. Without `times` nothing differs from run to run but the id."""
    if shown and (found := watching.watcher()) is not None and found.is_shown(result):
        return {TEXT: f"{result.agent_name or 'run'}: {status_word(result.status)} (shown above)"}
    body = result_json(result)
    kept = result._surroundings
    value = result.output
    if isinstance(value, Mapping) and ("result" in value or "error" in value):
        value = value.get("result")
    drawn = {**body, "messages": result.messages, "toolCalls": result.tool_calls, "subResults": result.sub_results}
    card = lists.result_card(drawn, value, kept.get("timeline"), kept.get("url") or "", times)
    forms: Json = {TEXT: result_text(result), HTML: str(card), JSON: body}
    return {**forms, MARKDOWN: value} if isinstance(value, str) else forms


def result_text(result: AgentResult) -> str:
    """A result in a few lines: who, how it ended, what it took, and the answer."""
    used = result.token_usage.total_tokens if result.token_usage else 0
    told = [
        f"{result.agent_name or 'run'}: {status_word(result.status)}",
        plural(len(result.tool_calls), "tool call") if result.tool_calls else "",
        f"{count(used)} tokens" if used else "",
        money(result.cost) if result.cost else "",
    ]
    value = result.output
    if isinstance(value, Mapping) and ("result" in value or "error" in value):
        value = value.get("result")
    lines = [" · ".join(each for each in told if each)]
    lines += [result.error] if result.error else []
    lines += [str(value)[:CHARS]] if value is not None else []
    return "\n".join(lines)


def result_json(result: AgentResult) -> Json:
    """A result as plain data, without its messages and events."""
    used = result.token_usage
    body = {
        "executionId": result.execution_id,
        "agentName": result.agent_name,
        "status": str(result.status),
        "finishReason": str(result.finish_reason),
        "output": as_plain(result.output),
        "error": result.error,
        "tokenUsage": {
            "promptTokens": used.prompt_tokens,
            "completionTokens": used.completion_tokens,
            "totalTokens": used.total_tokens,
        } if used else None,
        "cost": result.cost,
        "costUnknown": result.cost is None,
    }  # fmt: skip
    plain: Json = json.loads(json.dumps(body, default=str))
    return plain


def agent_json(agent: Agent) -> Json:
    """An agent in the form of an agentConfig, as far as it is shown. Functions are named, not called."""
    plain = {
        "name": agent.name,
        "model": agent.model if isinstance(agent.model, str) else str(agent.model),
        "description": agent.description,
        "instructions": _instructions(agent.instructions),
        "tools": [] if agent.is_claude_code else [tool_json(get_tool_def(each)) for each in agent.tools],
        "guardrails": [_rail_json(each) for each in agent.guardrails],
        "agents": [agent_json(each) for each in agent.agents],
        "strategy": str(agent.strategy) if agent.agents else "",
        "budget": agent.budget.to_config() if agent.budget else None,
        "outputName": _name(agent.output_type) if agent.output_type is not None else "",
        "memoryName": type(agent.memory).__name__ if agent.memory is not None else "",
        "maxTurns": agent.max_turns,
        **{key: _other(getattr(agent, key), agent.model) for key in ("router", "planner", "fallback")},
    }
    return {key: value for key, value in plain.items() if value not in (None, "", [], False)}


def tool_json(tool: ToolDef) -> Json:
    """A tool as it is shown: of its configuration only an agent that it is; names of credentials, no values."""
    nested = tool.config.get("agent")
    plain = {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "toolType": tool.tool_type,
        "approvalRequired": tool.approval_required,
        "stateful": tool.stateful,
        "maxCalls": tool.max_calls,
        "retryCount": tool.retry_count,
        "timeoutSeconds": tool.timeout_seconds,
        "credentials": names_of(tool.credentials),
        "config": {"agentConfig": agent_json(resolve_agent(nested))} if nested is not None else None,
    }
    return {key: value for key, value in plain.items() if value not in (None, "", [], {}, False)}


def _agent(agent: Agent) -> Json:
    config = agent_json(agent)
    found: Json = {HTML: cards.agent_card(config), JSON: config}
    return {**found, SVG: graph(config)} if agent.agents else found


def _tool(tool: ToolDef) -> Json:
    config = tool_json(tool)
    return {HTML: cards.tool_card(config), JSON: config}


def _rail(rail: Guardrail) -> Json:
    config = _rail_json(rail)
    return {HTML: cards.rail_card(config), JSON: config}


def _plan(plan: Plan) -> Json:
    config = plan.to_config()
    return {HTML: cards.plan_card(config), JSON: config}


def _budget(budget: Budget) -> Json:
    config = budget.to_config()
    rows = [("at most", limit(name, most)) for name, most in config.items()]
    return {HTML: cards.facts_card("Budget", "limits of a run", rows), JSON: config}


def _policy(policy: ApprovalPolicy) -> Json:
    config = {**(policy.to_config("tool") or {})}
    if config.pop("taskName", None):
        config["when"] = f"{_name(policy.predicate)}(...)"
    elif policy.when:
        config["when"] = " or ".join(f"{each['argument']} {each['op']} {each['value']!r}" for each in config["when"])
    if not policy.when and not policy.audit:
        config = {"when": "every call", **config}
    return {HTML: cards.facts_card("Approval", "policy", _words(config)), JSON: config}


def _conversation(memory: ConversationMemory) -> Json:
    drawn = cards.framed("Conversation", plural(len(memory.messages), "message"), transcript(memory.messages, 50))
    return {HTML: drawn}


def _semantic(memory: SemanticMemory) -> Json:
    rows = [("found at most", plural(memory.max_results, "text")), ("compared by", memory.model or "their words"),
            ("store", type(memory.store).__name__)]  # fmt: skip
    return {HTML: cards.facts_card("Memory", "texts", rows), TEXT: f"SemanticMemory(max_results={memory.max_results})"}


def _usage(usage: TokenUsage) -> Json:
    named = {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens, "total": usage.total_tokens,
             "cached": usage.cached_tokens, "reasoning": usage.reasoning_tokens}  # fmt: skip
    rows = [(name, count(value)) for name, value in named.items() if value or name == "total"]
    return {HTML: cards.facts_card("Tokens", "of all model calls", rows)}


def _status(status: AgentStatus) -> Json:
    run = {
        "agentName": short(status.execution_id, 13),
        "executionId": status.execution_id,
        "status": status.status,
        "step": status.current_task,
        "requests": status.requests,
        "waitingFor": status.waiting_for,
        "note": status.reason,
    }
    told = f"{status.status.lower()}" + (f": {status.reason}" if status.reason else "")
    told += f", asks {plural(len(status.requests), 'person', 'people')}" if status.requests else ""
    return {HTML: lists.run_card(run), TEXT: f"AgentStatus({status.execution_id!r}: {told})"}


def _handle(handle: AgentHandle) -> Json:
    """The run as it stands, if the server says so in time."""
    found: Json = {TEXT: repr(handle)}
    portal = handle.runtime.portal
    if portal.here():
        return found
    try:
        return {**found, HTML: lists.run_card(portal.call(asyncio.wait_for(run_json(handle), HANDLE_SECONDS)))}
    except (AgentspanError, TimeoutError) as problem:
        run = {"agentName": "run", "executionId": handle.execution_id, "note": f"Its server cannot say: {problem}"}
        return {**found, HTML: lists.run_card({**run, "status": "unknown"})}


async def run_json(handle: AgentHandle, timeline: Json | None = None) -> Json:
    """How the run of a handle stands, for its card."""
    client = await handle.runtime.client()
    timeline = timeline if timeline is not None else await client.timeline(handle.execution_id)
    status = await client.status(handle.execution_id) if timeline.get("status") in ("RUNNING", "PAUSED") else {}
    return {**summary(timeline), "requests": status.get("requests"), "waitingFor": status.get("waitingFor")}


def summary(timeline: Json) -> Json:
    """What the timeline of a run says about the whole of it."""
    executions = timeline.get("executions") or [{}]
    root = next((each for each in executions if each.get("executionId") == timeline.get("executionId")), executions[0])
    spans = timeline.get("spans") or ()
    now = root.get("endTime") or timeline.get("now") or 0
    return {
        "executionId": timeline.get("executionId"),
        "agentName": timeline.get("agentName"),
        "status": timeline.get("status"),
        "tokens": sum((each.get("promptTokens") or 0) + (each.get("completionTokens") or 0) for each in executions),
        "cost": sum(each.get("cost") or 0 for each in executions),
        "costUnknown": any(each.get("costUnknown") for each in executions),
        "elapsedMs": max(0, now - (root.get("startTime") or now)),
        "steps": len(spans),
        "budget": timeline.get("budget"),
        "spent": timeline.get("spent"),
    }


def _runs(runs: Runs) -> Json:
    rows = [each.data for each in runs]
    return {HTML: lists.runs_table(rows, runs.total, runs.url), JSON: rows, TEXT: repr(runs)}


def _comparison(found: Comparison) -> Json:
    first = found.first_difference
    body = {
        "same": found.same,
        "first": f"First difference: {first}" if first is not None else "",
        "totals": [[name, _cell(found.a.get(key)), _cell(found.b.get(key))] for name, key in TOTALS],
        "definition": [str(each) for each in found.definition],
        "rows": found.rows,
    }
    return {HTML: lists.comparison_card(body)}


def _instructions(given: Any) -> Any:
    if isinstance(given, PromptTemplate):
        return {"name": given.name}
    return {"taskName": f"{_name(given)}()"} if callable(given) else given


def _other(given: Any, model: str) -> Any:
    """A router, planner or fallback, if it is an agent; its name, if it is a function or a model."""
    if isinstance(given, Agent) or hasattr(given, "_agent_def"):
        return agent_json(resolve_agent(given, model))
    if given is None or isinstance(given, bool):
        return None
    return _name(given) if callable(given) else str(given)


def _rail_json(rail: Guardrail) -> Json:
    config = rail.to_config()
    return {key: value for key, value in config.items() if key != "taskName"}


def _words(config: Json) -> list[tuple[str, str]]:
    return [(_spaced(name), _text(value)) for name, value in config.items()]


def _text(value: Any) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _spaced(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)


def _name(given: Any) -> str:
    return str(getattr(given, "__name__", None) or given)


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


PORTRAITS: dict[type, Callable[[Any], Json]] = {
    Agent: _agent,
    ToolDef: _tool,
    Guardrail: _rail,
    Plan: _plan,
    Budget: _budget,
    ApprovalPolicy: _policy,
    ConversationMemory: _conversation,
    SemanticMemory: _semantic,
    TokenUsage: _usage,
    AgentStatus: _status,
    AgentHandle: _handle,
    AgentResult: result_portrait,
    Runs: _runs,
    Comparison: _comparison,
}
