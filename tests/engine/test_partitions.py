"""The schema is ready for partitions: each large table is cut into parts by the first column of its key, and what the
engine does on such a database is what it does on any."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from agentspan.engine.engine import Engine
from agentspan.store import tables as t
from agentspan.store.database import Database, upgrade
from tests.engine.house import agent, calls, complete, script, start, take
from tests.engine.test_engine import (  # noqa: F401
    test_another_replica_takes_over_the_model_calls_of_a_killed_one,
    test_the_same_keys_on_two_replicas_in_any_order_begin_one_execution_each,
)
from tests.engine.test_history import test_forks_are_listed_where_they_came_from  # noqa: F401
from tests.engine.test_life import test_the_same_delivery_twice_is_one_run  # noqa: F401
from tests.engine.test_people import test_the_inbox_lists_requests_across_runs_in_pages  # noqa: F401
from tests.engine.test_runs import (  # noqa: F401
    test_a_parallel_branch_that_fails_stands_beside_the_results_of_the_others,
    test_a_tool_changes_the_state_that_later_calls_see,
    test_an_agent_calls_a_tool_and_answers,
    test_teams_stand_in_teams_five_levels_deep,
)

PARTS = 4
SMALL = {
    "api_keys", "audit", "definitions", "hooks", "schedules", "secret_bindings", "secrets", "shares", "specs",
    "task_definitions", "templates", "tenants", "users",
}  # fmt: skip
"""What people define and who they are: it does not grow with the runs. The audit does with what people do."""

BY_KEY = {"starts": "agent, key", "sessions": "agent, session_id"}
"""They grow with the runs, and are found by a key of the user's."""


def grows() -> dict[str, str]:
    """The tables that grow with the runs, and by what each is cut."""
    keys = {name: next(iter(table.primary_key)).name for name, table in t.metadata.tables.items()}
    return {**{name: key for name, key in keys.items() if key == "tree"}, **BY_KEY}


def cut(url: str) -> None:
    """Make each of these tables anew, in parts. For empty ones: full ones are filled by INSERT ... SELECT before."""
    opened = Database(url)
    upgrade(opened)
    with opened.writing.begin() as connection:
        for name, key in grows().items():
            table = t.metadata.tables[name]
            connection.execute(sa.text(f"drop table {name}"))
            ddl = str(CreateTable(table).compile(connection)).rstrip()
            connection.execute(sa.text(f"{ddl} partition by hash ({key})"))
            for part in range(PARTS):
                values = f"for values with (modulus {PARTS}, remainder {part})"
                connection.execute(sa.text(f"create table {name}_{part} partition of {name} {values}"))
            for index in table.indexes:
                connection.execute(CreateIndex(index))
    opened.close()


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """An empty database whose large tables are cut into parts."""
    cut(postgres_url)
    return postgres_url


@pytest.fixture(autouse=True)
def of_parts(database_url: str) -> Iterator[None]:
    """Whatever a test asks for, it runs on parts, and they are used."""
    yield
    with sa.create_engine(database_url, poolclass=sa.NullPool).connect() as connection:
        used = [connection.exec_driver_sql(f"select count(*) from trees_{part}").scalar() for part in range(PARTS)]
        assert sum(used) == connection.exec_driver_sql("select count(*) from trees").scalar()


def test_every_table_is_cut_by_its_key_or_is_small(database_url: str) -> None:
    with sa.create_engine(database_url, poolclass=sa.NullPool).connect() as connection:
        found = connection.exec_driver_sql("select relname from pg_class where relkind = 'p'").scalars().all()
    assert set(found) == grows().keys()
    assert t.metadata.tables.keys() - grows().keys() == SMALL


async def test_a_claim_and_a_log_are_read_from_the_parts_that_they_are_in(engine: Engine) -> None:
    """What belongs to one run is found in one part; a queue is claimed by the index of each."""
    execution = await start(engine, agent(script(calls("a"), "done"), "a"))
    task = await take(engine, "a")
    with engine.database.reading.connect() as connection:
        plan = explained(connection, f"select * from events where tree = '{execution}' order by seq")
        assert len({word for word in plan.split() if word.startswith("events_") and word[7:].isdigit()}) == 1, plan
        connection.exec_driver_sql("set enable_seqscan = off")
        ready = "status = 'SCHEDULED' and queue = 'a' and domain = '' and available_at <= 5"
        plan = explained(
            connection, f"select tree from tasks where {ready} order by priority desc, available_at limit 5"
        )
        assert "Seq Scan" not in plan, plan
        assert plan.count("Index") >= PARTS, plan
    assert (await complete(engine, task)).landed


def explained(connection: sa.Connection, statement: str) -> str:
    return "\n".join(connection.exec_driver_sql(f"explain {statement}").scalars())
