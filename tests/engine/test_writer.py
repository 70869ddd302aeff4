"""The one writer: many requests share a commit, a bad one fails alone, and an idle server writes nothing."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agentspan.engine.engine import Engine
from agentspan.engine.workers.llm import LlmWorker
from agentspan.errors import BadInput, Unavailable
from agentspan.spec.agent import AgentSpec
from agentspan.store.presence import living
from agentspan.store.views import Want
from tests import postgres
from tests.engine.house import (
    agent,
    calls,
    complete,
    ended,
    opened,
    result,
    script,
    start,
    take,
    until,
    working,
)


async def test_many_requests_share_a_commit(engine: Engine) -> None:
    spec = agent(script({"content": "hi", "delay_ms": 60_000}))
    await start(engine, spec)
    before = engine.writer.commits
    await asyncio.gather(*(start(engine, spec) for _ in range(200)))
    assert engine.writer.commits - before < 50


async def test_a_request_that_cannot_be_stored_fails_alone(engine: Engine) -> None:
    spec = agent(script("hi"))
    prompts = ["good", "\ud800", "good", "good"]
    begun = await asyncio.gather(*(start(engine, spec, each) for each in prompts), return_exceptions=True)
    assert [isinstance(each, Exception) for each in begun] == [False, True, False, False]
    for each in begun:
        if isinstance(each, str):
            assert await result(engine, each) == "hi"


async def test_an_answer_that_cannot_be_stored_fails_its_run(engine: Engine) -> None:
    view = await ended(engine, await start(engine, agent(script("\ud800"))))
    assert view.row.status == "FAILED"
    assert "cannot be stored" in view.row.reason


async def test_an_idle_server_writes_nothing_while_workers_wait(engine: Engine, tmp_path: Path) -> None:
    await start(engine, agent(script(calls("never")), "never"))
    await until(lambda: _ready(engine, "never"))
    before = _writes(engine)
    polls = [engine.poll([Want("a"), Want(f"b{n}")], f"w{n}", wait_ms=6_000) for n in range(50)]
    assert await asyncio.gather(*polls) == [[]] * 50
    assert _writes(engine) == before


def _writes(engine: Engine) -> Any:
    """Something that changes with every write to the database."""
    if engine.database.path:
        files = sorted(engine.database.path.parent.glob("agentspan.db*"))
        return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.suffix != ".db-shm"]
    found = sa.create_engine(engine.database.url, poolclass=sa.NullPool)
    with found.connect() as connection:
        return connection.execute(sa.text("select pg_snapshot_xmax(pg_current_snapshot())::text")).scalar_one()


async def _ready(engine: Engine, queue: str) -> bool:
    return any(each.name == queue and each.ready for each in await engine.reads.queues())


async def test_a_full_disk_is_said_and_nothing_is_lost(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path) as engine:
        execution = await start(engine, agent(script(calls("a"), "{result}"), "a"))
        task = await take(engine, "a")
        _limit_pages(engine, 0)
        large = agent(script("hi"))
        with pytest.raises(Unavailable, match="database or disk is full"):
            await _fill_up(engine, large)
        with pytest.raises(Unavailable, match="full"):
            await complete(engine, task, "y" * 1_000_000)
        assert (await engine.reads.row(execution)).status == "RUNNING"
        _limit_pages(engine, 1_000_000)
        assert (await complete(engine, task)).landed
        assert await result(engine, execution) == "ok"
        assert await result(engine, await start(engine, large, "x" * 1_000_000)) == "hi"
    with sqlite3.connect(tmp_path / "agentspan.db") as file:
        assert file.execute("pragma integrity_check").fetchone() == ("ok",)
    file.close()


async def _fill_up(engine: Engine, spec: AgentSpec) -> None:
    for _ in range(100):
        await start(engine, spec, "x" * 1_000_000)


def _limit_pages(engine: Engine, more: int) -> None:
    """Let the file grow by so many pages and no further."""
    with engine.database.writing.connect() as connection:
        pages = connection.exec_driver_sql("pragma page_count").scalar_one()
        connection.exec_driver_sql(f"pragma max_page_count = {pages + more}")


async def test_a_database_that_is_gone_is_said_and_nothing_is_lost(
    own_postgres: postgres.Postgres, tmp_path: Path
) -> None:
    async with opened(own_postgres.url, tmp_path, pool_size=2) as engine:
        spec = agent(script(calls("a"), "{result}"), "a")
        execution = await start(engine, spec)
        task = await take(engine, "a")
        slow = await start(engine, agent(script({"content": "slow", "delay_ms": 1500})))
        await until(lambda: engine.builtin["llm"].busy)
        polling = asyncio.create_task(engine.poll([Want("a")], "patient", wait_ms=60_000))
        await until(lambda: engine.pollers.waiting(Want("a")))
        await asyncio.to_thread(own_postgres.stop, crash=True)
        for refused in (start(engine, spec), complete(engine, task), engine.ping(), engine.pause(execution)):
            with pytest.raises(Unavailable, match="the database does not answer"):
                await refused
        await asyncio.to_thread(own_postgres.start)
        await until(lambda: _answers(engine))
        await asyncio.gather(polling, return_exceptions=True) if polling.done() else polling.cancel()
        assert (await complete(engine, task)).landed
        assert await result(engine, execution) == "ok"
        assert await result(engine, slow) == "slow"
        async with working(engine, a="again"):
            assert await result(engine, await start(engine, spec)) == "again"
        own = engine.number
        await until(lambda: _lives(engine, own))


async def _answers(engine: Engine) -> bool:
    try:
        await engine.ping()
        await engine.extend([], "w")
    except Unavailable:
        return False
    return True


async def _lives(engine: Engine, number: int) -> bool:
    return number in await engine.reads.query(living)


@pytest.mark.parametrize("where", ["agent", "tool", "worker", "queue", "key"])
async def test_a_nul_character_in_a_name_is_refused(engine: Engine, where: str) -> None:
    names = {each: "a\x00b" if each == where else each for each in ("agent", "tool", "worker", "queue", "key")}
    begun = start(engine, agent(script("x"), names["tool"], name=names["agent"]), idempotency_key=names["key"])
    polled = engine.poll([Want(names["queue"])], names["worker"])
    done = await asyncio.gather(begun, polled, return_exceptions=True)
    assert [str(each) for each in done if isinstance(each, BadInput)] == [
        "a NUL character is not allowed in ids and keys"
    ]


@pytest.mark.parametrize("output", [{"_state_updates": [1]}, {"_state_updates": "x"}, {"_state_deletions": 7}])
async def test_a_result_that_cannot_be_folded_is_told_to_the_model(engine: Engine, output: dict[str, Any]) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), "a"))
    assert (await complete(engine, await take(engine, "a"), output)).landed
    assert (await result(engine, execution)).startswith("Error: the output's _state_")


async def test_a_lease_of_which_nobody_was_told_is_given_back(database_url: str, tmp_path: Path) -> None:
    """The connection is lost after a commit was made, and before that is known."""
    async with opened(database_url, tmp_path) as engine:
        ledger, leased = engine.writer.ledger, list[str]()
        commit = ledger.commit

        def cut_off(*given: Any) -> Any:
            made = commit(*given)
            if engine.desk.deliveries and len(leased) < 2:
                leased.append(engine.desk.deliveries[0][1].name)
                raise Unavailable("the connection is lost")
            return made

        ledger.commit = cut_off  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await start(engine, agent(script(calls("a"), "done"), "a"), idempotency_key="k")
        execution = ""
        while not execution:
            with contextlib.suppress(Unavailable):
                execution = await start(engine, agent(script(calls("a"), "done"), "a"), idempotency_key="k")
        polls = [asyncio.create_task(engine.poll([Want("a")], "w", wait_ms=20_000))]
        await asyncio.wait(polls)
        if polls[0].exception():
            polls[0] = asyncio.create_task(engine.poll([Want("a")], "w", wait_ms=20_000))
        [task] = await polls[0]
        assert (await complete(engine, task)).landed
        assert await result(engine, execution) == "done"
        assert len(leased) == 2


async def test_model_calls_that_found_no_room_are_made_when_there_is_some(engine: Engine) -> None:
    llm = engine.builtin["llm"]
    assert isinstance(llm, LlmWorker)
    llm.poller.room = 2
    spec = agent(script({"content": "hi", "delay_ms": 30}))
    begun = [await start(engine, spec) for _ in range(9)]
    assert [await result(engine, each) for each in begun] == ["hi"] * 9
