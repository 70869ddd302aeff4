"""What follows now, from the spec and the state alone. [] means wait."""

from agentspan.core.events import Fact, TaskCanceled
from agentspan.core.run import Run
from agentspan.core.states import Status
from agentspan.core.strategies import STRATEGIES
from agentspan.core.turn import turn
from agentspan.spec.agent import AgentSpec


def decide(spec: AgentSpec, run: Run, seed: str = "") -> list[Fact]:
    """The facts that follow for this execution. `spec` is its own agent's; `seed` is the tree's id."""
    if run.ended:
        return [TaskCanceled(task, run.status.lower()) for task in run.tasks]
    if run.status is Status.PAUSED:
        return []
    return STRATEGIES[spec.strategy](spec, run) if spec.agents else turn(spec, run, f"{seed}:{run.id}")
