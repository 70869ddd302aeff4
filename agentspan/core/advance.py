"""Fold facts into a tree, and all that follows from them: the one function that the engine runs."""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from agentspan.core import events as e
from agentspan.core.decide import decide
from agentspan.core.run import Run, evolve
from agentspan.core.states import Kind, Status
from agentspan.core.strategies import briefing
from agentspan.spec.agent import AgentSpec

ROOT = 0


class Tree(Struct, frozen=True):
    """A root execution and its descendants that still live: how many events there are, and the runs by number."""

    id: str = ""
    seq: int = 0
    runs: dict[int, Run] = {}

    def below(self, execution: int) -> list[int]:
        """The execution and its descendants, parents first."""
        return [each for each in sorted(self.runs) if execution in self._line(each)]

    def _line(self, execution: int) -> Iterable[int]:
        while execution != ROOT:
            yield execution
            execution = self.runs[execution].parent if execution in self.runs else ROOT
        yield ROOT


def advance(spec: AgentSpec, tree: Tree, facts: Iterable[tuple[int, e.AnyFact]], at: int) -> tuple[Tree, list[e.Event]]:
    """The tree after `facts` (each with its execution) and all that follows, and the events to append."""
    runs, seq, appended = dict(tree.runs), tree.seq, []
    queue, restless = deque(facts), set[int]()
    while queue or restless:
        if not queue:
            execution = min(restless)
            restless.remove(execution)
            run = runs[execution]
            queue.extend((execution, fact) for fact in decide(spec.at(run.path), run, tree.id))  # type: ignore[misc]
            continue
        execution, fact = queue.popleft()
        seq += 1
        event = e.Event(seq, execution, at, fact)
        before = runs.get(execution) or Run(id=execution)
        runs[execution] = after = evolve(before, event)
        appended.append(event)
        restless.add(execution)
        queue.extend(_across(spec, runs, before, after, event))
    return Tree(tree.id, seq, runs), appended


def resumed(spec: AgentSpec, tree: Tree, fact: e.AnyFact) -> list[tuple[int, e.AnyFact]]:
    """`fact` for every execution that lives, and what a log that was cut in the middle of an `advance` still lacks:
    sub-agents that must begin or end with their parents, and ends that parents must hear of."""
    facts: list[tuple[int, e.AnyFact]] = [(number, fact) for number, run in sorted(tree.runs.items()) if not run.ended]
    for number, run in sorted(tree.runs.items()):
        if run.ended:
            facts += [(number, e.TaskCanceled(task, run.status.lower())) for task in run.tasks]
        else:
            orders = run.tasks.items()
            facts += [_beginning(spec, run, n, x) for n, x in orders if x.kind is Kind.AGENT and n not in tree.runs]
        if number != ROOT and number in tree.runs[run.parent].tasks:
            facts += [(run.parent, _settlement(run))] if run.ended else []
        elif number != ROOT and not run.ended:
            facts.append((number, e.ExecutionTerminated("canceled")))
    return facts


def _across(
    spec: AgentSpec, runs: dict[int, Run], before: Run, after: Run, event: e.Event
) -> list[tuple[int, e.AnyFact]]:
    """What a fact of one execution means for its sub-agents and for its parent."""
    match event.fact:
        case e.TaskScheduled(kind=Kind.AGENT) as order:
            return [_beginning(spec, after, event.seq, order)]
        case e.TaskCanceled(task=task, reason=reason) if task in runs and not runs[task].ended:
            return [(task, e.ExecutionTerminated(reason))]
        case e.ExecutionRetried():
            return [(task, e.ExecutionRetried()) for task in after.tasks if task in runs and runs[task].ended]
    if after.ended and not before.ended and after.id != ROOT:
        return [(after.parent, _settlement(after))]
    return []


def _beginning(spec: AgentSpec, run: Run, task: int, order: e.TaskScheduled) -> tuple[int, e.AnyFact]:
    """The start of the sub-agent that a task stands for."""
    path = (*run.path, order.index)
    results = briefing(spec.at(run.path), run, order.index)
    return task, e.ExecutionStarted(path=path, parent=run.id, after=results, signal=run.signal)


def _settlement(run: Run) -> e.AnyFact:
    """What the end of a sub-agent is to its parent's task."""
    if run.status is Status.COMPLETED:
        return e.TaskCompleted(run.id, {"finish_reason": run.finish_reason}, result=run.result)
    return e.TaskFailed(run.id, run.reason or run.status, terminal=True)
