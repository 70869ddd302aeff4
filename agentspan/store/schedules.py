"""Schedules of deployed agents, each with the moment at which it is due next (0: never)."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.store import bulk
from agentspan.store import tables as t
from agentspan.store.views import Kept, Schedule

OVERLAPS = ("allow", "skip", "cancel_running")


def save(connection: Connection, schedule: Schedule, due_at: int, at: int) -> None:
    """Store a schedule, or replace the one of that name; what became of its last tick stays."""
    insert: Any = bulk.insert_of(t.schedules, connection.dialect.name)
    new = insert.excluded
    columns = {"agent": new.agent, "data": new.data, "due_at": new.due_at, "problem": "", "updated_at": new.updated_at}
    connection.execute(
        insert.on_conflict_do_update(index_elements=["name"], set_=columns),
        {
            "name": schedule.name,
            "agent": schedule.agent,
            "data": msgspec.json.encode(schedule),
            "due_at": due_at,
            "created_at": at,
            "updated_at": at,
        },
    )


def find(connection: Connection, name: str) -> Kept | None:
    row = connection.execute(sa.select(t.schedules).where(t.schedules.c.name == name)).first()
    return _kept(row) if row else None


def all_schedules(connection: Connection, agent: str = "") -> Sequence[Kept]:
    statement = sa.select(t.schedules).order_by(t.schedules.c.name)
    rows = connection.execute(statement.where(t.schedules.c.agent == agent) if agent else statement)
    return [_kept(row) for row in rows]


def delete(connection: Connection, name: str) -> int:
    return connection.execute(sa.delete(t.schedules).where(t.schedules.c.name == name)).rowcount


def due(connection: Connection, at: int, limit: int) -> Sequence[Kept]:
    """What must be started now, the longest due first."""
    return [_kept(row) for row in connection.execute(DUE, {"at": at, "count": limit})]


def next_due(connection: Connection) -> int:
    """The soonest moment at which one is due; 0 if there is none."""
    return int(connection.execute(NEXT).scalar() or 0)


def move(connection: Connection, name: str, from_: int, to: int, problem: str = "") -> bool:
    """Say that what was due at `from_` is dealt with, and when it is due again. False if another server did."""
    return bool(connection.execute(MOVE, {"the_name": name, "was": from_, "to": to, "said": problem}).rowcount)


def ran(connection: Connection, name: str, at: int, tree: str) -> None:
    """Remember the last tick and the execution that it began ("": none, the one before is kept)."""
    values: dict[str, Any] = {"last_at": at, **({"last_tree": tree} if tree else {})}
    connection.execute(sa.update(t.schedules).where(t.schedules.c.name == name).values(values))


def is_running(connection: Connection, tree: str) -> bool:
    return bool(tree) and connection.execute(OPEN, {"tree": tree}).first() is not None


def _kept(row: Any) -> Kept:
    schedule = msgspec.json.decode(row.data, type=Schedule)
    return Kept(schedule, row.due_at, row.last_at, row.last_tree, row.problem, row.created_at, row.updated_at)


DUE = (
    sa.select(t.schedules)
    .where(t.schedules.c.due_at > 0, t.schedules.c.due_at <= sa.bindparam("at"))
    .order_by(t.schedules.c.due_at)
    .limit(sa.bindparam("count"))
)
NEXT = sa.select(sa.func.min(t.schedules.c.due_at)).where(t.schedules.c.due_at > 0)
MOVE = (
    sa.update(t.schedules)
    .where(t.schedules.c.name == sa.bindparam("the_name"), t.schedules.c.due_at == sa.bindparam("was"))
    .values(due_at=sa.bindparam("to"), problem=sa.bindparam("said"))
)
OPEN = sa.select(t.executions.c.tree).where(
    t.executions.c.tree == sa.bindparam("tree"), t.executions.c.number == 0, t.executions.c.ended_at == 0
)
