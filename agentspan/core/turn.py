"""The turn loop of one agent: think, act on the answer's calls, observe, think again.

Decided per call, not per barrier: an approval or a retry of one call holds back no other.
"""

from agentspan.core import retry
from agentspan.core.events import (
    CallRefused,
    ExecutionCompleted,
    ExecutionFailed,
    Fact,
    Result,
    TaskCanceled,
    TaskScheduled,
)
from agentspan.core.run import Call, Run
from agentspan.core.states import CallState, Kind, Purpose
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import MODEL_RETRY


def turn(spec: AgentSpec, run: Run, seed: str) -> list[Fact]:
    """What follows for an agent with a model. `seed` makes its back-off jitter its own."""
    if not run.answer:
        return _think(spec, run, seed)
    follow = [fact for index, call in enumerate(run.calls) for fact in _call(spec, run, index, call, seed)]
    if follow or not all(_settled(run, index, call, seed) for index, call in enumerate(run.calls)):
        return follow
    return _next(spec, run)


def _think(spec: AgentSpec, run: Run, seed: str) -> list[Fact]:
    if run.tasks:
        return []
    if run.stopping:
        return [ExecutionCompleted("stopped", _last_words(run))]
    if fault := run.faults.get("think"):
        return [retry.again(fault, seed) or ExecutionFailed(fault.error)]
    return [_thought(spec, max(run.turn, 1))]


def _thought(spec: AgentSpec, number: int) -> TaskScheduled:
    return TaskScheduled(Kind.LLM, Purpose.THINK, spec.model, "think", turn=number, retry=MODEL_RETRY)


def _call(spec: AgentSpec, run: Run, index: int, call: Call, seed: str) -> list[Fact]:
    """What follows for one call of the turn."""
    if run.stopping and call.state in (CallState.NEW, CallState.ASKED, CallState.APPROVED, CallState.FAULTY):
        asked = [TaskCanceled(seq, "stopped") for seq, task in run.tasks.items() if task.slot == f"approve.{index}"]
        return [*asked, CallRefused(run.turn, index, "stopped")]
    match call.state:
        case CallState.NEW:
            return [_first(spec, run, index, call)]
        case CallState.APPROVED:
            return [_act(spec, run, index, call)]
        case CallState.FAULTY:
            attempt = retry.again(run.faults[f"call.{index}"], seed)
            return [attempt] if attempt else []
        case _:
            return []


def _first(spec: AgentSpec, run: Run, index: int, call: Call) -> Fact:
    tool = spec.tool(call.name)
    if tool is None:
        names = ", ".join(each.name for each in spec.tools) or "none"
        problem = f"there is no tool named {call.name!r}; the tools are: {names}"
        return CallRefused(run.turn, index, "unknown_tool", problem)
    if not call.valid:
        return CallRefused(run.turn, index, "bad_arguments", f"the arguments of {call.name} are not a JSON object")
    if tool.approval_required:
        return TaskScheduled(
            Kind.HUMAN, Purpose.APPROVE, call.name, f"approve.{index}", turn=run.turn, source=call.source
        )
    return _act(spec, run, index, call)


def _act(spec: AgentSpec, run: Run, index: int, call: Call) -> Fact:
    tool = spec.tool(call.name)
    if tool is None:
        return CallRefused(run.turn, index, "unknown_tool", f"the tool {call.name!r} is gone")
    return TaskScheduled(
        Kind.WORKER,
        Purpose.ACT,
        call.name,
        f"call.{index}",
        turn=run.turn,
        source=call.source,
        retry=tool.retry,
        limits=tool.limits,
    )


def _settled(run: Run, index: int, call: Call, seed: str) -> bool:
    if call.state is CallState.FAULTY:
        return retry.again(run.faults[f"call.{index}"], seed) is None
    return call.state in (CallState.DONE, CallState.REFUSED, CallState.REJECTED)


def _next(spec: AgentSpec, run: Run) -> list[Fact]:
    """After a turn whose calls are all settled."""
    cut_short = run.finish == "length" and not run.calls
    if not run.calls and not cut_short:
        finish = "rejected" if run.rejected and run.finish == "stop" else run.finish
        return [ExecutionCompleted(finish, Result((*run.cut, run.answer)))]
    if run.stopping:
        return [ExecutionCompleted("stopped", _last_words(run))]
    if run.turn >= spec.max_turns:
        return [ExecutionCompleted("length" if cut_short else "max_turns", _last_words(run))]
    return [_thought(spec, run.turn + 1)]


def _last_words(run: Run) -> Result:
    """What there is to show of a run that ends without a final answer."""
    results = tuple(call.settled for call in run.calls if call.settled)
    return Result(run.cut or ((run.words,) if run.words else results))
