"""The database: how it is opened, locked and brought to this version's schema.

One server process per SQLite file, held by a lock on a file beside it. On PostgreSQL each server process holds an
advisory lock under its own number, which PostgreSQL gives back the moment the process dies.
"""

import os
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url

from agentspan.errors import BadInput, StoreProblem, Unavailable
from agentspan.store.migrations import HEAD

T = TypeVar("T")

MIGRATIONS = Path(__file__).with_name("migrations")
COMPATIBLE_FROM = "compatible_from"
"""What a revision may declare: the oldest one whose servers can go on working on its schema."""
BUSY_MS = 5_000
CONNECT_SECONDS = 5
PRAGMAS = ("auto_vacuum = INCREMENTAL", "journal_mode = WAL", "temp_store = MEMORY")
"""The first one counts only for a file that is still empty."""
SILENCE_SECONDS = 10.0
PATIENCE: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}  # fmt: skip
"""After some ten seconds without a word from its machine, a PostgreSQL is taken to be away: it may live on another."""


class Database:
    """Two pools on one database: `writing` for the one writer, `reading` for everyone else."""

    def __init__(
        self, url: str, *, pool_size: int = 8, synchronous: str = "FULL", silence: float = SILENCE_SECONDS
    ) -> None:
        self.url = make_url(url)
        self.silence = silence
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if not self.is_sqlite and self.url.get_backend_name() != "postgresql":
            raise StoreProblem(f"the database is SQLite or PostgreSQL, got {self.url.get_backend_name()!r}")
        self._lock: Any = None
        self.path = Path(self.url.database or "") if self.is_sqlite else None
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self.writing = self._engine(1, "BEGIN IMMEDIATE", synchronous)
        if not self.is_sqlite:
            sa.event.listen(self.writing, "connect", self._bound)
        self.reading = self._engine(pool_size, "BEGIN", synchronous)

    def open(self) -> None:
        """Lock the database against a second server (SQLite) and refuse a schema that is not this version's."""
        self.lock()
        try:
            self._fit()
        except BaseException:
            self.close()
            raise

    def lock(self) -> None:
        """Keep every other process from the file (SQLite)."""
        if self.path:
            self._lock = lock_file(self.path.with_name(self.path.name + ".lock"), self.path)

    def _fit(self) -> None:
        """Make the schema of an empty database; StoreProblem for one that this version cannot work with."""
        try:
            with self.writing.connect() as connection:
                found = revision(connection)
                fits = found == HEAD or (found is not None and bears(connection, found))
        except sa.exc.DBAPIError as problem:
            raise StoreProblem(explain(problem, self.url)) from problem
        if found is None:
            upgrade(self)
        elif not fits:
            raise StoreProblem(mismatch(found))

    def close(self) -> None:
        self.writing.dispose()
        self.reading.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _engine(self, size: int, begin: str, synchronous: str) -> sa.Engine:
        if not self.is_sqlite:
            connect = {"application_name": "agentspan", **PATIENCE}
            return sa.create_engine(
                self.url, pool_size=size, max_overflow=0, pool_pre_ping=False, pool_reset_on_return="rollback",
                pool_timeout=CONNECT_SECONDS, connect_args=connect,
            )  # fmt: skip
        engine = sa.create_engine(
            self.url, poolclass=sa.pool.QueuePool, pool_size=size, max_overflow=0, pool_timeout=CONNECT_SECONDS,
            connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000},
        )  # fmt: skip

        def connected(raw: sqlite3.Connection, _: object) -> None:
            raw.isolation_level = None
            for pragma in (*PRAGMAS, f"synchronous = {synchronous}"):
                raw.execute(f"PRAGMA {pragma}")

        sa.event.listen(engine, "connect", connected)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    def _bound(self, raw: Any, _: object) -> None:
        """Let PostgreSQL end what this server began and does not go on with: others may wait for its locks."""
        raw.execute("select set_config('idle_in_transaction_session_timeout', %s, false)", (f"{2 * self.silence}s",))
        raw.commit()


