"""`agentspan db` upgrades, checks, backs up, restores, copies and measures databases."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from agentspan.cli.db import app
from agentspan.config import Settings
from agentspan.engine.engine import Engine
from tests.cli.running import agentspan
from tests.engine import house


def db(*words, code=0, **environ):
    """Run `agentspan db` in this process."""
    done = CliRunner().invoke(app, [*map(str, words)], env=environ)
    assert done.exit_code == code, (done.output, done.exception)
    return done


def url_of(path: Path) -> str:
    return f"sqlite:///{path.as_posix()}"


@pytest.fixture
def made(folder):
    """The URL of a database with nothing in it but its schema."""
    db("upgrade", "--data-dir", folder)
    return url_of(folder / "agentspan.db")


def test_an_empty_database_gets_the_schema_and_a_current_one_stays(folder):
    for _ in range(2):
        done = agentspan("db", "upgrade", folder=folder)
        assert (done.returncode, done.stdout) == (0, "the schema is that of this version\n"), done.stderr
    with sqlite3.connect(folder / "agentspan.db") as database:
        tables = {row[0] for row in database.execute("select name from sqlite_master")}
    database.close()
    assert {"executions", "events", "tasks"} <= tables


def test_a_database_in_use_is_one_sentence_and_is_backed_up_all_the_same(folder):
    agentspan("server", "start", folder=folder)
    done = agentspan("db", "upgrade", folder=folder)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "in use" in done.stderr
    given = ("--data-dir", folder)
    done = db("backup", folder / "monday.db", *given)
    assert "monday.db: 0 runs, 0 events, " in done.stdout
    assert (folder / "monday.db").is_file()
    db("check", *given)
    done = CliRunner().invoke(app, ["restore", str(folder / "monday.db"), "--data-dir", str(folder)])
    assert "in use" in str(done.exception)


def test_a_dry_run_says_what_an_upgrade_would_do_and_does_nothing(folder):
    done = db("upgrade", "--dry-run", "--data-dir", folder)
    assert "default: 0001 " in done.output
    assert done.output.endswith("to do\n")
    assert not (folder / "agentspan.db").exists()
    db("upgrade", "--data-dir", folder)
    assert "nothing to do" in db("upgrade", "--dry-run", "--data-dir", folder).output


def test_a_backup_is_restored_and_copied_and_each_is_sound(made, folder, postgres_url):
    done = json.loads(db("backup", folder / "b.db", "--database", made, "--json").stdout)
    assert [each["tables"]["trees"]["rows"] for each in done] == [0]
    db("restore", folder / "b.db", "--database", postgres_url)
    assert "every row is the same" in db("copy", "--from", postgres_url, "--to", url_of(folder / "c.db")).stdout
    for url in (made, postgres_url, url_of(folder / "b.db"), url_of(folder / "c.db")):
        found = json.loads(db("check", "--database", url, "--json").stdout)
        assert {each["ok"] for each in found} == {True}
        sizes = json.loads(db("size", "--database", url, "-o", "json").stdout)
        assert {each["table"] for each in sizes} >= {"trees", "events"}
        assert all(each["bytes"] >= 4096 for each in sizes)


def test_old_runs_are_removed_by_the_server_or_beside_it(folder):
    settings = Settings.load(options={"--data-dir": str(folder)})

    async def runs():
        async with house.opened(settings.database_url, folder) as engine:
            for _ in range(3):
                await house.ended(engine, await house.start(engine, house.agent(house.script("Yes."))))

    asyncio.run(runs())
    given = ("--keep", "2", "--status", "completed", "--data-dir", folder)
    assert db("prune", *given, "--dry-run").output == "1 runs would be removed\n"
    assert db("prune", *given).output == "1 runs removed\n"
    agentspan("server", "start", folder=folder)
    given = {"AGENTSPAN_DATA_DIR": str(folder)}
    assert db("prune", "--keep", "1", **given).output == "1 runs removed\n"
    done = CliRunner().invoke(app, ["prune", "--keep", "0", "--database", settings.database_url])
    assert "in use" in str(done.exception)
    done = CliRunner().invoke(app, ["prune", "--agent", "x"], env=given)
    assert "say which runs" in str(done.exception)


def test_what_is_wrong_is_said_with_exit_code_1(made, folder):
    with closing(sqlite3.connect(folder / "agentspan.db", isolation_level=None)) as database:
        database.execute("insert into starts (agent, key, tree) values ('a', 'k', 'gone')")
    done = db("check", "--database", made, "--json", code=1)
    [wrong] = [each for each in json.loads(done.stdout) if not each["ok"]]
    assert (wrong["check"], wrong["wrong"]) == ("keys and sessions", 1)
    assert "key k points at gone" in done.stderr
    with closing(sqlite3.connect(folder / "agentspan.db", isolation_level=None)) as database:
        database.execute("update alembic_version set version_num = ''")
    for words in (("check",), ("upgrade",), ("backup", folder / "new.db")):
        done = CliRunner().invoke(app, [*map(str, words), "--database", made])
        assert "did not come to its end" in str(done.exception)


def test_each_tenant_has_a_backup_of_its_own(folder, database_url):
    settings = Settings.load(options={"--database": database_url, "--data-dir": str(folder)})
    Engine.upgrade(settings)
    add_tenant(settings, "acme")
    given = ("--database", database_url, "--data-dir", folder)
    assert "acme: the schema is that of this version" in db("upgrade", *given).output
    db("backup", folder / "all", "--tenant", "all", *given)
    assert sorted(each.name for each in (folder / "all").iterdir()) == ["acme.db", "default.db"]
    found = json.loads(db("check", "--tenant", "all", "--json", *given).stdout)
    assert {each["tenant"] for each in found} == {"default", "acme"}
    add_tenant(settings, "other")
    db("restore", folder / "all" / "acme.db", "--tenant", "other", *given)
    assert json.loads(db("check", "--tenant", "other", "--json", *given).stdout)


def add_tenant(settings, name):
    """Note a tenant as the server does."""
    engine = sa.create_engine(settings.database_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(
            sa.text("insert into tenants (name, quotas) values (:name, :none)"), {"name": name, "none": b"{}"}
        )
