"""What removes runs: which have ended, oldest first; how a tree goes; and its rows after it, bit by bit.

A tree goes at once: its record and its first execution with it, so that nobody finds half of one. It is noted in
`removals` in the same transaction, and its other rows follow in transactions of few rows each.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.core.advance import ROOT
from agentspan.errors import NotFound
from agentspan.store import bulk
from agentspan.store import tables as t
from agentspan.store.ledger import SUMS

SESSION_RUNS = 50
"""So many runs of a session, from the last one back, are remembered by the next one (see `reads.history`)."""
REMOVED = "~"
"""How the tree begins under which stands what removed runs have cost."""
WEIGHTS = {"blobs": 20}
"""Rows that count for more: payloads are large."""


class Old(Struct, frozen=True):
    """The first execution of a tree that has ended."""

    tree: str
    agent: str
    status: str
    started_at: int
    ended_at: int
    session_id: str

    @property
    def place(self) -> tuple[int, str]:
        return (self.ended_at, self.tree)


def ended(connection: Connection, after: tuple[int, str], before: int, count: int) -> list[Old]:
    """Trees that have ended before a moment, in the order of their ends, from a place on."""
    rows = connection.execute(OLD, {"at": after[0], "tree": after[1], "before": before, "count": count})
    return [Old(*row) for row in rows]


def one(connection: Connection, tree: str) -> Old | None:
    """The tree, if it is there and has ended."""
    row = connection.execute(ONE, {"tree": tree}).first()
    return Old(*row) if row else None


def status_of(connection: Connection, tree: str) -> str:
    """The status of a run. NotFound."""
    status = connection.execute(STATUS, {"tree": tree}).scalar()
    if status is None:
        raise NotFound(f"there is no execution {tree!r}")
    return str(status)


def newest(connection: Connection, agent: str, status: Sequence[str], most: int) -> tuple[int, str]:
    """Where the newest `most` ended runs of an agent begin: a run that started before it is not among them."""
    if not most:
        return (2**63 - 1, "")
    row = connection.execute(NEWEST, {"agent": agent, "status": list(status), "above": most - 1}).first()
    return (row.started_at, row.tree) if row else (0, "")


def last_of_session(connection: Connection, old: Old) -> str:
    """The tree that wrote a session last; "" if nobody knows the session any more."""
    return connection.execute(LAST, {"agent": old.agent, "session": old.session_id}).scalar() or ""


def is_remembered(connection: Connection, old: Old) -> bool:
    """Whether the next run of the session may still be told of this one: of those that completed it is told."""
    given = {"agent": old.agent, "session": old.session_id, "at": old.started_at, "tree": old.tree}
    return len(connection.execute(LATER, given).all()) < SESSION_RUNS


def is_free(connection: Connection, old: Old) -> bool:
    """Whether no run to come would be told of this one; until the end of the transaction none can begin that would."""
    if not old.session_id:
        return True
    given = {"agent": old.agent, "session": old.session_id}
    last = connection.execute(LAST, given).scalar()
    if last and connection.execute(LAST_LOCKED, given).scalar() != last:
        return False  # somebody writes the session at this moment
    return last in (None, old.tree) or not is_remembered(connection, old)


def remove(connection: Connection, old: Sequence[Old], at: int) -> None:
    """Let trees go, with their idempotency keys, and with their session if they are its last."""
    names = {"trees": [each.tree for each in old]}
    bulk.insert(connection, t.removals, [{"tree": each.tree, "at": at} for each in old], ignore=True)
    for statement in (GONE_TREES, GONE_ROOTS, GONE_STARTS):
        connection.execute(statement, names)
    for each in old:
        if each.session_id:
            connection.execute(GONE_SESSION, {"agent": each.agent, "session": each.session_id, "gone": each.tree})


def clear(connection: Connection, most: int) -> int:
    """Delete up to about `most` rows of trees that have gone; gives how many, 0 when nothing is left."""
    deleted = 0
    while deleted < most and (tree := connection.execute(NEXT).scalar()):
        for table in PARTS:
            deleted += _clear(connection, table, tree, most - deleted)
            if deleted >= most:
                break
        else:
            connection.execute(sa.delete(t.removals).where(t.removals.c.tree == tree))
            deleted += 1
    return deleted


def _clear(connection: Connection, table: sa.Table, tree: str, most: int) -> int:
    """Rows of one table; gives what they count for."""
    weight, keys = WEIGHTS.get(table.name, 1), list(table.primary_key)
    columns = list(table.columns) if table is t.spending else keys
    statement = sa.select(*columns).where(table.c.tree == tree).limit(max(1, most // weight))
    rows = [dict(row._mapping) for row in connection.execute(statement)]
    if table is t.spending:
        _sum_up(connection, rows)
    bulk.delete(connection, table, [{key.name: row[key.name] for key in keys} for row in rows])
    return len(rows) * weight


def _sum_up(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """What removed runs have cost stays, summed by agent, model and hour."""
    sums: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in rows:
        name = REMOVED + hashlib.sha256(f"{row['root_agent']}\n{row['agent']}".encode()).hexdigest()[:35]
        key = name, row["model"], row["hour"]
        kept = sums.setdefault(
            key, {**row, "tree": name, "execution": 0, "session_id": "", **dict.fromkeys(SUMS, 0)}
        )  # fmt: skip
        for column in SUMS:
            kept[column] += row[column]
    bulk.add(connection, t.spending, list(sums.values()), SUMS)


def unused_specs(connection: Connection, before: int, count: int) -> list[str]:
    """Definitions that no run, no deployed version and nobody since a moment has used."""
    return list(connection.execute(UNUSED, {"before": before, "count": count}).scalars())


def remove_specs(connection: Connection, digests: Sequence[str], before: int) -> int:
    """Delete those that were not used again meanwhile."""
    return connection.execute(GONE_SPECS, {"digests": list(digests), "before": before}).rowcount


PARTS = (t.executions, t.tasks, t.events, t.blobs, t.logs, t.decisions, t.secret_uses, t.spending)
"""What goes after a tree, in this order."""

_x = t.executions.c
_columns = (_x.tree, _x.agent, _x.status, _x.started_at, _x.ended_at, _x.session_id)
_root = _x.number == ROOT
OLD = (
    sa.select(*_columns)
    .where(
        _root,
        _x.ended_at > 0,
        _x.ended_at < sa.bindparam("before"),
        sa.tuple_(_x.ended_at, _x.tree) > sa.tuple_(sa.bindparam("at"), sa.bindparam("tree")),
    )
    .order_by(_x.ended_at, _x.tree)
    .limit(sa.bindparam("count"))
)
ONE = sa.select(*_columns).where(_x.tree == sa.bindparam("tree"), _root, _x.ended_at > 0)
STATUS = sa.select(_x.status).where(_x.tree == sa.bindparam("tree"), _root)
NEWEST = (
    sa.select(_x.started_at, _x.tree)
    .where(
        _root,
        _x.agent == sa.bindparam("agent"),
        _x.status.in_(sa.bindparam("status", expanding=True)),
        _x.ended_at > 0,
    )
    .order_by(_x.started_at.desc(), _x.tree.desc())
    .limit(1)
    .offset(sa.bindparam("above"))
)
LAST = sa.select(t.sessions.c.tree).where(
    t.sessions.c.agent == sa.bindparam("agent"), t.sessions.c.session_id == sa.bindparam("session")
)
LAST_LOCKED = LAST.with_for_update(skip_locked=True)
LATER = (
    sa.select(_x.tree)
    .where(
        _root,
        _x.session_id == sa.bindparam("session"),
        _x.session_id != "",
        _x.agent == sa.bindparam("agent"),
        _x.status == "COMPLETED",
        sa.tuple_(_x.started_at, _x.tree) > sa.tuple_(sa.bindparam("at"), sa.bindparam("tree")),
    )
    .limit(SESSION_RUNS)
)
_trees: Any = sa.bindparam("trees", expanding=True)
GONE_TREES = sa.delete(t.trees).where(t.trees.c.tree.in_(_trees))
GONE_ROOTS = sa.delete(t.executions).where(_x.tree.in_(_trees), _root)
GONE_STARTS = sa.delete(t.starts).where(t.starts.c.tree.in_(_trees))
GONE_SESSION = sa.delete(t.sessions).where(
    t.sessions.c.agent == sa.bindparam("agent"),
    t.sessions.c.session_id == sa.bindparam("session"),
    t.sessions.c.tree == sa.bindparam("gone"),
)
# Another server may be at it too.
NEXT = sa.select(t.removals.c.tree).order_by(t.removals.c.tree).limit(1).with_for_update(skip_locked=True)
_used = sa.union(sa.select(t.trees.c.spec), sa.select(t.definitions.c.spec))
UNUSED = (
    sa.select(t.specs.c.digest)
    .where(t.specs.c.created_at < sa.bindparam("before"), t.specs.c.digest.not_in(_used))
    .limit(sa.bindparam("count"))
)
GONE_SPECS = sa.delete(t.specs).where(
    t.specs.c.digest.in_(sa.bindparam("digests", expanding=True)), t.specs.c.created_at < sa.bindparam("before")
)
