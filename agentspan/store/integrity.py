"""Does the database hold together? Each check reads alone, and says how much it looked at and what it found.

The truth is the log: everything else that is stored about a tree must be what its events fold to.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.core import run as runs
from agentspan.core.advance import ROOT, Tree
from agentspan.core.fork import fold
from agentspan.core.ids import execution_id
from agentspan.core.run import Run
from agentspan.core.states import Kind
from agentspan.errors import AgentspanError
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.store import tables as t
from agentspan.store.copying import Told, quiet
from agentspan.store.database import revision
from agentspan.store.ledger import Held, Meta, execution_row, stored_events
from agentspan.store.migrations import HEAD

SAMPLED = 200
"""So many trees of each sort are folded if not all of them are to be."""
AT_ONCE = 100
SHOWN = 20


class Finding(Struct, frozen=True):
    """What one check has found. `problems` has the first of them, `wrong` is how many there are."""

    check: str
    looked_at: int
    wrong: int = 0
    problems: list[str] = []


Checked = Iterator[str | None]
"""What a check yields for each thing that it looks at: what is wrong with it, or None."""


def check(connection: Connection, *, full: bool = False, told: Told = quiet) -> list[Finding]:
    """Look at everything; `full` folds every log instead of a sample. The connection sees one moment."""
    if wrong := _schema(connection):
        return [Finding("schema", 1, 1, [wrong])]
    found = [Finding("schema", 1)]
    for name, work in CHECKS.items():
        if made := work(connection):
            found.append(_finding(name, made, told))
    found.append(_finding("runs", _runs(connection, full), told))
    return found


def _finding(name: str, made: Checked, told: Told) -> Finding:
    looked, wrong, problems = 0, 0, list[str]()
    for problem in made:
        looked += 1
        if problem:
            wrong += 1
            problems += [problem] if wrong <= SHOWN else []
        if looked % AT_ONCE == 0:
            told(f"checking {name}", looked, 0)
    return Finding(name, looked, wrong, problems)


def _schema(connection: Connection) -> str:
    found = revision(connection)
    if found is None:
        return "the database is empty"
    return "" if found == HEAD else f"the schema is at revision {found}, this version needs {HEAD}"


def _file(connection: Connection) -> Checked | None:
    """What SQLite itself says of its pages and indices."""
    if connection.dialect.name != "sqlite":
        return None
    found = connection.exec_driver_sql("pragma integrity_check").scalars().all()
    return iter([None if line == "ok" else str(line) for line in found])


def _logs(connection: Connection) -> Checked:
    """Each tree's events are numbered from 1 without a gap, and the tree knows the last."""
    for row in connection.execute(LOGS):
        whole = (row.events, row.first, row.last) == (row.seq, 1, row.seq)
        yield (
            None
            if whole
            else (
                f"{row.tree}: the tree is at event {row.seq}; its log has {row.events}, from {row.first} to {row.last}"
            )
        )


def _lost(table: sa.Table) -> Callable[[Connection], Checked]:
    """Rows of a tree that is not there, and is not being removed either."""
    gone = sa.exists().where(t.trees.c.tree == table.c.tree)
    statement = sa.select(table.c.tree, sa.func.count()).where(~gone).group_by(table.c.tree)

    def work(connection: Connection) -> Checked:
        leaving = set(connection.execute(sa.select(t.removals.c.tree)).scalars())
        for tree, rows in connection.execute(statement):
            yield None if tree in leaving else f"{tree}: {rows} rows of {table.name} without their tree"

    return work


def _blobs(connection: Connection) -> Checked:
    for row in connection.execute(BLOBS):
        yield None if row.found else f"{row.tree}: the payload of event {row.seq} is missing"


def _specs(connection: Connection) -> Checked:
    for who, digest, found in connection.execute(SPECS):
        yield None if found else f"{who}: the definition {digest} is missing"


def _pointers(connection: Connection) -> Checked:
    """Idempotency keys and sessions point at trees that are there."""
    for what, tree, found in connection.execute(POINTERS):
        yield None if found else f"{what} points at {tree}, which is not there"


def _runs(connection: Connection, full: bool) -> Checked:
    """Snapshots, sums, statuses and open tasks are what the log says."""
    specs: dict[str, AgentSpec] = {}
    for name in _chosen(connection, full):
        try:
            yield _run(connection, name, specs)
        except DAMAGED as problem:
            yield f"{name}: the log cannot be folded: {type(problem).__name__}: {problem}"


def _chosen(connection: Connection, full: bool) -> Iterator[str]:
    """All trees in the order of their ids, or the newest ones and the newest of those that go on."""
    if not full:
        newest = connection.execute(NEWEST).scalars().all()
        open_ = connection.execute(OPEN).scalars().all()
        yield from dict.fromkeys([*newest, *open_])
        return
    after = ""
    while names := connection.execute(TREES, {"after": after}).scalars().all():
        yield from names
        after = names[-1]


