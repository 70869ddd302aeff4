"""One step of an agent's way that takes a task: begun when it is its turn, awaited, tried again, then over."""

from agentspan.core import retry
from agentspan.core.events import Fact, Result, TaskScheduled
from agentspan.core.run import Run
from agentspan.core.states import Kind, Purpose
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import CHECK_RETRY, ONCE

NOTHING = Result()


def stage(run: Run, order: TaskScheduled, seed: str) -> list[Fact] | None:
    """What the task of this slot still needs, [] while it is open; None once it is over, done or failed for good."""
    if order.slot in run.marks:
        return None
    if fault := run.faults.get(order.slot):
        following = retry.again(fault, seed)
        return None if following is None else [following]
    if run.open(order.slot):
        return []
    return [order]


def hook(
    spec: AgentSpec, run: Run, position: str, seed: str, suffix: str = "", turn: int = 0, source: int = 0,
    about: Result = NOTHING,
) -> list[Fact] | None:  # fmt: skip
    """The callback of a position, if the agent has one. One that fails changes nothing."""
    name = next((str(each["taskName"]) for each in spec.callbacks if each.get("position") == position), None)
    if name is None:
        return None
    order = TaskScheduled(
        Kind.WORKER, Purpose.HOOK, name, f"{position}{suffix}", turn=turn or run.turn, source=source, about=about,
        retry=ONCE,
    )  # fmt: skip
    return stage(run, order, seed)


def check(run: Run, name: str, slot: str, seed: str, about: Result = NOTHING, source: int = 0) -> list[Fact] | None:
    """A function of the user's that judges: `stop_when`, a termination, a gate, an approval predicate."""
    order = TaskScheduled(
        Kind.WORKER, Purpose.JUDGE, name, slot, turn=run.turn, source=source, about=about, retry=CHECK_RETRY
    )
    return stage(run, order, seed)
