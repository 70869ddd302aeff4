"""Views from runs and events: pure."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.core import transcript
from agentspan.core.ids import execution_id, task_id
from agentspan.core.log import Log
from agentspan.core.outcome import outcome as outcome
from agentspan.core.outcome import reference as reference
from agentspan.core.run import TIME_OUTS, Run
from agentspan.core.states import Kind, Purpose
from agentspan.spec import mask
from agentspan.spec.agent import AgentSpec
from agentspan.spec.credentials import given_to
from agentspan.store.ledger import Lease, Meta, domain_of
from agentspan.store.views import ExecutionView, RequestView, TaskView


def scheduled(
    meta: Meta,
    spec: AgentSpec,
    run: Run,
    number: int,
    order: e.TaskScheduled,
    given: dict[str, Any],
    at: int,
    of_run: tuple[str, ...] = (),
) -> TaskView:
    """An open attempt. `spec` is its own agent's, `given` its arguments, `of_run` the credentials of the whole run."""
    human = order.kind is Kind.HUMAN
    return TaskView(
        task_id=task_id(meta.tree, number),
        execution_id=execution_id(meta.tree, run.id),
        root_id=meta.tree,
        agent_name=spec.name,
        name=order.name,
        kind=order.kind,
        purpose=order.purpose,
        ref=reference(spec, order),
        status="IN_PROGRESS" if human or order.kind is Kind.AGENT else "SCHEDULED",
        input=given,
        attempt=order.attempt + order.lost,
        turn=order.turn,
        seq=number,
        retried_task_id="",
        domain=domain_of(meta, spec, order),
        scheduled_at=at,
        available_at=at + order.delay_ms,
        priority=meta.priority,
        correlation_id=meta.correlation_id,
        session_id=meta.session_id,
        child_id=execution_id(meta.tree, number) if order.kind is Kind.AGENT else "",
        idempotency_key=f"{execution_id(meta.tree, run.id)}:{order.turn}:{order.index}",
        state=run.state if order.purpose is Purpose.ACT else {},
        credentials=_credentials(spec, order, of_run),
    )


def _credentials(spec: AgentSpec, order: e.TaskScheduled, of_run: tuple[str, ...]) -> tuple[str, ...]:
    if order.kind not in (Kind.WORKER, Kind.HTTP, Kind.MCP):
        return ()
    return given_to(spec, order.name if order.purpose is Purpose.ACT else None, of_run)


def taken(view: TaskView, lease: Lease, at: int, polls: int = 1) -> TaskView:
    """The same attempt, leased now, for the `polls`-th time."""
    return replace(
        view,
        status="IN_PROGRESS",
        worker=lease.owner,
        started_at=at,
        lease_ms=lease.lease_ms,
        poll_count=polls,
    )


def attempts(meta: Meta, spec: AgentSpec, run: Run, events: Iterable[e.Event], log: Log) -> list[TaskView]:
    """Every attempt of an execution, in the order of their scheduling, from its events. `log` gives the events of
    others that they point to."""
    views: dict[int, TaskView] = {}
    last: dict[tuple[int, str], int] = {}
    for event in events:
        fact = event.fact
        log.add(event.seq, fact)
        if isinstance(fact, e.TaskScheduled):
            view = scheduled(meta, spec, run, event.seq, fact, _known(fact, log), event.at)
            before = last.get((fact.turn, fact.slot))
            if before is not None:
                view = replace(view, retried_task_id=task_id(meta.tree, before))
                views[before] = replace(views[before], retried=True)
            last[(fact.turn, fact.slot)] = event.seq
            views[event.seq] = view
        elif isinstance(fact, e.SETTLEMENTS) and fact.task in views:
            views[fact.task] = settled(views[fact.task], fact, event.at, log)
        elif isinstance(fact, e.MessagesTaken) and fact.task in views:
            taken_ = replace(views[fact.task], status="COMPLETED", output=log.get(event.seq), ended_at=event.at)
            views[fact.task] = replace(taken_, started_at=taken_.scheduled_at)
    return list(views.values())


def _known(order: e.TaskScheduled, log: Log) -> dict[str, Any]:
    """What can be said of a task's input when it is long over: a call's arguments, the text that was judged."""
    if order.source:
        return log.call(order.source, order.index)
    return {"content": log.text(order.about)} if transcript.named(order.about) else {}


def settled(view: TaskView, fact: e.AnyFact, at: int, log: Log) -> TaskView:
    """An attempt after its settlement."""
    match fact:
        case e.TaskCompleted():
            said = {"result": log.text(fact.result)} if fact.result is not None else {}
            changes: dict[str, Any] = {"status": "COMPLETED", "output": {**(fact.output or {}), **said}}
        case e.TaskFailed():
            status = "FAILED_WITH_TERMINAL_ERROR" if fact.terminal else "FAILED"
            changes = {"status": status, "reason": fact.error, "output": {}}
        case e.TaskTimedOut():
            changes = {"status": "TIMED_OUT", "reason": TIME_OUTS[fact.limit], "output": {}}
        case e.TaskCanceled():
            changes = {"status": "CANCELED", "reason": fact.reason, "output": {}}
        case _:
            return view
    worker, started = getattr(fact, "worker", ""), getattr(fact, "started_at", 0)
    return replace(view, **changes, worker=worker, started_at=started or view.scheduled_at, ended_at=at)


V = TypeVar("V", TaskView, ExecutionView, RequestView)


def hidden(view: V, names: mask.Names) -> V:
    """A view as it may be shown: without the values of masked fields."""
    if not names:
        return view
    shown = {name: mask.masked(getattr(view, name), names) for name in DATA if hasattr(view, name)}
    if isinstance(view, ExecutionView):
        shown["row"] = replace(view.row, reason=mask.masked(view.row.reason, names))
    return replace(view, **shown)


def budget(run: Run) -> dict[str, Any]:
    """What a whole run may use and has used, if it has a budget."""
    if run.budget is None:
        return {"budget": None, "spent": None}
    used = run.spent
    spent = {
        "cost": used.cost, "tokens": used.tokens, "modelCalls": used.model_calls, "toolCalls": used.tool_calls,
        "openModelCalls": used.open, "seconds": max(0, run.at - run.since) / 1000,
    }  # fmt: skip
    return {"budget": msgspec.to_builtins(run.budget), "spent": spent}


def with_lease(view: TaskView, row: Any) -> TaskView:
    """An open attempt with what its queue row knows."""
    if row is None:
        return view
    until = row.lease_until - row.leased_at if row.lease_until else 0
    return replace(
        view, status=row.status, worker=row.owner, started_at=row.leased_at, poll_count=row.polls, lease_ms=until
    )


DATA = ("input", "output", "state", "reason", "arguments", "answer")
"""The fields of views that hold what users, models and tools said."""
