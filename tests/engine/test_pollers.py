"""Long polls: who gets what, and that nothing is lost when a waiter goes away."""

import asyncio
import time

from agentspan.engine.engine import Engine
from agentspan.store.views import Want
from tests.engine.house import Hands, agent, calls, complete, ended, result, script, start, take, until, working


async def test_a_poll_answers_as_soon_as_one_task_is_ready(engine: Engine) -> None:
    waiting = asyncio.create_task(engine.poll([Want("a")], "w", count=50, wait_ms=60_000))
    await start(engine, agent(script(calls("a")), "a"))
    async with asyncio.timeout(10):
        assert [task.name for task in await waiting] == ["a"]


async def test_a_poll_takes_no_more_than_it_asked_for(engine: Engine) -> None:
    for _ in range(5):
        await start(engine, agent(script(calls("a", "a")), "a"))
    await until(lambda: _ready(engine, "a", 10))
    assert len(await engine.poll([Want("a")], "w", count=3)) == 3
    assert len(await engine.poll([Want("a")], "w", count=100)) == 7
    assert await engine.poll([Want("a")], "w", count=100) == []
    assert await engine.poll([Want("a")], "w", count=0) == []


async def test_a_poll_waits_no_longer_than_it_said(engine: Engine) -> None:
    begun = time.monotonic()
    assert await engine.poll([Want("a")], "w", wait_ms=200) == []
    assert 0.2 <= time.monotonic() - begun < 5


async def test_several_waiting_workers_share_what_comes(engine: Engine) -> None:
    waiting = [asyncio.create_task(engine.poll([Want("a")], f"w{n}", count=5, wait_ms=60_000)) for n in range(4)]
    await until(lambda: engine.pollers.waiting(Want("a")))
    for _ in range(4):
        await start(engine, agent(script(calls("a")), "a"))
    async with asyncio.timeout(10):
        got = await asyncio.gather(*waiting)
    assert [len(each) for each in got] == [1, 1, 1, 1]
    assert len({task.task_id for each in got for task in each}) == 4
    assert {task.worker for each in got for task in each} == {"w0", "w1", "w2", "w3"}


async def test_a_waiter_that_goes_away_gives_back_what_it_was_handed(engine: Engine) -> None:
    for _ in range(20):
        waiting = asyncio.create_task(engine.poll([Want("a")], "gone", wait_ms=60_000))
        await until(lambda: engine.pollers.waiting(Want("a")))
        execution = await start(engine, agent(script(calls("a"), "{result}"), "a"))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        task = await take(engine, "a", worker="heir")
        assert (await complete(engine, task)).landed
        assert await result(engine, execution) == "ok"


async def test_one_poll_waits_on_many_queues(engine: Engine) -> None:
    names = [f"tool{n}" for n in range(200)]
    waiting = asyncio.create_task(engine.poll([Want(name) for name in names], "w", wait_ms=60_000))
    await start(engine, agent(script(calls("tool137")), "tool137"))
    async with asyncio.timeout(10):
        assert [task.name for task in await waiting] == ["tool137"]
    assert set(engine.pollers.wanted()) == {Want("@llm"), Want("@http"), Want("@mcp")}


async def test_a_domain_is_a_queue_of_its_own(engine: Engine) -> None:
    await start(engine, agent(script(calls("a")), "a"), run_id="mine")
    await until(lambda: _ready(engine, "a", 1))
    assert await engine.poll([Want("a"), Want("a", "yours")], "w") == []
    assert (await take(engine, "a", domain="mine")).domain == "mine"


async def test_the_higher_priority_is_taken_first_and_then_the_oldest(engine: Engine) -> None:
    begun = [await start(engine, agent(script(calls("a")), "a"), priority=n) for n in (0, 5, 0, 9)]
    await until(lambda: _ready(engine, "a", 4))
    taken = [(await take(engine, "a")).execution_id for _ in range(4)]
    assert taken == [begun[3], begun[1], begun[0], begun[2]]


async def test_a_postponed_task_comes_again_later_with_the_same_id(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), "a"))
    task = await take(engine, "a")
    assert (await engine.postpone(task.task_id, "w", 50)).landed
    again = await take(engine, "a")
    assert (again.task_id, again.attempt, again.poll_count) == (task.task_id, 0, 2)
    await complete(engine, again)
    await ended(engine, execution)
    assert not (await engine.postpone(task.task_id, "w", 50)).landed


async def test_what_nobody_serves_is_told_with_the_name_of_the_tool(hands: Hands, engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a")), "a"))
    await until(lambda: _ready(engine, "a", 1))
    assert await engine.reads.waiting(execution) == []
    hands.at += 20
    (waiting,) = await engine.reads.waiting(execution)
    assert (waiting.tool, waiting.reason) == ("a", "no live worker serves 'a': no worker ever polled for it")


async def test_two_hundred_tasks_go_to_ten_workers_and_each_is_done_once(engine: Engine) -> None:
    done: list[str] = []
    spec = agent(script(calls(*["a"] * 20, n=1), "done"), "a")
    begun = [await start(engine, spec) for _ in range(10)]
    workers = [working(engine, worker=f"w{n}", at_once=7, a=lambda n: done.append("x")) for n in range(10)]
    for each in workers:
        await each.__aenter__()
    for execution in begun:
        await ended(engine, execution)
    for each in workers:
        await each.__aexit__(None, None, None)
    assert len(done) == 200


async def _ready(engine: Engine, queue: str, count: int) -> bool:
    return any(each.name == queue and each.ready == count for each in await engine.reads.queues())
