"""What is removed while somebody else is about to use it."""

from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from agentspan.store import retention, sessions
from agentspan.store import tables as t
from agentspan.store.database import Database
from agentspan.store.retention import Old
from tests.acceptance.processes import eventually

LAST = Old("last", "helper", "COMPLETED", 1, 2, "s")
WAITING = sa.text(
    "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
)


def test_a_run_whose_session_is_forgotten_at_that_moment_begins_it_anew(postgres_url: str) -> None:
    opened = Database(postgres_url)
    opened.open()
    other = sa.create_engine(postgres_url, poolclass=sa.NullPool)

    def begin() -> str | None:
        with other.begin() as connection:
            return sessions.claim_session(connection, "helper", "s", "next", 3)

    def is_waiting() -> bool:
        with opened.reading.connect() as connection:
            return bool(connection.execute(WAITING).scalar())

    with ThreadPoolExecutor(1) as pool:
        with opened.writing.connect() as connection, connection.begin():
            connection.execute(sa.insert(t.sessions), {"agent": "helper", "session_id": "s", "tree": "last"})
        with opened.writing.connect() as connection, connection.begin():
            assert retention.is_free(connection, LAST)
            retention.remove(connection, [LAST], 3)
            asked = pool.submit(begin)
            eventually(is_waiting, "the one who waits for the session")
        assert asked.result(10) is None
    with opened.reading.connect() as connection:
        assert connection.execute(sa.select(t.sessions.c.tree)).scalars().all() == ["next"]
    opened.close()


def test_the_last_run_of_a_session_that_goes_on_at_that_moment_stays(postgres_url: str) -> None:
    opened = Database(postgres_url)
    opened.open()
    other = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with opened.writing.connect() as connection, connection.begin():
        connection.execute(sa.insert(t.sessions), {"agent": "helper", "session_id": "s", "tree": "last"})
    with other.begin() as going_on:
        assert sessions.claim_session(going_on, "helper", "s", "next", 3) == "last"
        with opened.writing.connect() as connection, connection.begin():
            assert not retention.is_free(connection, LAST)
    opened.close()
