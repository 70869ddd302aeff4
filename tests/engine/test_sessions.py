"""One execution writes a session at a time; the next one knows which came before it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.engine.engine import Engine
from agentspan.errors import Conflict
from agentspan.spec.agent import AgentSpec
from tests.engine import house
from tests.engine.house import agent, complete, ended, opened, script, start, take


def talker(name: str = "helper") -> AgentSpec:
    return agent(script(*[{"content": "hi"}] * 20), name=name)


def waiter() -> AgentSpec:
    return agent(script(house.calls("wait"), {"content": "done"}), "wait")


async def before(engine: Engine, execution: str) -> Any:
    [started] = house.facts(await house.log(engine, execution), e.ExecutionStarted)
    return started.input.get("_session_after")


async def test_each_run_of_a_session_names_the_one_before(engine: Engine) -> None:
    spec, names = talker(), []
    for _ in range(3):
        names.append(await start(engine, spec, session_id="s"))
        await ended(engine, names[-1])
    assert [await before(engine, name) for name in names] == [None, names[0], names[1]]


async def test_sessions_are_kept_apart_by_agent_and_name(engine: Engine) -> None:
    for spec, session in ((talker(), "s"), (talker(), "t"), (talker("other"), "s"), (talker(), "")):
        execution = await start(engine, spec, session_id=session)
        await ended(engine, execution)
        assert await before(engine, execution) is None


async def test_a_second_writer_is_refused_with_the_name_of_the_first(engine: Engine) -> None:
    first = await start(engine, waiter(), session_id="s")
    with pytest.raises(Conflict, match=f"session 's' of agent 'helper' is being written by execution {first}"):
        await start(engine, waiter(), session_id="s")
    await engine.pause(first)
    with pytest.raises(Conflict, match=first):
        await start(engine, waiter(), session_id="s")
    await engine.cancel(first)
    assert await before(engine, await start(engine, waiter(), session_id="s")) == first


async def test_the_key_of_a_run_that_exists_gives_that_run_though_its_session_is_busy(engine: Engine) -> None:
    first = await start(engine, waiter(), session_id="s", idempotency_key="k")
    assert await start(engine, waiter(), session_id="s", idempotency_key="k") == first


async def test_a_refused_start_does_not_use_up_its_key(engine: Engine) -> None:
    first = await start(engine, waiter(), session_id="s")
    with pytest.raises(Conflict):
        await start(engine, waiter(), session_id="s", idempotency_key="k")
    await engine.cancel(first)
    second = await start(engine, talker(), session_id="s", idempotency_key="k")
    assert await before(engine, second) == first


async def test_of_many_at_once_one_begins(engine: Engine) -> None:
    spec = waiter()
    found = await asyncio.gather(*(start(engine, spec, session_id="s") for _ in range(20)), return_exceptions=True)
    [winner] = [each for each in found if isinstance(each, str)]
    refusals = [each for each in found if isinstance(each, Conflict)]
    assert len(refusals) == 19
    assert all(winner in each.message for each in refusals)


async def test_of_many_on_two_servers_one_begins(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path) as one, opened(postgres_url, tmp_path) as two:
        spec, sessions = waiter(), [f"s{n}" for n in range(10)]
        asked = [
            start(engine, spec, session_id=session, idempotency_key=f"{place}{session}")
            for session in sessions
            for place, engine in enumerate((one, two, one, two))
        ]
        asked[1::2] = reversed(asked[1::2])
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(each, str) for each in found) == len(sessions)
        assert sum(isinstance(each, Conflict) for each in found) == 3 * len(sessions)


async def test_a_failed_run_is_retried_only_while_it_is_the_last_of_its_session(engine: Engine) -> None:
    spec = agent(script(house.calls("wait"), {"content": "done"}), house.tool("wait", retry_count=0))
    first = await start(engine, spec, session_id="s")
    await engine.cancel(first)
    await engine.retry(first)
    with pytest.raises(Conflict, match=first):
        await start(engine, spec, session_id="s")
    await complete(engine, await take(engine, "wait"))
    await ended(engine, first)

    second = await start(engine, waiter(), session_id="s")
    await engine.cancel(second)
    third = await start(engine, waiter(), session_id="s")
    with pytest.raises(Conflict, match=f"session 's' has gone on with execution {third}"):
        await engine.retry(second)
