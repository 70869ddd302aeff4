"""A tree as a picture of its time: every execution and every attempt of a task, read in a few statements."""

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.clock import now_ms
from agentspan.core import events as e
from agentspan.core.advance import ROOT
from agentspan.core.ids import execution_id, split_execution, task_id
from agentspan.core.run import Run
from agentspan.core.states import Kind
from agentspan.core.timeline import Chapter, Lease, Place, Span, spans
from agentspan.core.turn import model_of
from agentspan.spec.agent import AgentSpec, Path
from agentspan.store import requests, showing
from agentspan.store import tables as t
from agentspan.store.reads import Reads, Scene
from agentspan.store.scroll import AT_ONCE, Scroll

Json = dict[str, Any]


class Part(Struct, frozen=True, rename="camel", kw_only=True):
    """One execution of a tree. Tokens and money are its own, without those of the agents below it."""

    execution_id: str
    parent_id: str
    parent_task_id: str
    agent_name: str
    path: tuple[str, ...]
    status: str
    model: str
    start_time: int
    end_time: int | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost: float
    cost_unknown: bool
    turns: int
    finish_reason: str
    reason: str
    forked_from: str
    forked_at: int
    version: int
    session_id: str


class Timeline(Struct, frozen=True, rename="camel", kw_only=True):
    """An execution and all below it up to event `last`; of a patch, what was new."""

    execution_id: str
    root_id: str
    agent_name: str
    status: str
    now: int
    last: int
    budget: Json | None
    spent: Json | None
    executions: list[Part]
    spans: list[Span]


class _Seat(Struct):
    """As much of a run's snapshot as is needed here."""

    path: Path = ()
    model: int = 0


_seat = msgspec.json.Decoder(_Seat)


def timeline(reads: Reads, connection: Connection, name: str, after: int = 0) -> Timeline:
    """What happened in an execution and below it after an event. Open tasks that were leased since then are new too:
    no event tells of a lease."""
    tree, number = split_execution(name)
    scene = reads.scene(connection, name)
    scroll = Scroll(connection, tree, scene.seq, after)
    within = below(connection, tree, number)
    fresh = [event for event in scroll.sketches(scroll.fresh) if within is None or event.execution in within]
    rows = _open_rows(connection, scroll, after, within)
    orders, ends = _told(scroll, fresh, rows)
    touched = {event.execution for event in (*fresh, *orders.values())}
    children = {seq for seq, event in orders.items() if _is_agent(event)}
    found = _executions(connection, tree, touched | children if after else None, within)
    places, paths = dict[int, Place](), dict[Path, tuple[AgentSpec, tuple[str, ...]]]()
    parts: list[Part] = []
    for row in found:
        seat = _seat.decode(row.run)
        if seat.path not in paths:
            paths[seat.path] = (scene.root.at(seat.path), requests.names(scene.root, seat.path))
        spec, names = paths[seat.path]
        places[row.number] = Place(spec, names, not row.ended_at)
        if not after or row.number in touched:
            parts.append(_part(scene, row, spec, names, seat))
    chapter = Chapter(
        tree=tree, places=places, orders=list(orders.values()), ends=ends,
        retried=_retried(scroll, orders), leases={row.number: _lease(row) for row in rows}, log=scroll.log,
        hidden=scene.hidden,
    )  # fmt: skip
    return Timeline(
        execution_id=name, root_id=tree, agent_name=scene.spec.name, status=str(scene.run.status), now=now_ms(),
        last=scene.seq, executions=parts, spans=spans(chapter), **showing.budget(scene.run),
    )  # fmt: skip


def attempts(connection: Connection, scene: Scene, scroll: Scroll, number: int) -> list[Span]:
    """All attempts of what task `number` is an attempt of; [] if there is no such task. `scroll` is the tree's log."""
    tree = scene.meta.tree
    found = scroll.sketches(scroll.fresh)
    asked = next((event for event in found if event.seq == number), None)
    if asked is None or not isinstance(asked.fact, e.TaskScheduled):
        return []
    first = asked.fact.origin or number
    orders = {
        event.seq: event
        for event in found
        if isinstance(event.fact, e.TaskScheduled) and first in (event.seq, event.fact.origin)
    }
    ends = {event.fact.task: event for event in found if isinstance(event.fact, ENDS) and event.fact.task in orders}
    rows = _executions(connection, tree, {asked.execution, *orders}, None)
    places = {
        row.number: Place(scene.root.at(path), requests.names(scene.root, path), not row.ended_at)
        for row in rows
        for path in [_seat.decode(row.run).path]
    }
    open_ = connection.execute(OPEN, {"tree": tree, "since": 0, "last": scene.seq})
    return spans(
        Chapter(
            tree=tree, places=places, orders=list(orders.values()), ends=ends, retried=_retried(scroll, orders),
            leases={row.number: _lease(row) for row in open_}, log=scroll.log, hidden=scene.hidden,
        )
    )  # fmt: skip


def below(connection: Connection, tree: str, number: int) -> set[int] | None:
    """The executions below one and itself; None for all of the tree."""
    if number == ROOT:
        return None
    found = {number}
    for row in connection.execute(PARENTS, {"tree": tree}):
        if row.number != ROOT and row.parent in found:
            found.add(row.number)
    return found


