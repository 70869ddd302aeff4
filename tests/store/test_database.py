"""How a database is opened: its schema, its lock, and a sentence for everything that stands in the way."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from agentspan.engine.engine import Engine
from agentspan.errors import StoreProblem
from agentspan.store import database, presence, tables
from agentspan.store.database import Database
from tests import postgres
from tests.engine.house import agent, calls, complete, ended, opened, result, script, settings, start, take


def made(url: str) -> Database:
    """A database with this version's schema, closed."""
    made = Database(url)
    made.open()
    made.close()
    return made


def stamp(url: str, revision: str) -> None:
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = :it"), {"it": revision})


def upgraded(url: str) -> str | None:
    found = Database(url)
    try:
        return database.upgrade(found)
    finally:
        found.close()


def test_the_migrations_lead_to_the_tables_that_the_code_knows(database_url: str) -> None:
    made(database_url)
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


@pytest.mark.parametrize(
    ("revision", "advice"), [("0000", "agentspan db upgrade"), ("9999", "pip install -U agentspan")]
)
def test_a_schema_of_another_version_is_refused_with_the_command_to_run(
    database_url: str, revision: str, advice: str
) -> None:
    made(database_url)
    stamp(database_url, revision)
    with pytest.raises(StoreProblem, match=advice) as refused:
        Database(database_url).open()
    assert revision in refused.value.message
    stamp(database_url, database.HEAD)
    made(database_url)


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Lets the code be that of a next version, whose migration adds a column and declares what it is told to."""

    def become(declares: str) -> None:
        scripts = Path(shutil.copytree(database.MIGRATIONS, tmp_path / "migrations"))
        head = database.HEAD
        (scripts / "versions" / "r9998_next.py").write_text(
            f'"""Trees have colours."""\n\nfrom alembic import op\nfrom sqlalchemy import Column, Text, text\n\n'
            f'revision = "9998"\ndown_revision = "{head}"\n{declares.format(head=head)}\n\n'
            "def upgrade() -> None:\n"
            '    op.add_column("trees", Column("colour", Text, nullable=False, server_default=text("\'\'")))\n'
        )
        monkeypatch.setattr(database, "MIGRATIONS", scripts)
        monkeypatch.setattr(database, "HEAD", "9998")
        monkeypatch.setattr(presence, "HEAD", "9998")

    return become


async def test_a_migration_that_expands_the_schema_leaves_the_servers_at_work(
    postgres_url: str, tmp_path: Path, next_version: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(postgres_url, tmp_path) as old:
        waits = await start(old, agent(script(calls("a"), "done"), "a"))
        next_version('compatible_from = "{head}"')
        Engine.upgrade(settings(postgres_url, tmp_path))
        async with opened(postgres_url, tmp_path) as new:
            assert upgraded(postgres_url) is None
            await complete(new, await take(new, "a"))
            assert await result(old, waits) == "done"
        monkeypatch.undo()
        async with opened(postgres_url, tmp_path) as again:
            assert await result(again, await start(old, agent(script("still here")))) == "still here"


async def test_a_migration_that_does_not_is_refused_while_servers_work(
    postgres_url: str, tmp_path: Path, next_version: Callable[[str], None]
) -> None:
    async with opened(postgres_url, tmp_path) as old:
        next_version("")
        with pytest.raises(StoreProblem, match=r"1 server works on this database, .* stop every server"):
            Engine.upgrade(settings(postgres_url, tmp_path))
        assert await result(old, await start(old, agent(script("hi")))) == "hi"
    Engine.upgrade(settings(postgres_url, tmp_path))
    made(postgres_url)


def test_a_newer_schema_is_not_downgraded(database_url: str) -> None:
    made(database_url)
    stamp(database_url, "9999")
    with pytest.raises(StoreProblem, match="newer"):
        upgraded(database_url)


def test_an_upgrade_of_what_is_up_to_date_does_nothing(database_url: str) -> None:
    made(database_url)
    assert upgraded(database_url) is None


async def test_a_sqlite_file_is_copied_before_it_is_upgraded(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(sqlite_url, tmp_path) as engine:
        execution = await start(engine, agent(script("kept")))
        await ended(engine, execution)
    stamp(sqlite_url, "0000")
    targets: list[str] = []

    def upgrade(config: object, target: str) -> None:
        targets.append(target)

    monkeypatch.setattr("alembic.command.upgrade", upgrade)
    copy = upgraded(sqlite_url)
    assert targets == ["head"]
    assert copy == str(tmp_path / "agentspan.db.0000.bak")
    with sqlite3.connect(copy) as kept:
        assert kept.execute("select tree, status from executions").fetchall() == [(execution, "COMPLETED")]
        assert kept.execute("pragma integrity_check").fetchone() == ("ok",)
    kept.close()


def test_a_second_server_on_a_sqlite_file_is_told_who_holds_it(sqlite_url: str) -> None:
    first = Database(sqlite_url)
    first.open()
    with pytest.raises(StoreProblem, match=f"in use by another agentspan server .process {os.getpid()}."):
        Database(sqlite_url).open()
    first.close()
    made(sqlite_url)


def test_a_server_that_was_killed_leaves_no_lock(sqlite_url: str) -> None:
    program = f"""
import os, signal
from agentspan.store.database import Database
database = Database({sqlite_url!r})
database.open()
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -9
    made(sqlite_url)


def test_a_failed_opening_frees_the_file(sqlite_url: str) -> None:
    made(sqlite_url)
    stamp(sqlite_url, "0000")
    refused = [Database(sqlite_url) for _ in range(2)]
    for each in refused:
        with pytest.raises(StoreProblem, match="agentspan db upgrade"):
            each.open()


async def test_two_servers_open_an_empty_postgresql_database_at_once(postgres_url: str, tmp_path: Path) -> None:
    engines = await asyncio.gather(*(Engine.open(settings(postgres_url, tmp_path)) for _ in range(3)))
    assert await engines[0].reads.counts() == {}
    for each in engines:
        await each.close()


def test_a_wrong_password_is_a_sentence_without_the_password(own_postgres: postgres.Postgres) -> None:
    postgres.run(own_postgres.url, "create role visitor login password 'right'")
    rules = own_postgres.folder / "data" / "pg_hba.conf"
    rules.write_text(f"local all visitor scram-sha-256\nhost all visitor all scram-sha-256\n{rules.read_text()}")
    postgres.run(own_postgres.url, "select pg_reload_conf()")
    url = sa.make_url(own_postgres.url).set(username="visitor", password="hunter2")
    with pytest.raises(StoreProblem, match="the password is wrong; set SPRING_DATASOURCE_PASSWORD") as refused:
        Database(url.render_as_string(hide_password=False)).open()
    assert "hunter2" not in str(refused.value)
    assert "visitor" in str(refused.value)


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(StoreProblem, match="no PostgreSQL answers there; is it running"):
        Database("postgresql+psycopg://me:hunter2@127.0.0.1:9/nothing").open()


def test_a_database_that_is_neither_is_a_sentence() -> None:
    with pytest.raises(StoreProblem, match="SQLite or PostgreSQL, got 'mysql'"):
        Database("mysql://localhost/x")


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear reader, " * 1000)
    with pytest.raises(StoreProblem, match=r"cannot open sqlite:.*letter.db: file is not a database"):
        Database(f"sqlite:///{tmp_path / 'letter.db'}").open()
