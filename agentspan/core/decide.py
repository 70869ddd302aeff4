"""What follows now, from the spec, the state, and the log that the state points into. [] means wait."""

from agentspan.core.budget import within
from agentspan.core.ending import conclude
from agentspan.core.events import Fact, Result, TaskCanceled
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
