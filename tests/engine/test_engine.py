"""The engine as a whole: what a restart takes over, what many replicas share, how much can wait."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from agentspan.clock import new_id
from agentspan.config import Limit
from agentspan.core import events as e
from agentspan.engine import providers
from agentspan.engine.engine import Engine
from agentspan.errors import Unavailable
from agentspan.spec import wire
from agentspan.store.database import Database
from agentspan.store.ledger import Ledger, Meta, Transaction
from agentspan.store.views import Want
from tests.engine.house import (
    agent,
    calls,
    complete,
    counting,
    ended,
    log,
    opened,
    requests,
    result,
    script,
    start,
    take,
    team,
    tool,
    until,
    working,
)
from tests.sizes import size, sized

ROOT = Path(__file__).parents[2]
DOOMED = """
import asyncio, pathlib, sys
from agentspan.engine import providers
from tests.engine.house import agent, complete, counting, opened, start, take, until

async def main(url, folder, asked):
    providers.register("counted", counting(pathlib.Path(asked), 60_000))
    async with opened(url, pathlib.Path(folder)) as engine:
        execution = await start(engine, agent("scripted/counted", "a"))
        await complete(engine, await take(engine, "a"))
        await until(lambda: pathlib.Path(asked).read_text() == "01")
        print(execution, flush=True)
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def killed(url: str, folder: Path, asked: Path) -> str:
    """The execution that a server was thinking about when it was killed."""
    command = [sys.executable, "-c", DOOMED, url, str(folder), str(asked)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    execution = (await process.stdout.readline()).decode().strip()
    os.kill(process.pid, signal.SIGKILL)
    await process.communicate()
    assert execution
    return execution


async def test_a_killed_servers_model_calls_are_taken_over_and_answers_are_not_asked_again(
    sqlite_url: str, tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    asked.touch()
    execution = await killed(sqlite_url, tmp_path, asked)
    providers.register("counted", counting(asked, 0))
    begun = time.monotonic()
    async with opened(sqlite_url, tmp_path) as engine:
        assert await result(engine, execution) == "done"
        assert time.monotonic() - begun < 2
        assert [task.attempt for task in await engine.reads.tasks(execution) if task.kind == "llm"] == [0, 0, 1]
    assert asked.read_text() == "011"


async def test_another_replica_takes_over_the_model_calls_of_a_killed_one(postgres_url: str, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    asked.touch()
    providers.register("counted", counting(asked, 0))
    async with opened(postgres_url, tmp_path) as engine:
        execution = await killed(postgres_url, tmp_path, asked)
        begun = time.monotonic()
        assert await result(engine, execution) == "done"
        assert time.monotonic() - begun < 2
    assert asked.read_text() == "011"


async def test_a_drained_engine_gives_back_what_it_has_not_finished(database_url: str, tmp_path: Path) -> None:
    model = script({"content": "done", "delay_ms": 60_000})
    async with opened(database_url, tmp_path) as engine:
        execution = await start(engine, agent(model))
        await until(lambda: engine.builtin["llm"].busy)
        await engine.drain(0.05)
        assert await engine.poll([Want("a")], "w", wait_ms=60_000) == []
        (task,) = await engine.reads.tasks(execution)
        assert (task.status, task.worker) == ("SCHEDULED", "")
    providers.register(model.partition("/")[2], ["quick"])
    async with opened(database_url, tmp_path) as engine:
        assert await result(engine, execution) == "quick"
        (task,) = await engine.reads.tasks(execution)
        assert task.attempt == 0


async def test_an_engine_that_is_closed_refuses_kindly(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as engine:
        pass
    with pytest.raises(Unavailable, match="shutting down"):
        await start(engine, agent(script("hi")))


async def test_a_thousand_agents_wait_for_slow_models_at_once(engine: Engine) -> None:
    spec = agent(script({"content": "at last", "delay_ms": 4_000}))
    before = psutil.Process().memory_info().rss
    begun = await asyncio.gather(*(start(engine, spec, f"nr {n}") for n in range(1_000)))
    await until(lambda: len(engine.builtin["llm"].busy) == 1_000)
    assert psutil.Process().memory_info().rss - before < 200_000_000
    for execution in begun:
        await engine.wait(execution, 20_000)
    assert await engine.reads.counts() == {"COMPLETED": 1_000}


@sized
async def test_many_waiting_runs_cost_a_restart_nothing(database_url: str, tmp_path: Path) -> None:
    number = size(2_000, 10_000)
    fill(database_url, number)
    gc.collect()
    before = psutil.Process().memory_info().rss
    begun = time.monotonic()
    async with opened(database_url, tmp_path) as engine:
        assert time.monotonic() - begun < 3
        assert psutil.Process().memory_info().rss - before < 20_000_000
        assert await engine.reads.counts() == {"RUNNING": number}
        task = await take(engine, "rare")
        await complete(engine, task)
        assert await result(engine, task.execution_id) == "done"


def fill(url: str, count: int) -> None:
    """Executions of which half waits for a worker that nobody runs, and half for a person."""
    database = Database(url)
    database.open()
    ledger = Ledger(database, 65_536)
    spec = agent(script(calls("rare"), "done"), "rare", tool("ask", approval_required=True))

    def work(transaction: Transaction) -> None:
        for n in range(1_000):
            name = ("rare", "ask")[n % 2]
            meta = Meta(new_id(), wire.digest(spec))
            transaction.create(meta, spec)
            transaction.append(meta.tree, [(0, e.ExecutionStarted({"prompt": "wait"}))])
            answer = {"content": "", "tool_calls": [{"name": name, "arguments": {}}], "finish_reason": "tool_calls"}
            transaction.append(meta.tree, [(0, e.TaskCompleted(2, answer))])
        transaction.flush()

    for _ in range(count // 1_000):
        ledger.commit(work, lambda _: None)
    database.close()


async def test_a_run_is_started_on_one_replica_worked_on_another_and_read_on_a_third(
    postgres_url: str, tmp_path: Path
) -> None:
    async with (
        opened(postgres_url, tmp_path) as one,
        opened(postgres_url, tmp_path) as two,
        opened(postgres_url, tmp_path) as three,
    ):
        spec = agent(script(calls("a"), calls("pay"), "done"), "a", tool("pay", approval_required=True))
        async with working(two, a="A"), working(three, pay="P"):
            begun = time.monotonic()
            execution = await start(one, spec)
            reader = asyncio.create_task(_read(three, execution))
            await requests(three, execution, 1)
            await two.respond(execution, {"approved": True})
            items = await reader
            took = time.monotonic() - begun
        assert [item["id"] for item in items] == sorted({item["id"] for item in items})
        assert items[-1]["output"]["result"] == "done"
        assert items == await one.events(execution)
        assert took < 4


async def _read(engine: Engine, execution: str) -> list[Any]:
    async with asyncio.timeout(30):
        return [item async for item in engine.stream(execution) if item and "id" in item]


async def test_a_model_is_told_everything_when_results_come_through_different_replicas(
    postgres_url: str, tmp_path: Path
) -> None:
    seen: list[list[str]] = []

    def answer(request: Any) -> dict[str, Any]:
        seen.append([str(each["content"]) for each in request.messages if each["role"] == "tool"])
        return calls("a") if len(seen) < 6 else {"content": "done"}

    providers.register("far", answer)
    async with opened(postgres_url, tmp_path) as one, opened(postgres_url, tmp_path) as two:
        execution = await start(one, agent("scripted/far", "a"))
        for turn in range(5):
            task = await take(one, "a")
            await complete((one, two)[turn // 2 % 2], task, f"result {turn}")
        await ended(two, execution)
    assert seen[-1] == [f"result {turn}" for turn in range(5)]


ZEBRA_FIRST = {"type": "object", "properties": {"zebra": {"type": "string"}, "ant": {"type": "string"}}}


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_model_is_told_the_same_bytes_in_each_turn(database_url: str, tmp_path: Path, restarted: bool) -> None:
    seen: list[tuple[list[bytes], bytes]] = []

    def answer(request: Any) -> Any:
        messages = [msgspec.json.encode(each) for each in request.messages]
        seen.append((messages, msgspec.json.encode([request.tools, request.response_schema])))
        return calls("a", zebra="1", ant="2") if len(seen) < 3 else '{"zebra": "1", "ant": "2"}'

    providers.register("reader", answer)
    spec = agent("scripted/reader", tool("a", input_schema=ZEBRA_FIRST), output_type={"schema": ZEBRA_FIRST})
    given = {"prompt": "hello", "context": {"zoo": 1, "area": {"y": 1, "x": 2}}}
    async with opened(database_url, tmp_path) as engine:
        execution = (await engine.start(spec, given)).execution_id
        await complete(engine, await take(engine, "a"), {"yes": 1, "no": 2})
        task = await take(engine, "a")
        if not restarted:
            await complete(engine, task, {"yes": 1, "no": 2})
            await ended(engine, execution)
    if restarted:
        async with opened(database_url, tmp_path) as engine:
            await complete(engine, task, {"yes": 1, "no": 2})
            await ended(engine, execution)
    assert len(seen) == 3
    for (before, _), (after, _) in pairwise(seen):
        assert after[: len(before)] == before
    assert len({around for _, around in seen}) == 1
    assert seen[0][1].index(b"zebra") < seen[0][1].index(b"ant")


async def test_lost_notifications_make_things_slower_and_not_wrong(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path) as one, opened(postgres_url, tmp_path) as two:
        spec = agent(script(calls("a"), calls("a"), "done"), "a")
        async with working(two, a="A"):
            reader = None
            for _ in range(3):
                execution = await start(one, spec)
                reader = asyncio.create_task(_read(two, execution))
                await _deafen(one, two)
                assert await result(one, execution) == "done"
                assert (await reader)[-1]["type"] == "done"
                assert await log(one, execution) == await log(two, execution)
        row = await one.reads.search()
        assert row[0] == 3


async def _deafen(*engines: Engine) -> None:
    """Cut the connections on which the engines listen."""
    for engine in engines:
        assert engine.presence is not None
        connection = engine.presence._connection
        if connection is not None and not connection.closed:
            pid = connection.info.backend_pid
            await engine.reads.query(lambda c, pid=pid: c.exec_driver_sql(f"select pg_terminate_backend({pid})").all())


async def test_a_server_whose_own_connection_is_cut_keeps_its_model_calls(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path) as engine:
        execution = await start(engine, agent(script({"content": "kept", "delay_ms": 2_500})))
        await until(lambda: engine.builtin["llm"].busy)
        for _ in range(4):
            await _deafen(engine)
            await engine._take_over()
        assert await result(engine, execution) == "kept"
        assert len(await engine.reads.tasks(execution)) == 1


CUT_OFF_ENDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cancelled": ({}, {}),
    "timed out": ({"timeout_seconds": 1}, {}),
    "out of budget": ({}, {"budget": {"seconds": 1}}),
}


@pytest.mark.parametrize("end", CUT_OFF_ENDS)
async def test_the_model_calls_of_an_ended_tree_make_room_at_once(database_url: str, tmp_path: Path, end: str) -> None:
    options, given = CUT_OFF_ENDS[end]
    two_at_a_time = (Limit("scripted", concurrency=2),)
    async with opened(database_url, tmp_path, limits=two_at_a_time) as engine:
        slow = script({"content": "late", "delay_ms": 60_000})
        spec = team("both", "parallel", agent(slow, name="a"), agent(slow, name="b"), **options)
        execution = (await engine.start(spec, {"prompt": "hello", **given})).execution_id
        await until(lambda: len(engine.builtin["llm"].busy) == 2)
        if end == "cancelled":
            await engine.cancel(execution)
        await ended(engine, execution)
        await until(lambda: not engine.builtin["llm"].busy, seconds=2)
        assert await result(engine, await start(engine, agent(script("hi")))) == "hi"


@pytest.mark.parametrize("heard", [True, False])
async def test_the_model_calls_of_a_tree_that_another_replica_ends_make_room_at_once(
    postgres_url: str, tmp_path: Path, heard: bool
) -> None:
    async with (
        opened(postgres_url, tmp_path, limits=(Limit("scripted", concurrency=1),)) as one,
        opened(postgres_url, tmp_path) as two,
    ):
        execution = await start(one, agent(script({"content": "late", "delay_ms": 60_000})))
        await until(lambda: one.builtin["llm"].busy)
        if not heard:
            await _deafen(one)
        await two.cancel(execution)
        await until(lambda: not one.builtin["llm"].busy, seconds=3)
        assert await result(one, await start(one, agent(script("hi")))) == "hi"


async def test_the_same_keys_on_two_replicas_in_any_order_begin_one_execution_each(
    postgres_url: str, tmp_path: Path
) -> None:
    async with opened(postgres_url, tmp_path) as one, opened(postgres_url, tmp_path) as two:
        specs = [agent(script(calls("a")), "a", name=f"agent{n}") for n in range(40)]

        async def begin(engine: Engine, order: int) -> dict[str, str]:
            begun = [start(engine, each, idempotency_key="k") for each in specs[::order]]
            return dict(zip([each.name for each in specs[::order]], await asyncio.gather(*begun), strict=True))

        first, second = await asyncio.gather(begin(one, 1), begin(two, -1))
        assert first == second
