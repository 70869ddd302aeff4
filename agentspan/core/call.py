"""One tool call of a turn: checked, perhaps approved, made, checked again. Each call goes its way alone."""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from agentspan.core import guards, retry, transcript
from agentspan.core.events import (
    CallRefused,
    ExecutionFailed,
    Fact,
    MessagesTaken,
    Result,
    TaskCanceled,
    TaskScheduled,
    VerdictGiven,
)
from agentspan.core.log import Log
from agentspan.core.run import Call, Run
from agentspan.core.stage import check, hook
from agentspan.core.states import CallState, Kind, Purpose, Verdict
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import LOST_LIMIT, Limits, RetryPolicy, milliseconds
from agentspan.spec.rules import asks
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]

WIDTH = 25
"""How many sub-agents of one agent run at once unless it says otherwise."""

MESSAGE_BATCH = 100


def step(spec: AgentSpec, run: Run, log: Log, index: int, seed: str) -> list[Fact] | None:
    """What call `index` still needs, [] while it waits; None once it is settled."""
    each = run.calls[index]
    if run.stopping and each.state in STOPPABLE | ({CallState.RUNNING} if _held_by_person(run, index) else set()):
        return _stopped(run, index)
    match each.state:
        case CallState.NEW:
            return _first(spec, run, log, index, each, seed)
        case CallState.ASKED:
            return _unanswered(spec, run, index, each)
        case CallState.APPROVED:
            return _act(spec, run, log, index, each, seed)
        case CallState.RUNNING:
            return _messages(spec, run, index, each)
        case CallState.FAULTY:
            return _faulty(spec, run, index, each, seed)
        case CallState.DONE:
            return _after(spec, run, log, index, each, seed)
        case CallState.REFUSED | CallState.REJECTED:
            return None


def result_text(each: Call, log: Log) -> str:
    """What a model reads of a call's result."""
    return transcript.text_of(log.get(each.settled) or {})


def _held_by_person(run: Run, index: int) -> bool:
    held = run.tasks.get(run.open(f"call.{index}"))
    return held is None or held.kind is Kind.HUMAN


def _stopped(run: Run, index: int) -> list[Fact]:
    mine = [seq for seq, order in run.tasks.items() if order.index == index and order.slot.split(".")[0] in OF_CALLS]
    return [*(TaskCanceled(seq, "stopped") for seq in mine), CallRefused(run.turn, index, "stopped")]


def _first(spec: AgentSpec, run: Run, log: Log, index: int, each: Call, seed: str) -> list[Fact]:
    """Before anything happens: may this call be made at all?"""
    tool = spec.tool(each.name)
    if refusal := _refusal(spec, run, index, each, tool):
        return [refusal]
    assert tool is not None
    if tool.tool_type == "transfer":
        if run.transfer:
            return [CallRefused(run.turn, index, "handed_over", f"the conversation goes to {run.transfer}")]
        return [CallRefused(run.turn, index, "transfer", str(tool.config["target"]))]
    checked = _checked(spec, run, log, index, each, tool, seed, "tool_in")
    if checked is not None:
        return checked
    if not _needs_person(tool) or f"approve.{index}" in run.verdicts:
        return _act(spec, run, log, index, each, seed)
    asked = _asks(run, log, index, each, tool, seed)
    if isinstance(asked, list):
        return asked
    if not asked:
        return _act(spec, run, log, index, each, seed)
    return [_noted(index) if tool.audits else _request(tool, run, index, each)]


def _refusal(spec: AgentSpec, run: Run, index: int, each: Call, tool: ToolSpec | None) -> Fact | None:
    if tool is None:
        names = ", ".join(each.name for each in spec.own_tools) or "none"
        problem = f"there is no tool named {each.name!r}; the tools are: {names}"
        return CallRefused(run.turn, index, "unknown_tool", problem)
    if not each.valid:
        return CallRefused(run.turn, index, "bad_arguments", f"the arguments of {each.name} are not a JSON object")
    begun = run.used.get(each.name, 0) + sum(c.name == each.name and c.state in BEFORE for c in run.calls[:index])
    if tool.max_calls is not None and begun >= tool.max_calls:
        return CallRefused(run.turn, index, "call_limit", f"{each.name} may be called {tool.max_calls} times in a run")
    return None


def _needs_person(tool: ToolSpec) -> bool:
    return tool.approval_required or bool(tool.approval)


