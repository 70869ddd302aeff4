"""How a run stands: what is open in it and what is known of that, or the step that it failed at."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.engine import Connection

from agentspan.core import events as e
from agentspan.core import run as runs
from agentspan.core.advance import ROOT
from agentspan.core.ids import execution_id, task_id
from agentspan.core.run import TIME_OUTS, Run
from agentspan.core.states import Kind, Verdict
from agentspan.core.steps import brief
from agentspan.spec import mask
from agentspan.store import tables as t
from agentspan.store.reads import Reads, Scene
from agentspan.store.scroll import Scroll
from agentspan.store.timeline import below
from agentspan.store.views import RequestView, Want

MOST_TASKS = 100
LOOK_BACK = 50
"""So many events before an attempt is its predecessor's failure looked for."""
ERROR_CHARS = 500
QUESTION_CHARS = 200


class Open(Struct, frozen=True, kw_only=True):
    """What is known of an open task."""

    task_id: str
    execution_id: str
    agent: str
    name: str
    kind: str
    purpose: str
    is_leased: bool
    scheduled_at: int
    available_at: int
    leased_at: int
    domain: str
    worker: str
    attempt: int
    attempts: int
    last_poll: int = 0
    error: str = ""
    cause: str = ""
    question: str = ""
    base_url: str = ""


class Failure(Struct, frozen=True):
    """The step that a run failed at: the deepest that is the cause of the rest."""

    agent: str
    execution_id: str
    step: str
    error: str
    at: int
    task_id: str | None = None
    seq: int | None = None


class Known(Struct, frozen=True, kw_only=True):
    """What is known of a run."""

    execution_id: str
    status: str
    finish_reason: str
    reason: str
    started_at: int
    updated_at: int
    ended_at: int
    paused_at: int = 0
    failure: Failure | None = None
    tasks: tuple[Open, ...] = ()


def standing(reads: Reads, connection: Connection, execution: str) -> Known:
    """What is known of a run, or of an agent below it. NotFound."""
    scene = reads.scene(connection, execution)
    row, run = scene.row, scene.run
    known = Known(
        execution_id=execution, status=str(run.status), finish_reason=run.finish_reason, reason=row.reason,
        started_at=row.started_at, updated_at=row.updated_at, ended_at=row.ended_at,
    )  # fmt: skip
    if row.ended_at:
        failed = known.status in ("FAILED", "TIMED_OUT")
        return replace(known, failure=_failure(connection, scene, run.id)) if failed else known
    if known.status == "PAUSED":
        known = replace(known, paused_at=_paused_at(connection, scene, run.id))
    return replace(known, tasks=tuple(_open(reads, connection, scene, run.id)))


def _open(reads: Reads, connection: Connection, scene: Scene, number: int) -> Iterable[Open]:
    """The open tasks of an execution and below it, the oldest first."""
    tree, within = scene.meta.tree, below(connection, scene.meta.tree, number)
    rows = [row for row in connection.execute(OPEN, {"tree": tree}) if within is None or row.execution in within]
    rows = rows[:MOST_TASKS]
    found = _runs(connection, tree, {row.execution for row in rows})
    asked_ = {each.request_id: each for each in reads.requests_in(connection, execution_id(tree, number))}
    scroll = Scroll(connection, tree, scene.seq, scene.seq)
    for row in rows:
        order = found[row.execution].tasks.get(row.number)
        if order is None:
            continue  # settled since the rows were read
        spec = scene.root.at(found[row.execution].path)
        retried = order.attempt + order.lost > 0
        error, cause = _before(scroll, row.number, order) if retried else ("", "")
        yield Open(
            task_id=task_id(tree, row.number), execution_id=execution_id(tree, row.execution), agent=spec.name,
            name=order.name, kind=order.kind, purpose=order.purpose, is_leased=row.status == "IN_PROGRESS",
            scheduled_at=row.scheduled_at, available_at=row.available_at, leased_at=row.leased_at, domain=row.domain,
            worker=row.owner, attempt=order.attempt + order.lost, attempts=order.retry.limit + order.lost + 1,
            last_poll=reads.last_poll(Want(row.queue, row.domain)),
            error=brief(mask.masked(error, scene.hidden), ERROR_CHARS).rstrip("."), cause=cause,
            question=_question(asked_.get(task_id(tree, row.number))),
            base_url=spec.base_url or "" if order.name == spec.model else "",
        )  # fmt: skip


def _runs(connection: Connection, tree: str, numbers: set[int]) -> dict[int, Run]:
    rows = connection.execute(RUNS, {"tree": tree, "numbers": sorted(numbers)})
    return {row.number: runs.load(row.run) for row in rows}


