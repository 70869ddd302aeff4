"""The queue's side of the task rows: claims, leases and deadlines. What is here is rumour, never history."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.store import bulk
from agentspan.store import tables as t
from agentspan.store.ledger import Lease

Key = tuple[str, int]


def claim(connection: Connection, queue: str, domain: str, count: int, lease: Lease, at: int) -> Sequence[Any]:
    """Take up to `count` ready tasks of a queue: highest priority first, then the longest available."""
    return connection.execute(
        CLAIM,
        {
            "the_queue": queue,
            "the_domain": domain,
            "count": count,
            "the_owner": lease.owner,
            "at": at,
            "lease": lease.lease_ms,
        },
    ).all()


def extend(connection: Connection, tasks: Sequence[Key], owner: str, lease_ms: int, at: int) -> set[Key]:
    """Lengthen the leases that `owner` still holds ("": whoever does), never shorten one; gives those."""
    if not tasks:
        return set()
    dialect = connection.dialect.name
    times = {"the_owner": owner, "until": at + lease_ms}
    rows = connection.execute(_extension(dialect), {**bulk.keys(tasks, dialect), **times})
    return {(row.tree, row.number) for row in rows}


def release(connection: Connection, tasks: Iterable[Key], available_at: int) -> list[tuple[str, str]]:
    """Put leased tasks back into their queues, to be taken from `available_at` on; gives the queues."""
    dialect = connection.dialect.name
    rows = connection.execute(_return(dialect), {**bulk.keys(tasks, dialect), "the_available_at": available_at})
    return [(row.queue, row.domain) for row in rows]


def find(connection: Connection, tasks: Iterable[Key]) -> dict[Key, Any]:
    """The rows of open tasks."""
    keys, dialect = list(tasks), connection.dialect.name
    rows = connection.execute(_search(dialect), bulk.keys(keys, dialect)) if keys else ()
    return {(row.tree, row.number): row for row in rows}


def held_by(connection: Connection, owner: str) -> list[Key]:
    """The tasks that an owner holds."""
    return [(row.tree, row.number) for row in connection.execute(HELD_BY, {"the_owner": owner})]


def leases(connection: Connection) -> Sequence[Any]:
    """What workers hold, the longest held first."""
    return connection.execute(LEASES).all()


def owners(connection: Connection, prefix: str) -> list[str]:
    """Who holds tasks, of the owners whose name begins with `prefix`."""
    return [row.owner for row in connection.execute(OWNERS, {"prefix": f"{prefix}%"})]


def due(connection: Connection, now: int, limit: int) -> Sequence[Any]:
    """Open tasks with a deadline that has passed."""
    return connection.execute(DUE, {"now": now, "limit": limit}).all()


def due_executions(connection: Connection, now: int, limit: int) -> Sequence[Any]:
    """Executions whose total time is over."""
    return connection.execute(DUE_EXECUTIONS, {"now": now, "limit": limit}).all()


def next_moment(connection: Connection, now: int) -> int:
    """The earliest deadline, or moment at which a delayed task becomes available; 0 if there is none."""
    moments = (
        connection.execute(NEXT_DUE).scalar(),
        connection.execute(NEXT_EXECUTION).scalar(),
        connection.execute(NEXT_AVAILABLE, {"now": now}).scalar(),
    )
    return min((moment for moment in moments if moment), default=0)


def newest(connection: Connection) -> int:
    """When the newest open task was scheduled; 0 if there is none."""
    return int(connection.execute(NEWEST).scalar() or 0)


def newly_available(connection: Connection, since: int, now: int) -> list[tuple[str, str]]:
    """The queues of delayed tasks that became available in between."""
    rows = connection.execute(NEWLY_AVAILABLE, {"since": since, "now": now})
    return [(row.queue, row.domain) for row in rows]


_ready = t.tasks.c.status == "SCHEDULED"
_leased = t.tasks.c.status == "IN_PROGRESS"

# One statement, so that two replicas never take the same task and neither waits for the other.
_taken = (
    sa.select(t.tasks.c.tree, t.tasks.c.number)
    .where(
        _ready,
        t.tasks.c.queue == sa.bindparam("the_queue"),
        t.tasks.c.domain == sa.bindparam("the_domain"),
        t.tasks.c.available_at <= sa.bindparam("at", type_=sa.BigInteger),
    )
    .order_by(t.tasks.c.priority.desc(), t.tasks.c.available_at)
    .limit(sa.bindparam("count", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .cte("taken")
)
_at = sa.bindparam("at", type_=sa.BigInteger)
_lease = sa.bindparam("lease", type_=sa.BigInteger)
_finish = sa.case((t.tasks.c.attempt_ms > 0, _at + t.tasks.c.attempt_ms), else_=0)
_until = sa.case((_lease > 0, _at + _lease), else_=0)
CLAIM = (
    sa.update(t.tasks)
    .where(t.tasks.c.tree == _taken.c.tree, t.tasks.c.number == _taken.c.number)
    .values(
        status="IN_PROGRESS",
        owner=sa.bindparam("the_owner"),
        leased_at=_at,
        lease_until=_until,
        finish_by=_finish,
        due_at=sa.case((sa.and_(_finish > 0, sa.or_(_until == 0, _finish < _until)), _finish), else_=_until),
        polls=t.tasks.c.polls + 1,
    )
    .returning(t.tasks)
)
_owner = sa.bindparam("the_owner", type_=sa.Text)
_asked = sa.bindparam("until", type_=sa.BigInteger)
_new_until = sa.case((t.tasks.c.lease_until > _asked, t.tasks.c.lease_until), else_=_asked)
_available = sa.bindparam("the_available_at", type_=sa.BigInteger)
# It waits for a worker again, and may wait as long as it might the first time.
_start_by = sa.case((t.tasks.c.start_by > 0, t.tasks.c.start_by - t.tasks.c.available_at + _available), else_=0)


@cache
def _search(dialect: str) -> Any:
    given, same = bulk.keyed(t.tasks, dialect)
    return sa.select(t.tasks).select_from(given.join(t.tasks, same))


@cache
def _extension(dialect: str) -> Any:
    mine = _leased_of(dialect, sa.or_(_owner == "", t.tasks.c.owner == _owner), t.tasks.c.lease_until > 0)
    first_end = sa.and_(t.tasks.c.finish_by > 0, t.tasks.c.finish_by < _new_until)
    return (
        sa.update(t.tasks)
        .where(t.tasks.c.tree == mine.c.tree, t.tasks.c.number == mine.c.number)
        .values(lease_until=_new_until, due_at=sa.case((first_end, t.tasks.c.finish_by), else_=_new_until))
        .returning(t.tasks.c.tree, t.tasks.c.number)
    )


@cache
def _return(dialect: str) -> Any:
    theirs = _leased_of(dialect, t.tasks.c.queue != "@human")
    return (
        sa.update(t.tasks)
        .where(t.tasks.c.tree == theirs.c.tree, t.tasks.c.number == theirs.c.number)
        .values(
            status="SCHEDULED", owner="", leased_at=0, lease_until=0, finish_by=0, start_by=_start_by,
            due_at=_start_by, available_at=_available,
        )
        .returning(t.tasks.c.queue, t.tasks.c.domain)
    )  # fmt: skip


def _leased_of(dialect: str, *conditions: Any) -> Any:
    """Those of the wanted tasks that are leased. Rows that another transaction holds are being settled: they are
    passed over, so that no two replicas wait in a circle."""
    given, same = bulk.keyed(t.tasks, dialect)
    return (
        sa.select(t.tasks.c.tree, t.tasks.c.number)
        .select_from(given.join(t.tasks, same))
        .where(_leased, *conditions)
        .with_for_update(skip_locked=True, of=t.tasks)
        .cte("theirs")
    )


HELD_BY = sa.select(t.tasks.c.tree, t.tasks.c.number).where(_leased, t.tasks.c.owner == sa.bindparam("the_owner"))
LEASES = sa.select(t.tasks).where(_leased, t.tasks.c.owner != "").order_by(t.tasks.c.leased_at).limit(5_000)
OWNERS = sa.select(t.tasks.c.owner).distinct().where(_leased, t.tasks.c.owner.like(sa.bindparam("prefix")))
_now = sa.bindparam("now", type_=sa.BigInteger)
_limit = sa.bindparam("limit", type_=sa.Integer)
DUE = sa.select(t.tasks).where(t.tasks.c.due_at > 0, t.tasks.c.due_at <= _now).order_by(t.tasks.c.due_at).limit(_limit)
DUE_EXECUTIONS = (
    sa.select(t.executions.c.tree, t.executions.c.number)
    .where(t.executions.c.due_at > 0, t.executions.c.due_at <= _now)
    .order_by(t.executions.c.due_at)
    .limit(_limit)
)
NEWEST = sa.select(sa.func.max(t.tasks.c.scheduled_at))
NEXT_DUE = sa.select(sa.func.min(t.tasks.c.due_at)).where(t.tasks.c.due_at > 0)
NEXT_EXECUTION = sa.select(sa.func.min(t.executions.c.due_at)).where(t.executions.c.due_at > 0)
NEXT_AVAILABLE = sa.select(sa.func.min(t.tasks.c.available_at)).where(_ready, t.tasks.c.available_at > _now)
NEWLY_AVAILABLE = (
    sa.select(t.tasks.c.queue, t.tasks.c.domain)
    .distinct()
    .where(_ready, t.tasks.c.available_at > sa.bindparam("since", type_=sa.BigInteger), t.tasks.c.available_at <= _now)
)
