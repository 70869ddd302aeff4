"""The turn loop of one agent: think, act on the answer's calls, observe, think again.

Decided per call, not per barrier: an approval or a retry of one call holds back no other.
"""

from typing import Any

from agentspan.core import call, plans, retry
from agentspan.core.ending import conclude, stops
from agentspan.core.events import (
    AnswerGiven,
    ContextCompacted,
    ExecutionCompleted,
    ExecutionFailed,
    Fact,
    ModelSwitched,
    Result,
    SpeakerChosen,
    TaskScheduled,
)
from agentspan.core.log import Log
from agentspan.core.proxy import is_proxy, proxy_words
from agentspan.core.run import Fault, Run
from agentspan.core.stage import hook, stage
from agentspan.core.states import CallState, Kind, Purpose
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import MODEL_RETRY
from agentspan.spec.rules import after_tool

KEPT_MESSAGES = 8
"""The most messages of the history that stay as they are when the rest is summed up."""


def turn(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """What follows for an agent with a model. `seed` makes its back-off jitter its own."""
    if run.spoken or any(slot.startswith("agent.") for slot in _slots(run)):
        return _handed(spec, run, log, seed)
    if not run.answer:
        return _think(spec, run, log, seed)
    wrapped = hook(spec, run, "after_model", seed, about=Result((run.answer,)))
    if wrapped is not None:
        return wrapped
    steps = [call.step(spec, run, log, index, seed) for index in range(len(run.calls))]
    if any(step is not None for step in steps):
        return call.room(spec, run, call.one_each(fact for step in steps for fact in step or ()))
    return _next(spec, run, log, seed)


def _slots(run: Run) -> list[str]:
    """The slots of what is open or has failed."""
    return [*(order.slot for order in run.tasks.values()), *run.faults]


def _think(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    if run.open("think"):
        return []
    if run.stopping:
        return conclude(spec, run, log, seed, "stopped", last_words(run), may_retry=False)
    if run.overflow:
        return _condense(spec, run, seed)
    if fault := run.faults.get("think"):
        return _failed(spec, run, fault, seed)
    if (step := plans.first(spec, run, log, seed)) is not None:
        return step
    if not run.turn and spec.prefill_tools:
        calls = [{"name": each["name"], "arguments": each.get("arguments") or {}} for each in spec.prefill_tools]
        return [AnswerGiven(0, {"tool_calls": calls, "finish_reason": "tool_calls"})]
    return _begin(spec, run, log, seed, max(run.turn, 1))


def _failed(spec: AgentSpec, run: Run, fault: Fault, seed: str) -> list[Fact]:
    """After a model call that failed: again, then by the next model that takes such a failure, else the end."""
    if again := retry.again(fault, seed):
        return [again]
    if switch := _other_model(spec, run, fault.cause or "error", fault.error):
        return [switch]
    if isinstance(spec.fallback, dict) and (name := spec.fallback.get("name")):
        return [TaskScheduled(Kind.AGENT, Purpose.SPEAK, str(name), "agent.0", turn=run.turn)]
    return [ExecutionFailed(fault.error)]


def _other_model(spec: AgentSpec, run: Run, cause: str, reason: str) -> Fact | None:
    for index, (model, on) in enumerate(fallbacks(spec), start=1):
        if index > run.model and (not on or cause in on):
            return ModelSwitched(model, index, reason[:200])
    return None


def fallbacks(spec: AgentSpec) -> list[tuple[str, list[str]]]:
    """The fallback models in their order, each with the causes that it is for ([]: any)."""
    given: Any = spec.fallback if isinstance(spec.fallback, list | tuple) else [spec.fallback] if spec.fallback else []
    named = [{"model": each} if isinstance(each, str) else each for each in given]
    models = [each for each in named if each.get("model") and not each.get("name")]
    return [(str(each["model"]), list(each.get("on") or ())) for each in models]


def model_of(spec: AgentSpec, run: Run) -> str:
    """The model that the agent thinks with now."""
    return fallbacks(spec)[run.model - 1][0] if run.model else spec.model


def _condense(spec: AgentSpec, run: Run, seed: str) -> list[Fact]:
    """A history that is too long for the model: its summary, or, if none can be had, a cut; once in a turn."""
    if run.compacted == run.turn:
        reason = f"the conversation is too long for {model_of(spec, run)}, even when it is summed up"
        return [_other_model(spec, run, "context", reason) or ExecutionFailed(reason)]
    if not kept(run):
        return [ContextCompacted(0, 0, run.messages)]
    order = TaskScheduled(
        Kind.LLM, Purpose.CONDENSE, model_of(spec, run), "condense", turn=run.turn, source=run.overflow,
        retry=MODEL_RETRY,
    )  # fmt: skip
    follow = stage(run, order, seed)
    if follow is not None:
        return follow
    return [ContextCompacted(kept(run), run.marks.get("condense", 0), run.messages)]


def kept(run: Run) -> int:
    """How many messages stay as they are when those before them are summed up."""
    return min(KEPT_MESSAGES, run.messages // 2)


def _begin(spec: AgentSpec, run: Run, log: Log, seed: str, number: int) -> list[Fact]:
    """Turn `number`: the callback before the model, then the model, or who stands for it."""
    if (words := proxy_words(spec, run, log, number)) is not None:
        return words
    follow = hook(spec, run, "before_model", seed, f".{number}", number)
    if follow is not None:
        return follow
    mark = run.marks.get(f"before_model.{number}", 0)
    source = mark if mark and "messages" in (log.get(mark) or {}) else 0
    seen = max(run.unread, default=0) if not _pulls(spec) else 0
    return [
        TaskScheduled(
            Kind.LLM, Purpose.THINK, model_of(spec, run), "think", turn=number, source=source, retry=MODEL_RETRY,
            seen=seen,
        )
    ]  # fmt: skip


def _pulls(spec: AgentSpec) -> bool:
    """Do messages wait for a tool of the agent's that takes them?"""
    return any(tool.tool_type == "pull_workflow_messages" for tool in spec.tools)


def _next(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """After a turn whose calls are all settled."""
    if run.transfer:
        return _transfer(spec, run)
    if target := _tool_condition(spec, run, log):
        return [ExecutionCompleted("transfer", last_words(run), transfer_to=target)]
    if (step := plans.following(spec, run, log, seed)) is not None:
        return step
    about = Result((*run.cut, run.answer))
    over = run.turn >= spec.max_turns + run.extra
    cut_short = run.finish == "length" and not run.calls
    if not run.calls and not cut_short:
        return _final(spec, run, log, seed, about, over=over)
    if run.stopping:
        return conclude(spec, run, log, seed, "stopped", last_words(run), may_retry=False)
    ends = stops(spec, run, log, seed, about)
    if isinstance(ends, list):
        return ends
    if ends is not None:
        return conclude(spec, run, log, seed, "stop", last_words(run))
    if over:
        finish = "length" if cut_short else "max_turns"
        return conclude(spec, run, log, seed, finish, last_words(run), may_retry=False)
    return _begin(spec, run, log, seed, run.turn + 1)


def _final(spec: AgentSpec, run: Run, log: Log, seed: str, about: Result, *, over: bool) -> list[Fact]:
    """An answer without calls: the end, unless a message came in that it has not seen."""
    refused = run.finish in REFUSALS
    if refused and (switch := _other_model(spec, run, "refusal", f"{run.finish} by {model_of(spec, run)}")):
        return [switch]
    if run.unread and not _pulls(spec) and not is_proxy(spec) and not over and not run.stopping:
        return _begin(spec, run, log, seed, run.turn + 1)
    finish = "rejected" if run.rejected and run.finish == "stop" else run.finish
    return conclude(spec, run, log, seed, finish, about)


def _transfer(spec: AgentSpec, run: Run) -> list[Fact]:
    """The model has handed over: to a member of its swarm, or to one of its own agents."""
    index = next((place for place, agent in enumerate(spec.agents) if agent.name == run.transfer), None)
    if index is None:
        return [ExecutionCompleted("transfer", last_words(run), transfer_to=run.transfer)]
    if run.choice is None:
        return [SpeakerChosen(index, run.transfer, "transfer")]
    return [TaskScheduled(Kind.AGENT, Purpose.SPEAK, run.transfer, f"agent.{index}", turn=run.turn)]


def _handed(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """While and after the agent that was handed to speaks."""
    if not run.spoken:
        fault = next((fault for slot, fault in run.faults.items() if slot.startswith("agent.")), None)
        return [ExecutionFailed(f"{fault.order.name}: {fault.error}")] if fault else []
    return conclude(spec, run, log, seed, run.finish or "stop", run.branches[run.last].result)


def _tool_condition(spec: AgentSpec, run: Run, log: Log) -> str | None:
    """The member that a tool's result hands over to."""
    if not spec.handoffs or spec.agents:
        return None
    for each in run.calls:
        if each.state is CallState.DONE:
            target = after_tool(spec.handoffs, each.name, call.result_text(each, log))
            if target:
                return target
    return None


def last_words(run: Run) -> Result:
    """What there is to show of a run that ends without a final answer."""
    results = tuple(each.settled for each in run.calls if each.settled)
    return Result(run.cut or ((run.words,) if run.words else results))


REFUSALS = frozenset({"content_filter", "refusal"})
