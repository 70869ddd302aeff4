"""What follows now, from the spec, the state, and the log that the state points into. [] means wait."""

from agentspan.core.budget import within
from agentspan.core.ending import conclude
from agentspan.core.events import ExecutionTerminated, ExecutionTimedOut, Fact, Result, TaskCanceled
from agentspan.core.log import Log
from agentspan.core.opening import opening
from agentspan.core.run import Run
from agentspan.core.states import Status
from agentspan.core.strategies import so_far, team
from agentspan.core.turn import last_words, turn
from agentspan.spec.agent import AgentSpec


def decide(spec: AgentSpec, run: Run, log: Log, seed: str = "", root: Run | None = None) -> list[Fact]:
    """The facts that follow for this execution. `spec` is its own agent's; `seed` is the tree's id, `root` its root."""
    if run.ended:
        return [TaskCanceled(task, run.status.lower()) for task in run.tasks]
    if run.status is Status.PAUSED:
        return []
    follow = _follow(spec, run, log, f"{seed}:{run.id}")
    if root is None or root.budget is None:
        return follow
    return within(root, run, follow, partial(spec, run))


def _follow(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    fresh = not (run.turn or run.spoken or run.branches or run.stopping)
    if fresh and (first := opening(spec, run, log, seed)) is not None:
        return first
    if fresh and run.fixed:
        return conclude(spec, run, log, seed, "stop", Result((run.fixed,)))
    return turn(spec, run, log, seed) if spec.thinks else team(spec, run, log, seed)


def partial(spec: AgentSpec, run: Run) -> Result:
    """What an execution that ends now has to show."""
    return last_words(run) if spec.thinks else so_far(spec, run)


def overdue(spec: AgentSpec, run: Run, at: int) -> ExecutionTerminated | ExecutionTimedOut | None:
    """The end of an execution whose time, by its agent or by its budget, is over at this moment; None if it is not."""
    wall = run.budget.seconds if run.budget else None
    limit = min(filter(None, (spec.timeout_seconds, wall)), default=0)
    if run.ended or not limit or run.since + limit * 1000 > at:
        return None
    shown = partial(spec, run) if not spec.guardrails else Result()
    if limit == wall:
        return ExecutionTerminated(f"budget: its {limit:g} seconds are used", "budget", shown)
    return ExecutionTimedOut(f"the run took longer than its {limit:g} s", shown)
