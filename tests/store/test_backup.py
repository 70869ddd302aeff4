"""A backup, a restore and a copy give back every row, on both databases and between them, or say why not."""

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from agentspan.errors import BadInput, StoreProblem
from agentspan.store import backup, copying, database, migrations
from agentspan.store import tables as t
from agentspan.store.database import Database
from tests.engine import house
from tests.store.test_upgrade import of_version

TEXTS = [
    "",
    "plain",
    "ünïcödé \U0001f600 ﷽",
    "line\nline\ttab\r",
    "'; drop table trees; --",
    "\\x00 \\u0000",
    "x" * 9_000,
]
BYTES = [b"", b"\x00\xff\x00", bytes(range(256)) * 40, b'{"a": "\\u0000"}']
NUMBERS = [0, 1, 2**53 + 1, 2**63 - 1, -(2**63)]
DOUBLES = [0.0, 0.1 + 0.2, 1e-300, 12345678.125, -3.0]


def values(column: sa.Column[Any], place: int) -> Any:
    """A value of the column's type, another one for each place."""
    if isinstance(column.type, sa.LargeBinary):
        return BYTES[place % len(BYTES)]
    if isinstance(column.type, sa.Double):
        return DOUBLES[place % len(DOUBLES)]
    if isinstance(column.type, sa.BigInteger):
        return place if column.primary_key else NUMBERS[place % len(NUMBERS)]
    if isinstance(column.type, sa.Integer):
        return place
    if column.nullable:
        return None if place % 2 else "0" * 64
    if column.primary_key:
        return f"{place}-ü"
    return TEXTS[place % len(TEXTS)][: getattr(column.type, "length", None)]


def fill(url: str, rows: int = 11) -> None:
    """A row of every kind in every table."""
    opened = Database(url, synchronous="OFF")
    opened.open()
    try:
        with opened.writing.connect() as connection, connection.begin():
            for table in copying.TABLES:
                given = [{column.name: values(column, place) for column in table.columns} for place in range(rows)]
                connection.execute(sa.insert(table), given)
    finally:
        opened.close()


