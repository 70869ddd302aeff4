"""How the database is, in numbers that cost the same however many runs it keeps."""

import time

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.store import tables as t
from agentspan.store.database import Database
from agentspan.store.listing import HUMAN
from agentspan.store.secrets import key_ids

MOST_COUNTED = 100_000
"""Open executions beyond this are not counted: so many are read in some milliseconds from the index."""


class Vitals(Struct, frozen=True):
    """`open` executions by status, `requests` that wait for people and since when the oldest does, the database's size,
    how many secrets are sealed by which key."""

    open: dict[str, int]
    requests: int
    oldest_request: int
    database_bytes: int
    secrets: dict[str, int]


class Pool(Struct, frozen=True):
    """Connections for reading: in use, and how many there may be."""

    used: int
    size: int


def vitals(connection: Connection, database: Database) -> Vitals:
    """The numbers of one database."""
    waiting, oldest = connection.execute(REQUESTS).one()
    return Vitals(_open(connection), waiting, oldest or 0, _size(connection, database), key_ids(connection))


def pool(database: Database) -> Pool:
    """How much of the pool is in use now."""
    found = database.reading.pool
    assert isinstance(found, sa.pool.QueuePool)
    return Pool(found.checkedout(), found.size())


def clock_ahead_ms(database: Database) -> int:
    """How far PostgreSQL's clock is ahead of this machine's, in the middle of asking."""
    with database.reading.connect() as connection:
        connection.execute(CLOCK)
        before = time.time()
        theirs = float(connection.execute(CLOCK).scalar_one())
        return round((theirs - (before + time.time()) / 2) * 1000)


def _open(connection: Connection) -> dict[str, int]:
    return {status: connection.execute(OPEN, {"status": status}).scalar_one() for status in OPEN_STATUSES}


def _size(connection: Connection, database: Database) -> int:
    if database.path is None:
        return int(connection.execute(SIZE).scalar_one())
    files = (database.path.with_name(database.path.name + suffix) for suffix in ("", "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


OPEN_STATUSES = ("RUNNING", "PAUSED")
_some = sa.select(sa.literal(1)).where(t.executions.c.status == sa.bindparam("status")).limit(MOST_COUNTED)
OPEN = sa.select(sa.func.count()).select_from(_some.subquery())
REQUESTS = sa.select(sa.func.count(), sa.func.min(t.tasks.c.scheduled_at)).where(HUMAN)
CLOCK = sa.text("select extract(epoch from clock_timestamp())")
SIZE = sa.text("select pg_database_size(current_database())")
