"""What people are asked and what they answered: every request of a tree, told from its log. Pure."""

from collections.abc import Iterable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.core import people
from agentspan.core.ids import execution_id, task_id
from agentspan.core.log import Log
from agentspan.core.material import Material
from agentspan.core.outcome import reference
from agentspan.core.run import Run, evolve
from agentspan.core.states import Kind, Purpose, Verdict
from agentspan.spec.agent import AgentSpec, Path
from agentspan.store.views import RequestView

OPEN, ANSWERED, EXPIRED, CANCELED = "open", "answered", "expired", "canceled"
DEADLINE = "deadline"
"""Who answers a request to which nobody did in time."""


class Asked(Struct, frozen=True):
    """A request, with the state in which it was asked."""

    view: RequestView
    run: Run
    order: e.TaskScheduled


def asked(tree: str, spec: AgentSpec, events: Sequence[e.Event]) -> list[Asked]:
    """Every request of a tree, in the order in which they were made. `events` are all of the tree's."""
    runs: dict[int, Run] = {}
    log = Log(lambda seqs: {seq: events[seq - 1].fact for seq in seqs if seq <= len(events)})
    found: dict[int, Asked] = {}
    for at, event in enumerate(events):
        before = runs.get(event.execution) or Run(id=event.execution)
        run = runs[event.execution] = evolve(before, event)
        if isinstance(event.fact, e.TaskScheduled) and event.fact.kind is Kind.HUMAN:
            material = Material(spec, log, lambda n: runs[n], partial(_of, events[: at + 1]))
            view = request(tree, spec, run, event.seq, event.fact, material, event.at)
            found[event.seq] = Asked(view, run, event.fact)
        else:
            _settle(found, before, event, log)
    return list(found.values())


def _of(events: Sequence[e.Event], execution: int) -> list[e.Event]:
    return [event for event in events if event.execution == execution]


def request(
    tree: str, spec: AgentSpec, run: Run, number: int, order: e.TaskScheduled, material: Material, at: int
) -> RequestView:
    """An open request. `spec` is the root's."""
    agent, limit = spec.at(run.path), order.limits.start_ms
    return RequestView(
        request_id=task_id(tree, number), execution_id=execution_id(tree, run.id), root_id=tree,
        agent_name=agent.name, path=names(spec, run.path), tool=order.name, ref=reference(agent, order),
        arguments=material.given(run, order), since=at, response_schema=people.schema(agent, run, order),
        kind=people.KINDS[order.purpose], deadline=at + order.delay_ms + limit if limit else 0, to=order.to,
        root_agent=spec.name, arguments_schema=_arguments_schema(agent, order),
    )  # fmt: skip


def _arguments_schema(agent: AgentSpec, order: e.TaskScheduled) -> e.Json | None:
    tool = agent.tool(order.name) if order.purpose is Purpose.APPROVE else None
    return dict(tool.input_schema) if tool and tool.input_schema else None


def names(spec: AgentSpec, path: Path) -> tuple[str, ...]:
    """The agents from the root's child down to the one at `path`."""
    return tuple(spec.at(path[: depth + 1]).name for depth in range(len(path)))


def aged(view: RequestView, now: int) -> RequestView:
    """With how long it has waited, or did."""
    return replace(view, age=max(0, (view.decided_at or now) - view.since))


def chosen(
    views: Iterable[RequestView], *, status: str = "", agent: str = "", kind: str = "", to: str = ""
) -> list[RequestView]:
    """Those that fit. `status` open, or answered: settled in any way; `agent` asks, or is the whole run's."""
    return [
        view
        for view in views
        if (not status or (view.status == OPEN) == (status == OPEN))
        and (not agent or agent in (view.agent_name, view.root_agent))
        and (not kind or kind == view.kind)
        and (not to or to in view.to)
    ]


def _settle(found: dict[int, Asked], before: Run, event: e.Event, log: Log) -> None:
    """What an event says about the requests before it."""
    match event.fact:
        case e.TaskCompleted(task=task, output=output, worker=by) if task in before.tasks and task in found:
            _close(found, task, event, ANSWERED, output or {}, by)
        case e.TaskFailed(task=task, error=reason, worker=by) if task in before.tasks and task in found:
            _close(found, task, event, ANSWERED, {"error": reason}, by)
        case e.MessagesTaken(task=task) if task in before.tasks and task in found:
            _close(found, task, event, ANSWERED, log.get(event.seq) or {}, "")
        case e.TaskTimedOut(task=task) if task in before.tasks and task in found:
            _close(found, task, event, EXPIRED, None, "")
        case e.TaskCanceled(task=task, reason=reason) if task in before.tasks and task in found:
            _close(found, task, event, CANCELED, {"reason": reason} if reason else None, "")
        case e.VerdictGiven(position="approval", slot=slot, verdict=verdict, message=message):
            last = next((n for n, x in reversed(found.items()) if _is(x, event.execution, slot, before.turn)), 0)
            if last:
                said = {"approved": verdict is Verdict.PASS, "reason": message}
                _close(found, last, event, EXPIRED, said, DEADLINE)


def _is(each: Asked, execution: int, slot: str, turn: int) -> bool:
    return (each.run.id, each.order.slot, each.order.turn) == (execution, slot, turn)


def _close(found: dict[int, Asked], task: int, event: e.Event, status: str, answer: e.Json | None, by: str) -> None:
    each = found[task]
    view = replace(each.view, status=status, answer=answer, decided_by=by, decided_at=event.at)
    found[task] = replace(each, view=view)


def same_answer(spec: AgentSpec, each: Asked, answer: e.Json) -> bool:
    """Does an answer say what the request was answered with? BadInput if it answers nothing. `spec` is the root's."""
    if each.view.status != ANSWERED or each.order.purpose is Purpose.WAIT:
        return False
    return people.answered(spec.at(each.run.path), each.run, each.order, answer) == each.view.answer
