"""`agentspan db upgrade` brings a database to this version's schema."""

import sqlite3

from tests.cli.running import agentspan


def test_an_empty_database_gets_the_schema_and_a_current_one_stays(folder):
    for _ in range(2):
        done = agentspan("db", "upgrade", folder=folder)
        assert (done.returncode, done.stdout) == (0, "the schema is that of this version\n"), done.stderr
    with sqlite3.connect(folder / "agentspan.db") as database:
        tables = {row[0] for row in database.execute("select name from sqlite_master")}
    database.close()
    assert {"executions", "events", "tasks"} <= tables


def test_a_database_in_use_is_one_sentence(folder):
    agentspan("server", "start", folder=folder)
    done = agentspan("db", "upgrade", folder=folder)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "in use" in done.stderr