def _asks(run: Run, log: Log, index: int, each: Call, tool: ToolSpec, seed: str) -> bool | list[Fact]:
    """Must a person be asked about this call? What cannot be evaluated asks."""
    policy = tool.approval or {}
    if policy.get("when") is not None:
        return asks(policy["when"], log.call(each.source, index))
    if not policy.get("taskName"):
        return True
    slot = f"policy.{index}"
    follow = check(run, str(policy["taskName"]), slot, seed, source=each.source)
    if follow is not None:
        return follow
    output = log.get(run.marks.get(slot, 0)) or {}
    return output.get("approve", output.get("result")) is not False


def _noted(index: int) -> VerdictGiven:
    """A policy that is only tried out: what it would have done is kept, and the call goes on."""
    return VerdictGiven(f"approve.{index}", "audit", "audit", Verdict.PASS, "would have asked")


def _request(tool: ToolSpec, run: Run, index: int, each: Call, level: int = 0) -> TaskScheduled:
    """A person is asked; `level` counts to whom it was passed on since."""
    policy = tool.approval or {}
    steps = list(policy.get("escalation") or ())
    to = steps[level - 1].get("to") if level else policy.get("to")
    seconds = steps[level].get("afterSeconds") if level < len(steps) else policy.get("deadlineSeconds")
    return TaskScheduled(
        Kind.HUMAN, Purpose.APPROVE, each.name, f"approve.{index}", turn=run.turn, source=each.source, attempt=level,
        limits=Limits(start_ms=milliseconds(seconds)), to=tuple(to or ()),
    )  # fmt: skip


def _unanswered(spec: AgentSpec, run: Run, index: int, each: Call) -> list[Fact]:
    """A request whose deadline has passed: to the next person, or what the policy says."""
    fault = run.faults.get(f"approve.{index}")
    tool = spec.tool(each.name)
    if fault is None or tool is None:
        return []
    level = fault.order.attempt + 1
    if level <= len((tool.approval or {}).get("escalation") or ()):
        return [_request(tool, run, index, each, level)]
    approve = (tool.approval or {}).get("onDeadline") == "approve"
    text = "approved, since nobody answered in time" if approve else f"not approved: {fault.error}"
    word = Verdict.PASS if approve else Verdict.RAISE
    return [VerdictGiven(f"approve.{index}", "deadline", "approval", word, text)]


def _act(spec: AgentSpec, run: Run, log: Log, index: int, each: Call, seed: str) -> list[Fact]:
    tool = spec.tool(each.name)
    if tool is None:
        return [CallRefused(run.turn, index, "unknown_tool", f"the tool {each.name!r} is gone")]
    wrapped = hook(spec, run, "before_tool", seed, f".{index}", source=each.source)
    if wrapped is not None:
        return wrapped
    if tool.tool_type == "pull_workflow_messages":
        return _pull(run, index, tool)
    kind = KINDS.get(tool.tool_type, Kind.WORKER)
    retries, limits = (tool.retry, tool.limits) if kind is Kind.WORKER else OWN[kind](tool)
    to = tuple(tool.config.get("to") or ()) if kind is Kind.HUMAN else ()
    return [
        TaskScheduled(
            kind, Purpose.ACT, each.name, f"call.{index}", turn=run.turn, source=each.source, retry=retries,
            limits=limits, to=to,
        )
    ]  # fmt: skip


def one_each(facts: Iterable[Fact]) -> list[Fact]:
    """Of what only one call can have, the first has it: a message, the hand-over. The others are asked again after."""
    kept: list[Fact] = []
    for fact in facts:
        alone = isinstance(fact, MessagesTaken) or (isinstance(fact, CallRefused) and fact.cause == "transfer")
        if not alone or not any(type(each) is type(fact) for each in kept):
            kept.append(fact)
    return kept


def room(spec: AgentSpec, run: Run, facts: list[Fact]) -> list[Fact]:
    """The facts without the sub-agents for which there is no room beside those that run."""
    left = (spec.width or WIDTH) - sum(order.kind is Kind.AGENT for order in run.tasks.values())
    kept: list[Fact] = []
    for fact in facts:
        if isinstance(fact, TaskScheduled) and fact.kind is Kind.AGENT:
            if left <= 0:
                continue
            left -= 1
        kept.append(fact)
    return kept


def _pull(run: Run, index: int, tool: ToolSpec) -> list[Fact]:
    batch = min(int(tool.config.get("batchSize") or 1), MESSAGE_BATCH)
    if run.unread or tool.config.get("blocking") is False:
        return [MessagesTaken(run.turn, index, run.unread[:batch])]
    return [TaskScheduled(Kind.HUMAN, Purpose.WAIT, tool.name, f"call.{index}", turn=run.turn)]