def _run(connection: Connection, name: str, specs: dict[str, AgentSpec]) -> str | None:
    tree = connection.execute(TREE, {"tree": name}).one()
    if tree.spec not in specs:
        specs[tree.spec] = wire.load(connection.execute(SPEC, {"digest": tree.spec}).scalar_one())
    meta = Meta(name, tree.spec, tree.session_id)
    folded = fold(name, stored_events(connection, name))
    held = Held(meta, specs[tree.spec], folded, {})
    rows = {row.number: row for row in connection.execute(EXECUTIONS, {"tree": name})}
    if rows.keys() != folded.runs.keys():
        return f"{name}: executions {sorted(rows)} are stored; the log has {sorted(folded.runs)}"
    for number, run in folded.runs.items():
        if wrong := _differs(rows[number], run, execution_row(held, run)):
            return f"{execution_id(name, number)}: stored is another {', '.join(wrong)} than the log says"
    queued = set(connection.execute(TASKS, {"tree": name}).scalars())
    due = _open_tasks(folded)
    return None if queued == due else f"{name}: tasks {sorted(queued)} are stored; the log has {sorted(due)} open"


def _differs(row: Any, run: Run, wanted: dict[str, Any]) -> list[str]:
    wrong = [name for name in SAME if getattr(row, name) != wanted[name]]
    return wrong if runs.dump(runs.load(row.run)) == runs.dump(run) else ["state", *wrong]


def _open_tasks(tree: Tree) -> set[int]:
    return {
        task for run in tree.runs.values() for task, order in run.tasks.items() if order.kind is not Kind.AGENT
    }  # fmt: skip


DAMAGED = (
    AgentspanError, msgspec.MsgspecError, sa.exc.NoResultFound, KeyError, ValueError, AssertionError, AttributeError,
)  # fmt: skip
"""What a fold trips over where a log, a snapshot or a definition is damaged."""
SAME = (
    "parent", "agent", "status", "ended_at", "finish_reason", "session_id", "prompt_tokens", "completion_tokens",
    "cached_tokens", "reasoning_tokens", "cost", "unpriced", "turns",
)  # fmt: skip
"""What an execution's row repeats of its state, for lists and sums."""

_e, _x = t.events.c, t.executions.c
_ends = (sa.func.min(_e.seq).label("first"), sa.func.max(_e.seq).label("last"))
_counted = sa.select(_e.tree, sa.func.count().label("events"), *_ends).group_by(_e.tree).subquery()
_events = sa.func.coalesce(_counted.c.events, 0).label("events")
LOGS = sa.select(t.trees.c.tree, t.trees.c.seq, _events, _counted.c.first, _counted.c.last).select_from(
    t.trees.outerjoin(_counted, _counted.c.tree == t.trees.c.tree)
)
BLOBS = (
    sa.select(_e.tree, _e.seq, t.blobs.c.tree.is_not(None).label("found"))
    .select_from(t.events.outerjoin(t.blobs, sa.and_(t.blobs.c.tree == _e.tree, t.blobs.c.digest == _e.blob)))
    .where(_e.blob.is_not(None))
)
_of = t.specs.c.digest.is_not(None)
SPECS = sa.union_all(
    sa.select(t.trees.c.tree, t.trees.c.spec, _of).select_from(
        t.trees.outerjoin(t.specs, t.specs.c.digest == t.trees.c.spec)
    ),
    sa.select(sa.literal("agent ") + t.definitions.c.name, t.definitions.c.spec, _of).select_from(
        t.definitions.outerjoin(t.specs, t.specs.c.digest == t.definitions.c.spec)
    ),
)
_there = t.trees.c.tree.is_not(None)
POINTERS = sa.union_all(
    sa.select(sa.literal("idempotency key ") + t.starts.c.key, t.starts.c.tree, _there).select_from(
        t.starts.outerjoin(t.trees, t.trees.c.tree == t.starts.c.tree)
    ),
    sa.select(sa.literal("session ") + t.sessions.c.session_id, t.sessions.c.tree, _there).select_from(
        t.sessions.outerjoin(t.trees, t.trees.c.tree == t.sessions.c.tree)
    ),
)
NEWEST = sa.select(t.trees.c.tree).order_by(t.trees.c.tree.desc()).limit(SAMPLED)
OPEN = sa.select(_x.tree).where(_x.number == ROOT, _x.ended_at == 0).order_by(_x.tree.desc()).limit(SAMPLED)
TREES = sa.select(t.trees.c.tree).where(t.trees.c.tree > sa.bindparam("after")).order_by(t.trees.c.tree).limit(AT_ONCE)
TREE = sa.select(t.trees).where(t.trees.c.tree == sa.bindparam("tree"))
SPEC = sa.select(t.specs.c.data).where(t.specs.c.digest == sa.bindparam("digest"))
EXECUTIONS = sa.select(t.executions).where(_x.tree == sa.bindparam("tree"))
TASKS = sa.select(t.tasks.c.number).where(t.tasks.c.tree == sa.bindparam("tree"))

CHECKS: dict[str, Callable[[Connection], Checked | None]] = {
    "file": _file,
    "logs": _logs,
    "blobs": _blobs,
    "specs": _specs,
    "keys and sessions": _pointers,
    **{f"rows of {table.name}": _lost(table) for table in (t.events, t.executions, t.tasks, t.blobs)},
}
