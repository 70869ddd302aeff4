"""Who speaks next in a team: one cell per strategy."""

from collections.abc import Callable

from agentspan.core.events import Branch, ExecutionCompleted, ExecutionFailed, Fact, Result, TaskScheduled
from agentspan.core.run import Run
from agentspan.core.states import Kind, Purpose
from agentspan.spec.agent import AgentSpec


def sequential(spec: AgentSpec, run: Run) -> list[Fact]:
    """Each agent in turn, with the prompt and what the one before it said."""
    if run.tasks:
        return []
    if run.faults:
        return [ExecutionFailed(_reason(run))]
    if run.stopping or len(run.branches) == len(spec.agents):
        last = run.branches.get(len(run.branches) - 1, Branch(""))
        return [ExecutionCompleted("stopped" if run.stopping else run.finish or "stop", last.result)]
    return [_speak(spec, len(run.branches))]


def parallel(spec: AgentSpec, run: Run) -> list[Fact]:
    """All agents at once, on the same prompt. One that fails is reported beside the results of the others."""
    failed = {fault.order.index: fault for fault in run.faults.values()}
    begun = {task.index for task in run.tasks.values()} | failed.keys() | run.branches.keys()
    waiting = [] if run.stopping else [_speak(spec, i) for i in range(len(spec.agents)) if i not in begun]
    if waiting or run.tasks:
        return [*waiting]
    if failed and not run.branches:
        return [ExecutionFailed(_reason(run))]
    branches = tuple(
        run.branches.get(i) or Branch(agent.name, error=failed[i].error if i in failed else "stopped")
        for i, agent in enumerate(spec.agents)
    )
    return [ExecutionCompleted("stopped" if run.stopping else "stop", Result(branches=branches))]


def _speak(spec: AgentSpec, index: int) -> TaskScheduled:
    return TaskScheduled(Kind.AGENT, Purpose.SPEAK, spec.agents[index].name, f"agent.{index}")


def _reason(run: Run) -> str:
    return "; ".join(f"{fault.order.name}: {fault.error}" for fault in run.faults.values())


def briefing(spec: AgentSpec, run: Run, index: int) -> tuple[Result, ...]:
    """The results that the agent at `index` reads after the prompt."""
    before = run.branches.get(index - 1) if spec.strategy == "sequential" else None
    return (*run.after, before.result) if before else run.after


STRATEGIES: dict[str, Callable[[AgentSpec, Run], list[Fact]]] = {"sequential": sequential, "parallel": parallel}