def lock_file(path: Path, database: Path) -> Any:
    """Hold `path` until closed; StoreProblem if another process does."""
    handle = path.open("a+")
    try:
        _exclusive(handle)
    except OSError as problem:
        handle.seek(0)
        holder = handle.read().strip() or "unknown"
        handle.close()
        raise StoreProblem(
            f"{database} is in use by another agentspan server (process {holder}); "
            "stop it, point this one to another file, or use PostgreSQL for several servers"
        ) from problem
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def _exclusive(handle: Any) -> None:
    if os.name == "nt":
        import msvcrt

        getattr(msvcrt, "locking")(handle.fileno(), getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def schema_of(url: URL) -> str | None:
    """The schema that the URL's options name; None for the database's own."""
    found = re.findall(r"search_path=(\w+)", str(url.query.get("options", "")))
    return found[-1] if found else None


def has_schema(connection: Connection, name: str) -> bool:
    """Whether PostgreSQL has a schema of that name."""
    return bool(sa.inspect(connection).has_schema(name))


def revision(connection: Connection) -> str | None:
    """The schema's revision, or None for an empty database. StoreProblem for one that was not filled to its end."""
    there = sa.inspect(connection)
    # In this order: another server may just be making the schema, all at once.
    has_tables = there.has_table("trees")
    found = connection.execute(VERSION).scalar() if there.has_table("alembic_version") else None
    if has_tables and not found:
        raise StoreProblem(UNFINISHED)
    return str(found) if found else None


def bears(connection: Connection, found: str) -> bool:
    """Whether a newer schema says of itself that this version can work with it."""
    if found < HEAD or COMPATIBLE_FROM not in _columns(connection):
        return False
    said = connection.execute(sa.text(f"select {COMPATIBLE_FROM} from alembic_version")).scalar()
    version, _, oldest = str(said or "").partition(" ")
    return version == found and bool(oldest) and oldest <= HEAD


def compatible_from(version: str) -> str:
    """The oldest revision whose servers can work with the schema of this one: its own, if it does not say."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_alembic()).get_revision(version)
    return str(getattr(script.module, COMPATIBLE_FROM, version)) if script else version


def mismatch(found: str) -> str:
    if found < HEAD:
        return f"the schema is at revision {found} and this version needs {HEAD}; run `agentspan db upgrade` first"
    return f"the schema is at revision {found}, newer than this version's {HEAD}; run `pip install -U agentspan`"


def upgrade(database: Database) -> str | None:
    """Bring the schema to this version's revision. An SQLite file that holds data is copied first; gives the copy."""
    with database.writing.connect() as connection:
        found = revision(connection)
        connection.rollback()
        if found == HEAD:
            return None
        if found is not None and found > HEAD:
            raise StoreProblem(mismatch(found))
        copy = _copied(database.path, found) if database.path and found else None
        with connection.begin():
            make_schema(connection, database.url)
    return str(copy) if copy else None


def make_schema(connection: Connection, url: URL) -> None:
    """Bring the schema to this version's in the transaction at hand; who comes at the same moment waits for its end."""
    from alembic import command

    if url.get_backend_name() == "postgresql":
        connection.execute(sa.text("select pg_advisory_xact_lock(6767)"))
        if schema := schema_of(url):
            connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
    config = _alembic()
    config.attributes["connection"] = connection
    with MIGRATING:
        command.upgrade(config, "head")
    # Beside the revision, where servers of older versions find it that do not know the newer one.
    if COMPATIBLE_FROM not in _columns(connection):
        connection.execute(sa.text(f"alter table alembic_version add column {COMPATIBLE_FROM} varchar(80)"))
    said = {"said": f"{HEAD} {compatible_from(HEAD)}"}
    connection.execute(sa.text(f"update alembic_version set {COMPATIBLE_FROM} = :said"), said)


def _columns(connection: Connection) -> set[str]:
    return {column["name"] for column in sa.inspect(connection).get_columns("alembic_version")}


def pending(found: str | None) -> list[tuple[str, str]]:
    """The revisions that come after one, oldest first, each with its first line."""
    from alembic.script import ScriptDirectory

    steps = ScriptDirectory.from_config(_alembic()).iterate_revisions("head", found or "base")
    return [(each.revision, each.doc.splitlines()[0]) for each in steps][::-1]


def _alembic() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _copied(path: Path, found: str) -> Path:
    """A copy of the file, made by SQLite itself so that the write-ahead log is in it."""
    copy = path.with_name(f"{path.name}.{found}.bak")
    copy.unlink(missing_ok=True)
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    with source, target:
        source.backup(target)
    source.close()
    target.close()
    return copy


def give_back(connection: Connection, pages: int) -> int:
    """Cut up to so many free pages from the end of an SQLite file; gives how many were."""
    if connection.dialect.name != "sqlite":
        return 0
    before = connection.exec_driver_sql("pragma freelist_count").scalar_one()
    raw: Any = connection.connection.driver_connection
    raw.execute(f"pragma incremental_vacuum({pages})").fetchall()  # a step for each page
    return int(before) - int(connection.exec_driver_sql("pragma freelist_count").scalar_one())


def explain(problem: BaseException, url: URL) -> str:
    """One sentence for an error at opening, with no password in it."""
    text = str(getattr(problem, "orig", None) or problem).strip().splitlines()[0]
    where = url.render_as_string(hide_password=True)
    for sign, advice in ADVICE.items():
        if sign in text:
            return f"cannot open {where}: {advice}"
    return f"cannot open {where}: {text}"


MIGRATING = threading.Lock()
"""Alembic keeps what it is at in its modules; a server may be making the schemas of several tenants."""
VERSION = sa.text("select version_num from alembic_version")
UNFINISHED = (
    "a restore or a copy into this database did not come to its end: remove the file, or drop the database or the"
    " schema, and begin again"
)
ADVICE = {
    "password authentication failed": "the password is wrong; set SPRING_DATASOURCE_PASSWORD or AGENTSPAN_DATABASE_URL",
    "database is locked": "another process holds the file; stop it or use another file",
    "unable to open database file": "the folder does not exist or is not writable",
    "Connection refused": "no PostgreSQL answers there; is it running?",
}


def unavailable(work: Callable[[], T]) -> T:
    """Run `work`; a database that is away or full becomes Unavailable, what it cannot hold BadInput."""
    try:
        return work()
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError, sa.exc.InternalError) as problem:
        raise Unavailable(f"the database does not answer: {str(problem).splitlines()[0]}") from problem
    except OverflowError as problem:
        raise BadInput("a number is too large to be kept") from problem
    except sa.exc.DataError as problem:
        raise BadInput(f"this cannot be kept: {str(problem.orig).splitlines()[0]}") from problem
