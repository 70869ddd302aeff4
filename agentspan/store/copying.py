"""All rows of a database into an empty one, on SQLite or PostgreSQL, verified on both sides.

A table's digest is the sum of the digests of its rows: whatever order two databases give them in, it is the same if
and only if the rows are. The schema's revision is written last; a database without it is refused by every server.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import URL, Connection, make_url

from agentspan.errors import StoreProblem
from agentspan.store import bulk
from agentspan.store import tables as t
from agentspan.store.database import CONNECT_SECONDS, Database, explain, make_schema, mismatch, revision
from agentspan.store.migrations import HEAD
from agentspan.store.presence import living

ROWS = 500
BYTES = 4 << 20
"""So many rows, and about so many bytes, are in memory at a time."""
LARGE = frozenset({"blobs"})
LARGE_ROWS = 8
DIGEST_BITS = 128

Told = Callable[[str, int, int], None]
"""Is told of progress: the name of a step, how much of it is done, and how much there is."""
Row = tuple[Any, ...]


class Tally(Struct, frozen=True):
    """How many rows a table has, and their digest."""

    rows: int
    digest: str


class Digest:
    """The tally of rows that are added one by one."""

    def __init__(self) -> None:
        self.rows = self._sum = 0

    def add(self, row: Row) -> None:
        self.rows += 1
        digest = hashlib.blake2b(_encode(row), digest_size=DIGEST_BITS // 8).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % (1 << DIGEST_BITS)

    @property
    def tally(self) -> Tally:
        return Tally(self.rows, f"{self._sum:0{DIGEST_BITS // 4}x}")


def quiet(step: str, done: int, of: int) -> None:
    """For who does not want to be told."""


@contextlib.contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """A connection that sees the database as it is now, whatever is written meanwhile. Servers are not held up."""
    engine = _reader(make_url(url))
    is_open = False
    try:
        with engine.connect() as connection, connection.begin():
            is_open = True
            yield connection
    except sa.exc.DBAPIError as problem:
        said = str(problem.orig).strip().splitlines()[0] if is_open else explain(problem, engine.url)
        raise StoreProblem(said) from problem
    finally:
        engine.dispose()


def fit(connection: Connection) -> None:
    """StoreProblem unless the database has this version's schema."""
    found = revision(connection)
    if found is None:
        raise StoreProblem("the database is empty: nothing was ever kept in it")
    if found != HEAD:
        raise StoreProblem(mismatch(found))


def fill(
    target: Database, source: Connection, told: Told = quiet, expected: Mapping[str, Tally] | None = None
) -> dict[str, Tally]:
    """Every row of `source` into an empty database; gives the tallies. StoreProblem if the target is not empty, or if
    what is there afterwards is not what was read, or what was read is not `expected`."""
    _begin(target)
    read = {table.name: _copy(table, source, target, told) for table in TABLES}
    if expected is not None:
        _same(read, expected, "what is in the file is not what was written into it")
    with target.reading.connect() as connection:
        _same(tallies(connection, told), read, "what was written is not what was read")
    with target.writing.connect() as connection, connection.begin():
        connection.execute(sa.update(ALEMBIC).values(version_num=HEAD))
    return read


def tallies(connection: Connection, told: Told = quiet) -> dict[str, Tally]:
    """The tally of each table."""
    found: dict[str, Tally] = {}
    for table in TABLES:
        digest, of = Digest(), count(connection, table)
        for rows in _batches(connection, table):
            for row in rows:
                digest.add(row)
            told(f"verifying {table.name}", digest.rows, of)
        found[table.name] = digest.tally
    return found


def count(connection: Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _begin(target: Database) -> None:
    """The schema without its revision and without a row, in one transaction."""
    with target.writing.connect() as connection, connection.begin():
        if not target.is_sqlite and living(connection):
            raise StoreProblem(f"a server works on {target.url.render_as_string(hide_password=True)}; stop it first")
        found = revision(connection)
        if found is not None:
            if found != HEAD:
                raise StoreProblem(mismatch(found))
            if filled := [table.name for table in TABLES if _has_rows(connection, table)]:
                raise StoreProblem(
                    f"{target.url.render_as_string(hide_password=True)} is not empty: there is something in"
                    f" {', '.join(filled)}; name an empty database"
                )
        make_schema(connection, target.url)
        for table in TABLES:
            connection.execute(sa.delete(table))
        connection.execute(sa.update(ALEMBIC).values(version_num=""))


def _has_rows(connection: Connection, table: sa.Table) -> bool:
    """Whether there is a row that does not come with the schema."""
    found = connection.execute(sa.select(table).limit(2)).all()
    return len(found) > (table is t.tenants)


def _copy(table: sa.Table, source: Connection, target: Database, told: Told) -> Tally:
    digest, of = Digest(), count(source, table)
    names = [column.name for column in table.columns]
    for rows in _batches(source, table):
        with target.writing.connect() as connection, connection.begin():
            bulk.insert(connection, table, [dict(zip(names, row, strict=True)) for row in rows])
        for row in rows:
            digest.add(row)
        told(f"copying {table.name}", digest.rows, of)
    return digest.tally


def _batches(connection: Connection, table: sa.Table) -> Iterator[list[Row]]:
    """All rows of a table, some at a time: the driver keeps no more of them than that."""
    floats = [place for place, column in enumerate(table.columns) if isinstance(column.type, sa.Double)]
    batch: list[Row] = []
    size = 0
    fetched = LARGE_ROWS if table.name in LARGE else ROWS
    for row in connection.execution_options(yield_per=fetched).execute(sa.select(table)):
        batch.append(_plain(row, floats))
        size += sum(len(value) for value in row if isinstance(value, bytes | str))
        if len(batch) == ROWS or size > BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _plain(row: Any, floats: list[int]) -> Row:
    """The row as both databases would give it."""
    if not floats:
        return tuple(row)
    return tuple(float(value) if place in floats else value for place, value in enumerate(row))


def _same(found: Mapping[str, Tally], wanted: Mapping[str, Tally], what: str) -> None:
    if wrong := sorted(name for name in wanted.keys() | found.keys() if found.get(name) != wanted.get(name)):
        raise StoreProblem(f"{what}: {', '.join(wrong)}; the database is left unfinished, and no server will use it")


def _reader(url: URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        connect = {"connect_timeout": CONNECT_SECONDS, "application_name": "agentspan"}
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=connect, isolation_level="REPEATABLE READ")
        return engine.execution_options(postgresql_readonly=True)
    path = Path(url.database or "")
    if not path.is_file():
        raise StoreProblem(f"there is no database {path}")
    engine = sa.create_engine(
        f"sqlite:///file:{quote(path.as_posix())}?mode=ro&uri=true", poolclass=sa.NullPool
    )  # fmt: skip

    def connected(raw: Any, _: object) -> None:
        raw.isolation_level = None

    sa.event.listen(engine, "connect", connected)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


_encode = msgspec.msgpack.Encoder().encode
ALEMBIC = sa.table("alembic_version", sa.column("version_num"))
TABLES = tuple(t.metadata.sorted_tables)