def _messages(spec: AgentSpec, run: Run, index: int, each: Call) -> list[Fact]:
    """A call that waits for messages takes those that have come."""
    number = run.open(f"call.{index}")
    tool = spec.tool(each.name)
    if not run.unread or not number or tool is None or run.tasks[number].purpose is not Purpose.WAIT:
        return []
    batch = min(int(tool.config.get("batchSize") or 1), MESSAGE_BATCH)
    return [MessagesTaken(run.turn, index, run.unread[:batch], number)]


def _faulty(spec: AgentSpec, run: Run, index: int, each: Call, seed: str) -> list[Fact] | None:
    fault = run.faults[f"call.{index}"]
    if attempt := retry.again(fault, seed):
        return [attempt]
    tool = spec.tool(each.name)
    if tool is not None and tool.tool_type == "agent_tool" and tool.config.get("optional") is False:
        return [ExecutionFailed(f"{each.name}: {fault.error}")]
    return None


def _after(spec: AgentSpec, run: Run, log: Log, index: int, each: Call, seed: str) -> list[Fact] | None:
    """A call that has a result: the callback, then the checks of it."""
    about = Result((each.settled,))
    wrapped = hook(spec, run, "after_tool", seed, f".{index}", source=each.source, about=about)
    if wrapped is not None:
        return wrapped
    tool = spec.tool(each.name)
    return _checked(spec, run, log, index, each, tool, seed, "tool_out") if tool else None


def _checked(
    spec: AgentSpec, run: Run, log: Log, index: int, each: Call, tool: ToolSpec, seed: str, place: str
) -> list[Fact] | None:
    """The guardrails of the tool, and of the agent for all its tools, before or after the call."""
    before = place == "tool_in"
    rails = _rails(spec, tool, "input" if before else "output", ("tool", place) if before else (place,))
    about = Result() if before else Result((each.settled,))
    what = guards.Guarded(f"{place}.{index}", "tool_input" if before else "tool_output", about, each.source, spec.model)

    def content() -> str:
        return transcript.text_of(log.call(each.source, index)) if before else result_text(each, log)

    return guards.verdicts(rails, run, log, seed, what, content)


def _rails(spec: AgentSpec, tool: ToolSpec, own: str, general: tuple[str, ...]) -> list[tuple[int, Json]]:
    positions = {**TOOL_POSITIONS, "tool": "tool"}
    of_tool = guards.at(tool.guardrails, own)
    of_agent = [
        (len(tool.guardrails) + place, rail)
        for place, rail in enumerate(spec.guardrails)
        if positions.get(str(rail.get("position"))) in general
    ]
    return [*of_tool, *of_agent]


def _agent_policy(tool: ToolSpec) -> tuple[RetryPolicy, Limits]:
    """How often a sub-agent that was called as a tool is begun anew."""
    count, delay = tool.config.get("retryCount") or 0, tool.config.get("retryDelaySeconds") or 2
    return RetryPolicy(limit=int(count), delay_ms=milliseconds(delay), back_off="fixed"), Limits()


def _person_policy(tool: ToolSpec) -> tuple[RetryPolicy, Limits]:
    seconds = tool.config.get("deadlineSeconds") or 0
    return RetryPolicy(limit=0, lost_limit=LOST_LIMIT), Limits(start_ms=milliseconds(seconds))


def _outward_policy(tool: ToolSpec) -> tuple[RetryPolicy, Limits]:
    """Nobody knows what became of a request whose server died: a tool that may not be tried again is not."""
    policy = tool.retry
    return (policy if policy.limit else replace(policy, lost_limit=0)), tool.limits


STOPPABLE = frozenset({CallState.NEW, CallState.ASKED, CallState.APPROVED, CallState.FAULTY})
OF_CALLS = frozenset({"approve", "call", "policy", "tool_in", "review", "before_tool"})
BEFORE = frozenset({CallState.NEW, CallState.ASKED, CallState.APPROVED})
KINDS = {"agent_tool": Kind.AGENT, "human": Kind.HUMAN, "http": Kind.HTTP, "mcp": Kind.MCP}
OWN = {Kind.AGENT: _agent_policy, Kind.HUMAN: _person_policy, Kind.HTTP: _outward_policy, Kind.MCP: _outward_policy}
TOOL_POSITIONS = {"tool_input": "tool_in", "tool_output": "tool_out"}
