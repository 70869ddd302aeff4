"""A database of an older version is brought to this one's schema, with all that is in it."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from agentspan.core import events as e
from agentspan.core.run import Run, Usage, dump
from agentspan.core.states import Kind, Purpose
from agentspan.store import codec, database, migrations, tables
from agentspan.store.database import Database
from agentspan.store.migrations.versions import r0005_lists

HOUR_MS = 3_600_000


@contextlib.contextmanager
def of_version(url: str, revision: str) -> Iterator[sa.Connection]:
    """A database with the schema of a revision."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        yield connection


def test_a_database_of_the_first_version_keeps_what_it_has(database_url: str) -> None:
    with of_version(database_url, "0001") as connection:
        connection.execute(sa.text("insert into starts (agent, key, tree) values ('a', 'k', 't')"))
        assert not sa.inspect(connection).has_table("schedules")

    old = Database(database_url)
    try:
        database.upgrade(old)
        with old.reading.connect() as connection:
            assert database.revision(connection) == migrations.HEAD
            assert connection.execute(sa.text("select tree from starts")).scalars().all() == ["t"]
            assert set(tables.metadata.tables) <= set(sa.inspect(connection).get_table_names())
    finally:
        old.close()


SPEC = {
    "name": "crew",
    "agents": [{"name": "one", "model": "openai/a"}, {"name": "two", "model": "openai/b"}],
    "tools": [{"name": "ask", "config": {"agentConfig": {"name": "three", "model": "openai/c"}}}],
}
USAGE = Usage(prompt_tokens=10, completion_tokens=2, cached_tokens=1, cost=0.5, calls=3)


def fill(connection: sa.Connection) -> None:
    """A run of a team, and a fork of it at its fourth event that has called one model since."""
    answer = {"content": "x" * 2_000, "usage": {"prompt_tokens": 4}, "cost": 0.25, "model": "openai/z"}
    facts: list[e.AnyFact] = [
        e.ExecutionStarted({"prompt": "Hi"}),
        e.TaskScheduled(Kind.LLM, Purpose.THINK, "openai/b", "think", turn=1),
        e.TaskCompleted(2, {**answer, "cost": 9.0}),
        e.TaskScheduled(Kind.LLM, Purpose.THINK, "openai/b", "think", turn=2),
        e.TaskCompleted(4, answer),
        e.TaskScheduled(Kind.WORKER, Purpose.ACT, "look", "call.0", turn=2),
        e.TaskCompleted(6, {"usage": {"prompt_tokens": 99}, "cost": 99.0}),
    ]
    trees = [
        {"tree": "plain", "spec": "d", "session_id": "s1", "forked_from": "", "forked_at": 0},
        {"tree": "fork", "spec": "d", "session_id": "", "forked_from": "plain", "forked_at": 4},
    ]
    connection.execute(sa.insert(sa.table("specs", sa.column("digest"), sa.column("data"))), [
        {"digest": "d", "data": json.dumps(SPEC).encode()}
    ])  # fmt: skip
    connection.execute(sa.insert(tables.trees), trees)
    rows = [
        {
            "tree": tree["tree"], "number": number, "agent": agent, "session_id": tree["session_id"],
            "started_at": 5 * HOUR_MS, "run": dump(Run(usage=USAGE)), "prompt_tokens": tokens, "cost": tokens / 20,
        }
        for tree in trees
        for number, agent, tokens in ((0, "crew", 0), (4, "one", 10), (9, "two", 10), (12, "three", 0))
    ]  # fmt: skip
    old = sa.table("executions", *(sa.column(name) for name in rows[0]))
    connection.execute(sa.insert(old), rows)
    for seq, fact in enumerate(facts, 1):
        data, digest, payload = codec.encode(fact, 1_000)
        row = {"tree": "fork", "seq": seq, "execution": 9, "at": 7 * HOUR_MS, "data": data, "blob": digest}
        connection.execute(sa.insert(tables.events), [row])
        if digest:
            blobs = sa.select(tables.blobs).where(tables.blobs.c.digest == digest)
            if not connection.execute(blobs).first():
                connection.execute(sa.insert(tables.blobs), [{"tree": "fork", "digest": digest, "data": payload}])


def test_what_runs_of_before_have_spent_is_booked_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(r0005_lists, "AT_ONCE", 3)
    with of_version(database_url, "0004") as connection:
        fill(connection)
    old = Database(database_url)
    try:
        database.upgrade(old)
        with old.reading.connect() as connection:
            models = connection.execute(sa.select(tables.executions.c.agent, tables.executions.c.model).distinct())
            assert {row.agent: row.model for row in models} == {
                "crew": "openai/a", "one": "openai/a", "two": "openai/b", "three": "openai/c"
            }  # fmt: skip
            x = tables.spending.c
            columns = (x.tree, x.execution, x.model, x.hour, x.agent, x.root_agent, x.calls, x.prompt_tokens, x.cost)
            assert set(connection.execute(sa.select(*columns))) == {
                ("plain", 4, "openai/a", 5, "one", "crew", 3, 10, 0.5),
                ("plain", 9, "openai/b", 5, "two", "crew", 3, 10, 0.5),
                ("fork", 9, "openai/z", 7, "two", "crew", 1, 4, 0.25),
            }
    finally:
        old.close()


UPGRADE = """
import sys
from agentspan.config import Settings
from agentspan.engine.engine import Engine
Engine.upgrade(Settings.load(options={"--database": sys.argv[1]}))
"""


def test_several_may_upgrade_a_database_at_once(postgres_url: str) -> None:
    with of_version(postgres_url, "0004") as connection:
        fill(connection)
    children = [subprocess.Popen([sys.executable, "-c", UPGRADE, postgres_url]) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    with sa.create_engine(postgres_url, poolclass=sa.NullPool).connect() as connection:
        assert database.revision(connection) == migrations.HEAD
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.spending)).scalar_one() == 3


def test_the_schemas_of_several_tenants_are_made_at_once(tmp_path: Path) -> None:
    def made(number: int) -> str | None:
        opened = Database(f"sqlite:///{(tmp_path / str(number)).as_posix()}")
        try:
            opened.open()
            with opened.reading.connect() as connection:
                return database.revision(connection)
        finally:
            opened.close()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(made, range(4))) == {migrations.HEAD}
