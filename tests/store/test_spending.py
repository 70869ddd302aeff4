"""What models cost is booked once: by the execution that asked, the model that answered and the hour."""

from typing import Any

import sqlalchemy as sa

from agentspan.engine.engine import Engine
from agentspan.store import tables
from agentspan.store.views import Costs
from tests.engine.house import agent, calls, complete, ended, script, start, take, team

LATER = 2**50
ANSWER = {"content": "ok", "usage": {"prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 5}, "cost": 0.5}
CALL = {**calls("look"), "usage": {"prompt_tokens": 7, "completion_tokens": 3}, "cost": 0.25}


async def spent(engine: Engine) -> list[dict[str, Any]]:
    rows = await engine.reads.query(
        lambda c: c.execute(sa.select(tables.spending).order_by(tables.spending.c.tree, tables.spending.c.execution))
    )
    return [dict(row._mapping) for row in rows]


async def costs(engine: Engine, by: str = "agent") -> Costs:
    return await engine.reads.costs(by, 0, LATER)


async def test_calls_of_one_model_are_summed_up(engine: Engine) -> None:
    model = script(CALL, ANSWER)
    execution = await start(engine, agent(model, "look"), session_id="s1")
    await complete(engine, await take(engine, "look"))
    view = await ended(engine, execution)
    rows = await spent(engine)
    assert {(row["execution"], row["model"], row["agent"], row["session_id"]) for row in rows} == {
        (0, model, "helper", "s1")
    }
    total = (await costs(engine)).total
    assert (total.runs, total.calls, total.unpriced) == (1, 2, 0)
    assert (total.prompt_tokens, total.completion_tokens, total.cached_tokens) == (107, 13, 5)
    assert (total.cost, total.prompt_tokens) == (view.row.cost, view.row.prompt_tokens)


async def test_a_tool_that_says_what_it_cost_is_no_model(engine: Engine) -> None:
    execution = await start(engine, agent(script(CALL, ANSWER), "look"))
    await complete(engine, await take(engine, "look"), {"usage": {"prompt_tokens": 9_999}, "cost": 99.0, "model": "x"})
    await ended(engine, execution)
    assert [each.key for each in (await costs(engine, "model")).rows if each.key == "x"] == []
    assert (await costs(engine)).total.cost == 0.75


async def test_each_agent_of_a_team_and_each_fallback_has_a_row(engine: Engine) -> None:
    first, broken, second = script(ANSWER), script(*[{"errors": [{"status": 401}]}] * 5), script(ANSWER)
    crew = team("crew", "sequential", agent(first, name="one"), agent(broken, name="two", fallback=second))
    await ended(engine, await start(engine, crew))
    assert {(row["agent"], row["model"], row["root_agent"]) for row in await spent(engine)} == {
        ("one", first, "crew"), ("two", second, "crew")
    }  # fmt: skip
    by_model = {each.key: each.cost for each in (await costs(engine, "model")).rows}
    assert by_model == {first: 0.5, second: 0.5}
    [day] = (await costs(engine, "day")).rows
    assert (len(day.key), day.calls, day.runs) == (10, 2, 1)


async def test_what_a_fork_shares_is_not_paid_for_again(engine: Engine) -> None:
    model = script(CALL, ANSWER)
    execution = await start(engine, agent(model, "look"))
    await complete(engine, await take(engine, "look"))
    await ended(engine, execution)
    events = await engine.reads.log_of(execution)
    at = next(event.seq for event in events if type(event.fact).__name__ == "TaskCompleted")
    fork = await engine.fork(execution, at)
    await complete(engine, await take(engine, "look"))
    view = await ended(engine, fork)
    assert view.row.cost == 0.75
    assert [(row["calls"], row["cost"]) for row in await spent(engine) if row["tree"] == fork] == [(1, 0.5)]


async def test_a_retry_adds_what_it_costs(engine: Engine) -> None:
    model = script(CALL, {"errors": [{"status": 401}]}, ANSWER)
    execution = await start(engine, agent(model, "look"))
    await complete(engine, await take(engine, "look"))
    assert (await ended(engine, execution)).row.status == "FAILED"
    assert (await costs(engine)).total.calls == 1
    await engine.retry(execution)
    await ended(engine, execution)
    view = await engine.reads.execution(execution)
    assert (await costs(engine)).total.cost == view.row.cost


async def test_a_price_that_nobody_knows_is_not_zero(engine: Engine) -> None:
    await ended(engine, await start(engine, agent(script({**ANSWER, "cost": None}), name="free"), session_id="s9"))
    [row] = (await costs(engine, "session")).rows
    assert (row.key, row.calls, row.unpriced, row.cost) == ("s9", 1, 1, 0.0)


async def test_runs_are_summed_up_over_time(engine: Engine) -> None:
    good, bad = agent(script(ANSWER), name="good"), agent(script({"errors": [{"status": 401}]}), name="bad")
    done = [await start(engine, each) for each in (good, good, bad)]
    for each in done:
        await ended(engine, each)
    rows = [await engine.reads.row(each) for each in done]
    since = min(row.started_at for row in rows) - 500
    found = await engine.reads.statistics(since, since + 60_000, 6)
    assert (found.bucket_ms, [bucket.at for bucket in found.buckets]) == (
        10_000, [since + n * 10_000 for n in range(6)]
    )  # fmt: skip
    assert found.totals.status == {"COMPLETED": 2, "FAILED": 1}
    assert sum(sum(bucket.counts.values()) for bucket in found.buckets) == found.totals.runs == 3
    assert sum(bucket.cost for bucket in found.buckets) == found.totals.cost == 1.0
    assert sum(bucket.tokens for bucket in found.buckets) == 220
    assert found.durations.count == 3
    [failure] = found.failures
    assert (failure.agent_name, failure.count, failure.last_execution_id) == ("bad", 1, done[2])
    assert [(each.agent_name, each.runs, each.failed, each.cost) for each in found.agents] == [
        ("good", 2, 0, 1.0), ("bad", 1, 1, 0.0)
    ]  # fmt: skip
    assert (found.waiting.requests, found.waiting.without_worker) == (0, 0)
    assert (await engine.reads.statistics(since, since + 60_000, 6, "bad")).totals.runs == 1
    assert (await engine.reads.statistics(1, 2, 60)).totals.runs == 0