def _question(request: RequestView | None) -> str:
    """What a person is asked, in a line."""
    if request is None:
        return "an answer"
    if request.kind == "approval":
        return f"may {request.tool}({brief(request.arguments, QUESTION_CHARS)}) be called"
    shown = next((request.arguments[key] for key in QUESTIONS if key in request.arguments), request.arguments)
    return f"{request.kind} {request.tool}: {brief(shown, QUESTION_CHARS)}".rstrip(".?!: ")


def _before(scroll: Scroll, number: int, order: e.TaskScheduled) -> tuple[str, str]:
    """What went wrong with the attempt before this one: error and cause."""
    first = order.origin or number
    for event in reversed(scroll.sketches(range(max(1, number - LOOK_BACK), number))):
        match event.fact:
            case e.TaskFailed(task=task) | e.TaskTimedOut(task=task) if _goes_back(scroll, task, first):
                whole = scroll.log.fact(event.seq)
                return _error(whole or event.fact), getattr(event.fact, "cause", "")
    return "", ""


def _goes_back(scroll: Scroll, task: int, first: int) -> bool:
    if task == first:
        return True
    return any(isinstance(x.fact, e.TaskScheduled) and x.fact.origin == first for x in scroll.sketches([task]))


def _error(fact: e.AnyFact) -> str:
    return fact.error if isinstance(fact, e.TaskFailed) else TIME_OUTS[getattr(fact, "limit", "attempt")]


def _paused_at(connection: Connection, scene: Scene, number: int) -> int:
    scroll = Scroll(connection, scene.meta.tree, scene.seq)
    moments = [
        event.at
        for event in scroll.sketches(scroll.fresh)
        if event.execution == number and isinstance(event.fact, e.ExecutionPaused)
    ]
    return moments[-1] if moments else scene.run.at


def _failure(connection: Connection, scene: Scene, number: int) -> Failure:
    """The step at which an execution failed: down through the agents below it to the first that is not one of them."""
    tree = scene.meta.tree
    rows = {row.number: row for row in connection.execute(ALL, {"tree": tree})}
    row = rows[number]
    while (child := _failed_below(rows, row)) is not None:
        row = rows[child]
    run = runs.load(row.run)
    task, step, seq = _failed_step(run)
    error = mask.masked(run.faults[step].error, scene.hidden) if step in run.faults else row.reason
    order = run.faults[step].order if step in run.faults else None
    name = step if order is None else f"The model call ({order.name})" if order.kind is Kind.LLM else order.name
    error = brief(error, ERROR_CHARS) or row.finish_reason
    return Failure(
        row.agent, execution_id(tree, row.number), name or "A step", error.rstrip("."), row.ended_at,
        task_id(tree, task) if task else None, seq or None,
    )  # fmt: skip


def _failed_below(rows: Mapping[int, Any], row: Any) -> int | None:
    """The agent below that is the cause of a failure, if one is: by whose task it failed, or the first that failed."""
    faults = sorted(fault.task for fault in runs.load(row.run).faults.values())
    if own := [task for task in faults if task not in rows]:
        return None if own[0] == faults[0] else faults[0]
    if faults:
        return faults[0]
    failed = [each for each in rows.values() if each.number != ROOT and each.parent == row.number and _is_bad(each)]
    return min(failed, key=lambda each: each.ended_at).number if failed else None


def _is_bad(row: Any) -> bool:
    return row.status in ("FAILED", "TIMED_OUT")


def _failed_step(run: Run) -> tuple[int, str, int]:
    """The task, the slot or the name, and the event that an execution failed by."""
    if run.faults:
        slot, fault = min(run.faults.items(), key=lambda item: item[1].task)
        return fault.task, slot, fault.task
    if open_ := min(run.canceled, default=0):
        return open_, run.canceled[open_].name, open_
    raised = [slot for slot, word in run.verdicts.items() if word is Verdict.RAISE]
    if raised:
        return 0, f"A check ({raised[0].partition('.')[0]})", run.marks.get(f"said.{raised[0]}", 0)
    return 0, "The last turn", run.answer or run.seq


QUESTIONS = ("question", "content", "prompt", "message", "choices")

OPEN = sa.select(t.tasks).where(t.tasks.c.tree == sa.bindparam("tree")).order_by(t.tasks.c.scheduled_at)
_x = t.executions.c
RUNS = sa.select(_x.number, _x.run).where(
    _x.tree == sa.bindparam("tree"), _x.number.in_(sa.bindparam("numbers", expanding=True))
)
ALL = sa.select(
    _x.number, _x.parent, _x.agent, _x.status, _x.reason, _x.finish_reason, _x.ended_at, _x.run
).where(_x.tree == sa.bindparam("tree"))  # fmt: skip