def _open_rows(connection: Connection, scroll: Scroll, after: int, within: set[int] | None) -> list[Any]:
    """The rows of open tasks; of a patch, those that were leased or given back since."""
    since = next((event.at for event in scroll.sketches([after])), 0) if after else 0
    rows = connection.execute(OPEN, {"tree": scroll.tree, "since": since, "last": scroll.last})
    return [row for row in rows if within is None or row.execution in within]


def _told(scroll: Scroll, fresh: list[e.Event], rows: Iterable[Any]) -> tuple[dict[int, e.Event], dict[int, e.Event]]:
    """The events that scheduled the tasks of which there is something to tell, by number, and those that settled
    them, by task."""
    wanted, ends = {row.number for row in rows}, dict[int, e.Event]()
    for event in fresh:
        match event.fact:
            case e.TaskScheduled():
                wanted.add(event.seq)
            case e.ExecutionRetried() if event.execution != ROOT:
                wanted.add(event.execution)
            case e.TaskCompleted() | e.TaskFailed() | e.TaskTimedOut() | e.TaskCanceled() | e.MessagesTaken() as fact:
                if fact.task:
                    wanted.add(fact.task)
                    ends[fact.task] = event
    orders = scroll.sketches(sorted(wanted))
    return {event.seq: event for event in orders if isinstance(event.fact, e.TaskScheduled)}, ends


def _executions(connection: Connection, tree: str, numbers: set[int] | None, within: set[int] | None) -> list[Any]:
    if numbers is None:
        found = list(connection.execute(PARTS, {"tree": tree}))
        return [row for row in found if within is None or row.number in within]
    wanted, found = sorted(numbers), []
    for start in range(0, len(wanted), AT_ONCE):
        given = {"tree": tree, "numbers": wanted[start : start + AT_ONCE]}
        found += connection.execute(SOME_PARTS, given)
    return found


def _retried(scroll: Scroll, orders: dict[int, e.Event]) -> dict[int, int]:
    """The attempt before, of each that is not the first."""
    before: dict[int, int] = {}
    last: dict[int, int] = {}
    for seq, event in orders.items():
        order = event.fact
        if not isinstance(order, e.TaskScheduled):
            continue
        tries, first = order.attempt + order.lost, order.origin or seq
        if tries and first not in last:
            last[first] = first if tries == 1 else _last(scroll.attempts(event.execution, first, seq), first)
        if tries:
            before[seq] = last[first]
        last[first] = seq
    return before


def _last(events: Iterable[e.Event], first: int) -> int:
    """The last attempt among events that goes back to `first`."""
    orders = [event.seq for event in events if isinstance(event.fact, e.TaskScheduled) and event.fact.origin == first]
    return max(orders, default=first)


def _part(scene: Scene, row: Any, spec: AgentSpec, names: tuple[str, ...], seat: _Seat) -> Part:
    tree, root = scene.meta.tree, row.number == ROOT
    return Part(
        execution_id=execution_id(tree, row.number),
        parent_id="" if root else execution_id(tree, row.parent),
        parent_task_id="" if root else task_id(tree, row.number),
        agent_name=row.agent,
        path=names,
        status=row.status,
        model=model_of(spec, Run(model=seat.model)) if spec.model else "",
        start_time=row.started_at,
        end_time=row.ended_at or None,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cached_tokens=row.cached_tokens,
        cost=row.cost,
        cost_unknown=row.unpriced > 0,
        turns=row.turns,
        finish_reason=row.finish_reason,
        reason=row.reason,
        forked_from=scene.meta.forked_from if root else "",
        forked_at=scene.meta.forked_at if root else 0,
        version=scene.meta.version,
        session_id=row.session_id,
    )


def _lease(row: Any) -> Lease:
    return Lease(row.status, row.owner, row.leased_at, row.available_at)


def _is_agent(event: e.Event) -> bool:
    return isinstance(event.fact, e.TaskScheduled) and event.fact.kind is Kind.AGENT


ENDS = (*e.SETTLEMENTS, e.MessagesTaken)
_x = t.executions.c
_parts = sa.select(
    _x.number, _x.parent, _x.agent, _x.status, _x.started_at, _x.ended_at, _x.finish_reason, _x.reason,
    _x.session_id, _x.prompt_tokens, _x.completion_tokens, _x.cached_tokens, _x.cost, _x.unpriced, _x.turns, _x.run,
).where(_x.tree == sa.bindparam("tree"))  # fmt: skip
PARTS = _parts.order_by(_x.number)
SOME_PARTS = PARTS.where(_x.number.in_(sa.bindparam("numbers", expanding=True)))
PARENTS = sa.select(_x.number, _x.parent).where(_x.tree == sa.bindparam("tree")).order_by(_x.number)
_since = sa.bindparam("since", type_=sa.BigInteger)
OPEN = (
    sa.select(t.tasks)
    .where(
        t.tasks.c.tree == sa.bindparam("tree"),
        t.tasks.c.number <= sa.bindparam("last"),
        sa.or_(t.tasks.c.leased_at >= _since, t.tasks.c.available_at >= _since),
    )
    .order_by(t.tasks.c.number)
)