def everything(url: str) -> dict[str, list[Any]]:
    """All rows of all tables, read by other means than those under test."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
            for table in copying.TABLES
        }


@pytest.fixture(params=["sqlite", "postgres"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A second empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{(tmp_path / 'other' / 'agentspan.db').as_posix()}"
    return str(request.getfixturevalue("second_postgres_url"))


def test_a_copy_has_every_row_of_every_type_both_ways(database_url: str, other_url: str) -> None:
    fill(database_url)
    told = []
    backup.copy(database_url, other_url, lambda *step: told.append(step))
    assert everything(other_url) == everything(database_url)
    assert ("copying events", 11, 11) in told
    assert ("verifying events", 11, 11) in told
    opened = Database(other_url)
    opened.open()
    opened.close()


def test_a_backup_restores_to_what_it_was_taken_of(database_url: str, other_url: str, tmp_path: Path) -> None:
    fill(database_url)
    file = tmp_path / "backups" / "monday.db"
    taken = backup.backup(database_url, file)
    assert taken.tables["blobs"].rows == 11
    assert taken.keys
    assert (file.stat().st_mode & 0o777, [each.name for each in file.parent.iterdir()]) == (0o600, ["monday.db"])
    assert backup.restore(file, other_url) == taken
    assert everything(other_url) == everything(database_url)
    assert [each.name for each in file.parent.iterdir()] == ["monday.db"]


def test_a_backup_of_a_file_that_is_in_use_is_of_one_moment(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url)
    opened = Database(sqlite_url)
    opened.open()
    rows: list[int] = []

    def told(step: str, done: int, of: int) -> None:
        with opened.writing.connect() as connection, connection.begin():
            rows.append(done)
            connection.execute(sa.insert(t.hooks), {"name": f"later {len(rows)}", "data": b""})

    taken = backup.backup(sqlite_url, tmp_path / "backup.db", told)
    opened.close()
    assert taken.tables["hooks"].rows == 11
    assert len(rows) > 11


def test_what_was_changed_in_a_backup_is_found_and_no_server_takes_the_database(
    sqlite_url: str, postgres_url: str, tmp_path: Path
) -> None:
    fill(sqlite_url)
    file = tmp_path / "backup.db"
    backup.backup(sqlite_url, file)
    with sqlite3.connect(file) as raw:
        raw.execute("update events set data = x'00' where seq = 3")
    raw.close()
    with pytest.raises(StoreProblem, match="what is in the file is not what was written into it: events"):
        backup.restore(file, postgres_url)
    refused(postgres_url)


def refused(url: str) -> None:
    """No server, no upgrade, no backup, no copy and no second restore takes the database."""
    opened = Database(url)
    try:
        with pytest.raises(StoreProblem, match="did not come to its end"):
            opened.open()
        with pytest.raises(StoreProblem, match="did not come to its end"):
            database.upgrade(opened)
    finally:
        opened.close()
    with pytest.raises(StoreProblem, match="did not come to its end"):
        backup.copy(url, url)


def test_only_an_empty_database_is_filled(sqlite_url: str, other_url: str, tmp_path: Path) -> None:
    fill(sqlite_url, 3)
    opened = Database(other_url)
    opened.open()
    opened.close()
    backup.copy(sqlite_url, other_url)
    with pytest.raises(StoreProblem, match=r"is not empty: there is something in .*trees.*; name an empty database"):
        backup.copy(sqlite_url, other_url)


def test_a_file_that_a_server_holds_is_not_filled(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url, 2)
    other = f"sqlite:///{(tmp_path / 'other.db').as_posix()}"
    held = Database(other)
    held.open()
    with pytest.raises(StoreProblem, match="in use by another agentspan server"):
        backup.copy(sqlite_url, other)
    held.close()


async def test_a_database_that_a_server_works_on_is_not_filled(
    sqlite_url: str, postgres_url: str, tmp_path: Path
) -> None:
    fill(sqlite_url, 2)
    async with house.opened(postgres_url, tmp_path / "data"):
        with pytest.raises(StoreProblem, match="a server works on"):
            backup.copy(sqlite_url, postgres_url)


def test_what_the_other_database_cannot_hold_is_said(sqlite_url: str, postgres_url: str, tmp_path: Path) -> None:
    fill(sqlite_url, 2)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as raw:
        raw.execute("update hooks set agent = 'a' || char(0)")
    raw.close()
    with pytest.raises(StoreProblem, match="NUL"):
        backup.copy(sqlite_url, postgres_url)
    refused(postgres_url)
    with pytest.raises(BadInput, match="cannot be written"):
        backup.backup(sqlite_url, tmp_path / "agentspan.db" / "x.db")


def test_a_backup_of_an_older_version_is_brought_to_this_one(postgres_url: str, tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    with of_version(f"sqlite:///{file.as_posix()}", "0005") as connection:
        connection.execute(sa.text("insert into starts (agent, key, tree) values ('a', 'k', 't')"))
        connection.execute(sa.text("create table backup_manifest (data text not null)"))
        old = backup.Manifest("agentspan.backup", "0.1", "0005", 1, {}, [])
        data = {"data": msgspec.json.encode(old).decode()}
        connection.execute(sa.text("insert into backup_manifest values (:data)"), data)
    before = file.read_bytes()
    backup.restore(file, postgres_url)
    assert file.read_bytes() == before
    assert everything(postgres_url)["starts"] == [("a", "k", "t")]


def test_what_is_no_backup_and_what_is_no_database_is_said(sqlite_url: str, tmp_path: Path) -> None:
    other, text = f"sqlite:///{(tmp_path / 'other.db').as_posix()}", tmp_path / "text"
    text.write_text("hello" * 1000)
    fill(sqlite_url, 1)
    whole = tmp_path / "whole.db"
    backup.backup(sqlite_url, whole)
    half = tmp_path / "half.db"
    half.write_bytes(whole.read_bytes()[:100_000])
    for file, said in [
        (tmp_path / "not there", "there is no file"),
        (text, "no whole backup"),
        (half, "no whole backup"),
        (Path(sqlite_url.removeprefix("sqlite:///")), "no whole backup"),
    ]:
        with pytest.raises(BadInput, match=said):
            backup.restore(file, other)
    with pytest.raises(StoreProblem, match="there is no database"):
        backup.backup(other, tmp_path / "new.db")
    with pytest.raises(BadInput, match="is there already"):
        backup.backup(sqlite_url, whole)
    assert not (tmp_path / "other.db").exists()


def test_the_schema_of_another_version_is_not_backed_up(database_url: str, tmp_path: Path) -> None:
    with of_version(database_url, "0004"):
        pass
    with pytest.raises(StoreProblem, match="run `agentspan db upgrade` first"):
        backup.backup(database_url, tmp_path / "new.db")
    assert not list(tmp_path.glob("new*"))
    assert [revision for revision, _ in database.pending("0005")][-1] == migrations.HEAD
    assert len(database.pending(None)) == int(migrations.HEAD)
