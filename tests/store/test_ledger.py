"""What is written: the log is the truth, the snapshot is its fold, and each payload is there once."""

import statistics
from typing import Any

import msgspec
import sqlalchemy as sa

from agentspan.core import run as runs
from agentspan.core.fork import fold
from agentspan.engine import providers
from agentspan.engine.engine import Engine
from agentspan.store import tables
from tests.engine.house import (
    agent,
    calls,
    complete,
    ended,
    log,
    requests,
    result,
    script,
    start,
    take,
    team,
    tool,
    working,
)


async def stored(engine: Engine) -> dict[tuple[str, int], runs.Run]:
    """The snapshots of all executions."""
    table = tables.executions.c
    rows = await engine.reads.query(lambda c: c.execute(sa.select(table.tree, table.number, table.run)).all())
    return {(row.tree, row.number): runs.load(row.run) for row in rows}


async def test_folding_the_stored_log_gives_the_stored_snapshot_of_every_execution(engine: Engine) -> None:
    pays = agent(script(calls("a", "b", "nope"), calls("a"), "x"), "a", tool("b", approval_required=True), name="pays")
    flaky = agent(script({"content": "y", "errors": [{"status": 500}, {"status": 401}]}), name="flaky")
    cut = agent(script({"content": "z", "finish_reason": "length"}, "z"), name="cut", max_turns=2)
    done = await start(
        engine,
        team("t", "parallel", pays, team("u", "sequential", cut, msgspec.structs.replace(cut, name="again")), flaky),
    )
    await requests(engine, done, 1)
    await engine.signal(done, "hurry")
    await engine.pause(done)
    await engine.respond(done, {"approved": True, "arguments": {"n": 1}})
    await engine.resume(done)
    async with working(engine, a={"result": 1, "_state_updates": {"k": [1, 2.5, None]}}, b="B"):
        await ended(engine, done)
        forked = await engine.fork(done, 9)
        await engine.cancel(forked)
        await engine.retry(forked)
        await engine.stop(forked)
        await ended(engine, forked)
    waiting = await start(engine, agent(script(calls("never")), "never"))
    await take(engine, "never")
    snapshots = await stored(engine)
    for tree in (done, forked, waiting):
        folded = fold(tree, await log(engine, tree))
        assert folded.runs == {number: run for (name, number), run in snapshots.items() if name == tree}
        assert (await engine.reads.execution(tree)).seq == folded.seq


async def test_a_thousand_turns_write_as_much_in_their_second_half_and_the_snapshot_does_not_grow(
    engine: Engine,
) -> None:
    def answer(request: Any) -> dict[str, Any]:
        return (
            calls("a", page=1) if sum(m["role"] == "assistant" for m in request.messages) < 999 else {"content": "done"}
        )

    providers.register("thousand", answer)
    execution = await start(engine, agent("scripted/thousand", "a", max_turns=1000))
    size = sa.func.length(tables.executions.c.run)
    sizes: list[int] = []
    for turn in range(999):
        task = await take(engine, "a")
        if turn % 50 == 10:
            sizes.append(await engine.reads.query(lambda c: c.execute(sa.select(size)).scalar_one()))
        await complete(engine, task, "x" * 200)
    assert await result(engine, execution) == "done"
    assert max(sizes) <= 1.1 * min(sizes)
    rows = await engine.reads.query(
        lambda c: c.execute(sa.select(tables.events.c.data).order_by(tables.events.c.seq)).all()
    )
    lengths = [len(row.data) for row in rows]
    half = len(lengths) // 2
    assert len(lengths) == 4 * 999 + 4
    assert sum(lengths[half:]) <= 1.1 * sum(lengths[:half])
    assert statistics.mean(lengths) < 500


async def test_a_payload_is_stored_once(engine: Engine) -> None:
    marks = {name: f"mark-{name}-" for name in ("prompt", "argument", "result", "answer")}
    model = script(calls("a", x=marks["argument"]), {"content": marks["answer"]})
    child = agent(model, "a", name="child")
    spec = team("t", "sequential", child, agent(script("read"), name="reader"))
    execution = await start(engine, spec, "a prompt longer than what lists show: " + " " * 200 + marks["prompt"])
    async with working(engine, a=lambda x: marks["result"]):
        await ended(engine, execution)
    for mark in marks.values():
        assert await rows_with(engine, mark) == 1, mark


async def test_a_large_payload_is_stored_once_in_the_blobs_and_read_back_whole(engine: Engine) -> None:
    large = "mark-" + "x" * 10_000_000
    model = script(calls("a"), calls("a"), "done")
    execution = await start(engine, agent(model, "a"), large)
    async with working(engine, a="result-" + "y" * 100_000):
        await ended(engine, execution)
    count = sa.select(sa.func.count()).select_from(tables.blobs)
    assert await engine.reads.query(lambda c: c.execute(count).scalar_one()) == 2
    assert await rows_with(engine, "mark-", tables.events) == 0
    assert (await engine.reads.execution(execution)).input["prompt"] == large
    assert {len(task.output["result"]) for task in await engine.reads.tasks(execution) if task.name == "a"} == {100_007}


async def test_a_task_that_is_settled_leaves_the_queue(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a", "a"), "done"), "a"))
    async with working(engine, a=1):
        await ended(engine, execution)
    assert await engine.reads.queues() == []


async def rows_with(engine: Engine, mark: str, *only: sa.Table) -> int:
    """How many rows of all tables hold this text in any of their columns."""

    def count(connection: sa.Connection) -> int:
        found = 0
        for table in only or tables.metadata.sorted_tables:
            for row in connection.execute(sa.select(table)):
                found += any(mark.encode() in v if isinstance(v, bytes) else mark in str(v) for v in row)
        return found

    return await engine.reads.query(count)
