"""The PostgreSQL of the tests is a real one: it survives a crash, and leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from tests import postgres


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True)


def test_each_database_is_new_and_empty(postgres_server_url):
    with postgres.fresh_database(postgres_server_url) as one, postgres.fresh_database(postgres_server_url) as other:
        assert one != other
        with connect(one) as connection:
            connection.execute("create table t (x int)")
        with connect(other) as connection, pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("select * from t")


def test_the_database_url_is_the_form_that_sqlalchemy_takes(database_url):
    from sqlalchemy import create_engine, text

    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1
    engine.dispose()


@pytest.mark.parametrize("crash", [False, True])
def test_a_private_server_keeps_what_was_committed_when_it_stops_and_starts(own_postgres, crash):
    with connect(own_postgres.url) as connection:
        connection.execute("create table t as select 7 as x")
    own_postgres.stop(crash=crash)
    with pytest.raises(psycopg.OperationalError):
        connect(own_postgres.url)
    own_postgres.start()
    with connect(own_postgres.url) as connection:
        assert connection.execute("select x from t").fetchall() == [(7,)]


def test_the_server_of_a_killed_pytest_is_reaped(own_postgres):
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = psutil.Process(owner.pid).create_time()
    (own_postgres.folder / postgres.OWNER_FILE).write_text(json.dumps([owner.pid, born]))
    server = psutil.Process(int(Path(own_postgres.folder, "data", "postmaster.pid").read_text().split()[0]))

    postgres.reap()
    assert server.is_running()

    owner.kill()
    owner.communicate()
    postgres.reap()
    assert not server.is_running()
    assert not own_postgres.folder.exists()
