"""A backup: the whole database as it was at one moment, in one SQLite file that tells what must be in it.

The file is a database of its own, and can be looked at like any other. It holds secrets only as they are sealed; the
master key is not in it.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import sqlalchemy as sa
from msgspec import Struct

import agentspan
from agentspan.clock import now_ms
from agentspan.errors import BadInput, StoreProblem
from agentspan.store import copying
from agentspan.store import tables as t
from agentspan.store.copying import Tally, Told, quiet
from agentspan.store.database import Database, upgrade
from agentspan.store.migrations import HEAD

FORMAT = "agentspan.backup"


class Manifest(Struct, frozen=True):
    """What a backup is. `keys` are the ids of the master keys under which its secrets are sealed."""

    format: str
    agentspan: str
    revision: str
    taken_at: int
    tables: dict[str, Tally]
    keys: list[str]


def backup(url: str, path: Path, told: Told = quiet) -> Manifest:
    """Write the database into a new file; it bears its name only when it is whole. Servers may go on meanwhile."""
    if path.exists():
        raise BadInput(f"{path} is there already; name a new file")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with copying.snapshot(url) as source:
            copying.fit(source)
            os.close(os.open(part, os.O_CREAT | os.O_EXCL, 0o600))
            manifest = _write(source, part, told)
        _sync(part)
        part.replace(path)
        _sync(path.parent)
    except OSError as problem:
        raise BadInput(f"{path} cannot be written: {problem.strerror or problem}") from problem
    finally:
        for left in path.parent.glob(f"{part.name}*"):
            left.unlink()
    return manifest


def restore(path: Path, url: str, told: Told = quiet) -> Manifest:
    """Fill an empty database with a backup, of this version or an older one. Until it is whole, no server takes it."""
    found = manifest(path)
    with _of_this_version(path, found) as file, copying.snapshot(file) as source:
        load(source, url, told, found.tables if found.revision == HEAD else None)
    return found


def copy(source: str, url: str, told: Told = quiet) -> dict[str, Tally]:
    """Fill an empty database with another."""
    with copying.snapshot(source) as connection:
        copying.fit(connection)
        return load(connection, url, told)


def load(
    source: sa.Connection, url: str, told: Told = quiet, expected: dict[str, Tally] | None = None
) -> dict[str, Tally]:
    """Fill the database of a URL, which no server has open."""
    target = Database(url, synchronous="OFF")
    try:
        target.lock()
        found = copying.fill(target, source, told, expected)
        if target.path:
            _checkpoint(target)
            _sync(target.path)
        return found
    finally:
        target.close()


def manifest(path: Path) -> Manifest:
    """What a file says it is. BadInput if it is no backup."""
    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    try:
        with copying.snapshot(f"sqlite:///{path.absolute().as_posix()}") as connection:
            data = connection.execute(sa.select(MANIFEST.c.data)).scalar_one()
        found = msgspec.json.decode(data, type=Manifest)
    except (StoreProblem, sa.exc.SQLAlchemyError, msgspec.DecodeError) as problem:
        raise BadInput(f"{path} is no whole backup of agentspan") from problem
    if found.format != FORMAT:
        raise BadInput(f"{path} is no backup of agentspan")
    if found.revision > HEAD:
        raise BadInput(f"{path} was made by agentspan {found.agentspan}; this is {agentspan.__version__}: upgrade it")
    return found


def _write(source: sa.Connection, part: Path, told: Told) -> Manifest:
    target = Database(f"sqlite:///{part.absolute().as_posix()}", synchronous="OFF")
    try:
        at = now_ms()
        tables = copying.fill(target, source, told)
        keys = source.execute(sa.select(t.secrets.c.key_id).distinct().order_by(t.secrets.c.key_id)).scalars().all()
        written = Manifest(FORMAT, agentspan.__version__, HEAD, at, tables, list(keys))
        with target.writing.connect() as connection, connection.begin():
            MANIFEST.create(connection)
            connection.execute(sa.insert(MANIFEST), {"data": msgspec.json.encode(written).decode()})
        _checkpoint(target)
        target.reading.dispose()
        with target.writing.connect() as connection:
            # So that it is one file, and can be read where nobody may write.
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("pragma journal_mode = delete")
        return written
    finally:
        target.close()


@contextlib.contextmanager
def _of_this_version(path: Path, found: Manifest) -> Iterator[str]:
    """The URL of the backup; of an older one, of a copy that was brought to this version's schema."""
    if found.revision == HEAD:
        yield f"sqlite:///{path.absolute().as_posix()}"
        return
    with tempfile.TemporaryDirectory(prefix="agentspan-restore-") as folder:
        file = Path(shutil.copy(path, folder))
        old = Database(f"sqlite:///{file.as_posix()}", synchronous="OFF")
        try:
            upgrade(old)
        finally:
            old.close()
        yield f"sqlite:///{file.as_posix()}"


def _checkpoint(database: Database) -> None:
    with database.writing.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("pragma wal_checkpoint(truncate)")


def _sync(path: Path) -> None:
    """On the disk, whatever happens to the machine; a folder cannot be opened everywhere."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


MANIFEST = sa.Table("backup_manifest", sa.MetaData(), sa.Column("data", sa.Text, nullable=False))
