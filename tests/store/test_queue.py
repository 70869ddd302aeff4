"""Claims: by their index, and by one server alone."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from agentspan.clock import now_ms
from agentspan.engine.engine import Engine
from agentspan.store import queue, tables
from agentspan.store.views import Want
from tests.engine.house import agent, calls, opened, script, start, until

STATEMENTS = {
    "claim": (
        queue.CLAIM,
        {"the_queue": "q7", "the_domain": "", "count": 5, "the_owner": "w", "at": 2**41, "lease": 1000},
        "ix_tasks_ready",
    ),
    "due": (queue.DUE, {"now": 10, "limit": 100}, "ix_tasks_due"),
    "next due": (queue.NEXT_DUE, {}, "ix_tasks_due"),
    "held by": (queue.HELD_BY, {"the_owner": "server:7"}, "ix_tasks_owner"),
    "next available": (queue.NEXT_AVAILABLE, {"now": 2**41}, "ix_tasks_available"),
    "due executions": (queue.DUE_EXECUTIONS, {"now": 10, "limit": 100}, "ix_executions_due"),
}


async def fill(engine: Engine) -> None:
    """Ten thousand open tasks in a hundred queues, a tenth of them leased."""
    rows = [
        {
            "tree": f"{n:036}", "number": 4, "queue": f"q{n % 100}", "available_at": now_ms() - n, "priority": n % 3,
            "status": "IN_PROGRESS" if n % 10 == 3 else "SCHEDULED", "owner": f"server:{n % 50}" if n % 10 == 3 else "",
            "due_at": 2**41 + n if n % 10 == 3 else 0,
        }
        for n in range(10_000)
    ]  # fmt: skip
    with engine.database.writing.begin() as connection:
        connection.execute(sa.insert(tables.tasks), rows)
    if not engine.database.is_sqlite:
        with engine.database.writing.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("analyze"))


async def test_the_queue_is_read_by_its_indices(engine: Engine) -> None:
    await fill(engine)
    for name, (statement, values, index) in STATEMENTS.items():
        assert index in (plan := await explain(engine, statement, values)), f"{name}: {plan}"
        assert "Seq Scan" not in plan or name == "due executions", f"{name}: {plan}"
        assert "SCAN tasks" not in plan.replace(f"SCAN tasks USING COVERING INDEX {index}", ""), f"{name}: {plan}"


async def explain(engine: Engine, statement: sa.Executable, values: dict[str, object]) -> str:
    """The plan, on PostgreSQL as if scanning a table cost much more."""

    def work(connection: sa.Connection) -> str:
        compiled = statement.compile(connection, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
        verb = "explain query plan " if engine.database.is_sqlite else "explain "
        if not engine.database.is_sqlite:
            connection.exec_driver_sql("set local enable_seqscan = off")
        given = compiled.construct_params(values)
        if compiled.positional:
            rows = connection.exec_driver_sql(verb + str(compiled), tuple(given[n] for n in compiled.positiontup))
        else:
            rows = connection.exec_driver_sql(verb + str(compiled), given)
        return "\n".join(str(row[-1]) for row in rows)

    return await engine.reads.query(work)


async def test_a_claim_takes_the_higher_priority_and_then_the_longest_available(engine: Engine) -> None:
    await fill(engine)
    with engine.database.writing.begin() as connection:
        lease = queue.Lease("w", 1000)
        taken = [queue.claim(connection, "q7", "", 1, lease, now_ms())[0] for _ in range(100)]
        assert queue.claim(connection, "q7", "", 1, lease, now_ms()) == []
        connection.rollback()
    assert [(-row.priority, row.available_at) for row in taken] == sorted(
        (-row.priority, row.available_at) for row in taken
    )
    assert len({row.tree for row in taken}) == 100


@pytest.mark.timeout(60)
async def test_two_servers_never_claim_the_same_task(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path) as one, opened(postgres_url, tmp_path) as two:
        spec = agent(script(calls(*["a"] * 25)), "a")
        for _ in range(8):
            await start(one, spec)
        await until(lambda: _ready(one, 200))
        claims = [each.poll([Want("a")], f"w{n}", count=3) for n in range(60) for each in (one, two)]
        got = [task.task_id for some in await asyncio.gather(*claims) for task in some]
        assert len(got) == len(set(got)) == 200
        for view in (await one.reads.search())[1]:
            leased = [task for task in await two.reads.tasks(view.execution_id) if task.name == "a"]
            assert {task.poll_count for task in leased} == {1}


async def _ready(engine: Engine, count: int) -> bool:
    return any(each.name == "a" and each.ready == count for each in await engine.reads.queues())
