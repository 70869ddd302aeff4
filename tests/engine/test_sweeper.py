"""What is noticed as time passes: leases that expire, limits that run out, attempts that are due again."""

import asyncio
from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.engine.engine import Engine
from agentspan.store.views import Want
from tests.engine.house import (
    Hands,
    agent,
    calls,
    complete,
    ended,
    facts,
    fail,
    log,
    result,
    script,
    start,
    take,
    team,
    tool,
    until,
    working,
)


async def orders(engine: Engine, execution: str, name: str) -> list[Any]:
    return [each for each in facts(await log(engine, execution), e.TaskScheduled) if each.name == name]


async def test_a_lease_that_expires_makes_a_new_attempt_and_fences_the_old_one(hands: Hands, engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), "a"))
    old = await take(engine, "a", worker="dead", lease_ms=10_000)
    await hands.forward(engine, 9.9)
    assert await engine.poll([Want("a")], "heir") == []
    await hands.forward(engine, 0.2)
    new = await take(engine, "a", worker="heir")
    assert (new.attempt, new.idempotency_key) == (1, old.idempotency_key)
    assert new.task_id != old.task_id
    assert not (await complete(engine, old, "too late")).landed
    assert (await complete(engine, new, "in time")).landed
    assert await result(engine, execution) == "in time"
    assert facts(await log(engine, execution), e.TaskTimedOut)[0].limit == "lease"


async def test_heartbeats_keep_a_lease(hands: Hands, engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), "a"))
    task = await take(engine, "a", worker="w", lease_ms=10_000)
    for _ in range(5):
        await hands.forward(engine, 9)
        assert await engine.extend([task.task_id], "w", 10_000) == ([task.task_id], [])
    assert (await complete(engine, task)).landed
    assert await result(engine, execution) == "ok"


async def test_nobody_but_its_holder_can_extend_a_lease(hands: Hands, engine: Engine) -> None:
    await start(engine, agent(script(calls("a")), "a"))
    task = await take(engine, "a", worker="holder", lease_ms=10_000)
    assert await engine.extend([task.task_id], "thief", 99_000) == ([], [task.task_id])
    await hands.forward(engine, 11)
    assert await engine.extend([task.task_id], "holder", 99_000) == ([], [task.task_id])


async def test_a_lost_attempt_does_not_count_as_a_failure_of_the_tool(hands: Hands, engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), tool("a", retry_count=0)))
    for _ in range(3):
        await take(engine, "a", lease_ms=1000)
        await hands.forward(engine, 1.1)
    await complete(engine, await take(engine, "a"))
    assert await result(engine, execution) == "ok"


async def test_a_task_that_no_worker_takes_in_time_is_told_to_the_model(hands: Hands, engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), tool("a", start_timeout_seconds=30)))
    await until(lambda: orders(engine, execution, "a"))
    await hands.forward(engine, 31)
    assert await result(engine, execution) == "Error: no worker took the task in time"


async def test_a_task_that_was_handed_back_may_wait_as_long_again(hands: Hands, engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), tool("a", start_timeout_seconds=30)))
    task = await take(engine, "a")
    await hands.forward(engine, 20)
    assert (await engine.postpone(task.task_id, "w", 5_000)).landed
    await hands.forward(engine, 34)
    assert (await engine.reads.task(task.task_id)).status == "SCHEDULED"
    await hands.forward(engine, 2)
    assert await result(engine, execution) == "Error: no worker took the task in time"


async def test_an_attempt_that_takes_too_long_is_tried_again_however_often_it_is_extended(
    hands: Hands, engine: Engine
) -> None:
    spec = agent(script(calls("a"), "{result}"), tool("a", timeout_seconds=30, retry_count=1, retry_delay_seconds=0))
    execution = await start(engine, spec)
    for _ in range(2):
        task = await take(engine, "a", lease_ms=20_000)
        await hands.forward(engine, 15)
        await engine.extend([task.task_id], "w", 20_000)
        await hands.forward(engine, 16)
    assert await result(engine, execution) == "Error: the attempt took longer than its time limit"


