"""Who writes a session: the execution that began last in it. The next one may begin when that one has ended."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.errors import Conflict
from agentspan.store import bulk
from agentspan.store import tables as t


def claim_session(
    connection: Connection,
    agent: str,
    session_id: str,
    tree: str,
    at: int = 0,
    is_open: Callable[[str], bool | None] = lambda _: None,
) -> str | None:
    """Make `tree` the session's writer; gives the one before it, if any. Conflict if that one has not ended.

    `is_open` says it of a tree that this transaction has at hand and has not written yet, None of any other.
    """
    key = {"the_agent": agent, "the_session": session_id}
    insert: Any = bulk.insert_of(t.sessions, connection.dialect.name)
    row = {"agent": agent, "session_id": session_id, "tree": tree, "updated_at": at}
    before = None
    while before is None:  # the session may be forgotten between the two
        connection.execute(insert.on_conflict_do_nothing(), row)
        before = connection.execute(WRITER, key).scalar()
    if before == tree:
        return None
    if _is_open(connection, before, is_open):
        raise Conflict(
            f"session {session_id!r} of agent {agent!r} is being written by execution {before}; "
            "wait for its end, cancel it, or use another session"
        )
    connection.execute(TAKE, {**key, "tree": tree, "updated_at": at})
    return str(before)


def hold_session(connection: Connection, agent: str, session_id: str, tree: str) -> None:
    """Raise Conflict unless `tree` is still the session's last writer: only then may it go on after its end."""
    last = connection.execute(WRITER, {"the_agent": agent, "the_session": session_id}).scalar()
    if last not in (None, tree):
        raise Conflict(f"session {session_id!r} has gone on with execution {last}; fork {tree} instead of retrying it")


def _is_open(connection: Connection, tree: str, is_open: Callable[[str], bool | None]) -> bool:
    known = is_open(tree)
    if known is not None:
        return known
    return connection.execute(OPEN, {"tree": tree}).first() is not None


_same = sa.and_(t.sessions.c.agent == sa.bindparam("the_agent"), t.sessions.c.session_id == sa.bindparam("the_session"))
# Locked, so that the writer that is found cannot be replaced meanwhile by another server.
WRITER = sa.select(t.sessions.c.tree).where(_same).with_for_update()
TAKE = sa.update(t.sessions).where(_same).values(tree=sa.bindparam("tree"), updated_at=sa.bindparam("updated_at"))
OPEN = sa.select(t.executions.c.tree).where(
    t.executions.c.tree == sa.bindparam("tree"), t.executions.c.number == 0, t.executions.c.ended_at == 0
)
