"""Fold facts into a tree, and all that follows from them: the one function that the engine runs."""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from agentspan.core import budget
from agentspan.core import events as e
from agentspan.core.decide import decide, partial
from agentspan.core.log import Log
from agentspan.core.reports import trimmed
from agentspan.core.run import Run, evolve
from agentspan.core.states import Kind, Status
from agentspan.core.strategies import beginning
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


def advance(
    spec: AgentSpec, tree: Tree, facts: Iterable[tuple[int, e.AnyFact]], at: int, log: Log | None = None
) -> tuple[Tree, list[e.Event]]:
    """The tree after `facts` (each with its execution) and all that follows, and the events to append. `log` gives the
    facts that stand in the tree's history."""
    runs, seq, appended = dict(tree.runs), tree.seq, list[e.Event]()
    log = Log() if log is None else log  # an empty one is false, and yet finds everything
    queue, restless = deque(facts), set[int]()
    while queue or restless:
        if not queue:
            execution = min(restless)
            restless.remove(execution)
            run = runs[execution]
            follow = decide(spec.at(run.path), run, log, tree.id, runs.get(ROOT))
            queue.extend((execution, fact) for fact in follow)  # type: ignore[misc]
            continue
        execution, fact = queue.popleft()
        seq += 1
        before = runs.get(execution) or Run(id=execution)
        fact = _landed(before, fact)
        event = e.Event(seq, execution, at, fact)
        log.add(seq, fact)
        runs[execution] = after = evolve(before, event)
        spent = spend(runs, before, event)
        appended.append(event)
        restless.update(runs if spent else (execution,))
        queue.extend(_across(spec, runs, before, after, event, log))
    return Tree(tree.id, seq, runs), appended


def _landed(run: Run, fact: e.AnyFact) -> e.AnyFact:
    """A report as the log keeps it."""
    if isinstance(fact, e.TaskCompleted) and fact.output and fact.task in run.tasks:
        return replace(fact, output=trimmed(run.tasks[fact.task], fact.output))
    return fact


def spend(runs: dict[int, Run], before: Run, event: e.Event) -> bool:
    """Book an event on the root, if the root has a budget; may a call go on now that had to wait?"""
    root = runs.get(ROOT)
    if root is None or root.budget is None:
        return False
    runs[ROOT] = budget.spend(root, before, event)
    return isinstance(event.fact, (*e.SETTLEMENTS, e.BudgetChanged))


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
            facts += [(run.parent, _settlement(tree.runs[run.parent], run))] if run.ended else []
        elif number != ROOT and not run.ended:
            facts.append((number, e.ExecutionTerminated("canceled")))
    return facts


def _across(
    spec: AgentSpec, runs: dict[int, Run], before: Run, after: Run, event: e.Event, log: Log
) -> list[tuple[int, e.AnyFact]]:
    """What a fact of one execution means for its sub-agents and for its parent."""
    match event.fact:
        case e.TaskScheduled(kind=Kind.AGENT) as order:
            return [_beginning(spec, after, event.seq, order)]
        case e.TaskCanceled(task=task, reason=reason) if task in runs and not runs[task].ended:
            return [(task, e.ExecutionTerminated(reason))]
        case e.ExecutionRetried():
            return [(task, e.ExecutionRetried()) for task in after.tasks if task in runs and runs[task].ended]
    if not after.ended or before.ended or after.id == ROOT:
        return []
    if after.finish_reason == "budget" and not runs[ROOT].ended:
        root = runs[ROOT]
        return [(ROOT, e.ExecutionTerminated(after.reason, "budget", partial(spec, root)))]
    parent = runs[after.parent]
    return [*_unread(parent, after, log), (parent.id, _settlement(parent, after))]


def _unread(parent: Run, run: Run, log: Log) -> list[tuple[int, e.AnyFact]]:
    """The messages that a sub-agent had not seen when it ended, handed on to who goes on."""
    if parent.ended:
        return []
    known = {_first(seq, log) for seq in parent.unread}
    mail = {_first(seq, log): log.fact(seq) for seq in run.unread}
    return [
        (parent.id, e.MessageReceived(fact.message, fact.sender, first))
        for first, fact in mail.items()
        if isinstance(fact, e.MessageReceived) and first not in known
    ]


def _first(message: int, log: Log) -> int:
    fact = log.fact(message)
    return fact.of if isinstance(fact, e.MessageReceived) and fact.of else message


def _beginning(spec: AgentSpec, run: Run, task: int, order: e.TaskScheduled) -> tuple[int, e.AnyFact]:
    """The start of the sub-agent that a task stands for."""
    return task, beginning(spec.at(run.path), run, task, order)


def _settlement(parent: Run, run: Run) -> e.AnyFact:
    """What the end of a sub-agent is to its parent's task."""
    if run.status is not Status.COMPLETED:
        order = parent.tasks.get(run.id)
        return e.TaskFailed(run.id, run.reason or run.status, terminal=not (order and order.retry.limit))
    prompt = run.usage.prompt_tokens + run.team_tokens[0]
    completion = run.usage.completion_tokens + run.team_tokens[1]
    output = {"finish_reason": run.finish_reason, "tokens": [prompt, completion]}
    transfer = {"transfer_to": run.transfer} if run.transfer and run.finish_reason == "transfer" else {}
    return e.TaskCompleted(run.id, {**output, **transfer, **_changes(parent, run)}, result=run.result)


def _changes(parent: Run, run: Run) -> e.Json:
    """What a sub-agent has changed in the state that its team shares."""
    if run.source or run.path[-1:] == ("router",):
        return {}
    updates = {key: value for key, value in run.state.items() if parent.state.get(key, _NOTHING) != value}
    deletions = [key for key in run.inherited if key not in run.state]
    return {key: each for key, each in (("_state_updates", updates), ("_state_deletions", deletions)) if each}


_NOTHING = object()