async def test_a_run_that_takes_too_long_ends_with_everything_below_it(hands: Hands, engine: Engine) -> None:
    spec = team("t", "sequential", agent(script(calls("a")), "a", name="child"), timeout_seconds=60)
    execution = await start(engine, spec)
    task = await take(engine, "a")
    await hands.forward(engine, 59)
    assert (await engine.reads.row(execution)).status == "RUNNING"
    await hands.forward(engine, 2)
    view = await ended(engine, execution)
    assert (view.row.status, view.row.reason) == ("TIMED_OUT", "the run took longer than its 60 s")
    assert (await engine.reads.children(execution))[0].status == "TERMINATED"
    assert not (await complete(engine, task)).landed


@pytest.mark.parametrize(
    ("logic", "delays"),
    [("fixed", [2, 2, 2]), ("linear_backoff", [2, 4, 6]), ("exponential_backoff", [2, 4, 5])],
)
async def test_a_failed_tool_is_tried_again_after_its_back_off(
    hands: Hands, engine: Engine, logic: str, delays: list[int]
) -> None:
    options = {
        "retry_count": 3,
        "retry_delay_seconds": 2,
        "retry_logic": logic,
        "retry_max_delay_seconds": 5 if "exp" in logic else 0,
    }
    execution = await start(engine, agent(script(calls("a"), "{result}"), tool("a", **options)))
    for delay in delays:
        await fail(engine, await take(engine, "a"))
        await hands.forward(engine, delay - 0.1)
        assert await engine.poll([Want("a")], "early") == []
        await hands.forward(engine, 0.1)
    await fail(engine, await take(engine, "a"), "for good")
    assert await result(engine, execution) == "Error: for good"


async def test_a_waiting_poll_gets_a_retry_the_moment_it_is_due(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), tool("a", retry_delay_seconds=0.05)))
    await fail(engine, await take(engine, "a"))
    waiting = asyncio.create_task(take(engine, "a"))
    await complete(engine, await waiting)
    assert await result(engine, execution) == "ok"


async def test_a_terminal_failure_is_not_tried_again(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), tool("a", retry_count=5)))
    await fail(engine, await take(engine, "a"), "never", status="FAILED_WITH_TERMINAL_ERROR")
    assert await result(engine, execution) == "Error: never"
    assert len(await orders(engine, execution, "a")) == 1


async def test_a_providers_retry_after_is_honoured(hands: Hands, engine: Engine) -> None:
    model = script({"content": "hi", "errors": [{"status": 429, "retry_after_ms": 45_000}]})
    execution = await start(engine, agent(model))
    second = (await until(lambda: _attempts(engine, execution, 2)))[1]
    assert second.delay_ms == 45_000
    await hands.forward(engine, 44)
    assert (await engine.reads.row(execution)).status == "RUNNING"
    await hands.forward(engine, 2)
    assert await result(engine, execution) == "hi"


async def test_a_model_that_cannot_answer_fails_the_run_at_once_with_its_sentence(engine: Engine) -> None:
    model = script({"errors": [{"status": 401, "message": "Set SCRIPT_API_KEY."}]})
    execution = await start(engine, agent(model))
    view = await ended(engine, execution)
    assert (view.row.status, view.row.reason) == ("FAILED", "Set SCRIPT_API_KEY.")
    assert len(await orders(engine, execution, model)) == 1


async def _attempts(engine: Engine, execution: str, count: int) -> list[Any]:
    found = facts(await log(engine, execution), e.TaskScheduled)
    return found if len(found) >= count else []


async def test_a_clock_that_is_set_back_stops_nothing_and_no_event_is_older_than_the_one_before(
    hands: Hands, engine: Engine
) -> None:
    execution = await start(engine, agent(script(calls("a"), calls("a"), "done"), "a"))
    await complete(engine, await take(engine, "a"))
    hands.at -= 3600
    async with working(engine, a="ok"):
        assert await result(engine, execution) == "done"
    times = [event.at for event in await log(engine, execution)]
    assert times == sorted(times)
    async with asyncio.timeout(5):
        assert await engine.poll([Want("nothing")], "w", wait_ms=100) == []
