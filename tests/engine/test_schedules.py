"""Schedules start deployed agents: on time, once, in whatever server sees it first, and by their policies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentspan.clock import now_ms
from agentspan.core import events as e
from agentspan.engine import cron, scheduler
from agentspan.engine.engine import Engine
from agentspan.errors import BadInput, Conflict, NotFound
from agentspan.store.views import ExecutionRow, Kept, Schedule
from tests.engine import house
from tests.engine.house import Hands, agent, ended, facts, log, opened, script

MINUTE = 60


async def deployed(engine: Engine, name: str = "helper", **answer: Any) -> str:
    await engine.deploy(agent(script(*[{"content": "done", **answer}] * 300), name=name))
    return name


def hourly(**more: Any) -> Schedule:
    return Schedule(**{"name": "helper-hourly", "agent": "helper", "cron": "0 * * * *", **more})


async def runs(engine: Engine) -> list[ExecutionRow]:
    """All runs, the oldest first."""
    _, rows = await engine.reads.search(size=200, sort="started_at:ASC")
    return sorted(rows, key=lambda row: row.correlation_id)


async def told(engine: Engine, row: ExecutionRow) -> dict[str, Any]:
    [started] = facts(await log(engine, row.execution_id), e.ExecutionStarted)
    given: dict[str, Any] = started.input
    return given


async def to_the_tick(engine: Engine, hands: Hands, kept: Kept, late: float = 0.01) -> None:
    """Let time pass until the schedule is due, and a bit."""
    await hands.forward(engine, (kept.due_at - now_ms()) / 1000 + late)


@pytest.fixture
async def still(database_url: str, tmp_path: Path, hands: Hands) -> AsyncIterator[Engine]:
    """An engine whose clock stands still."""
    async with opened(database_url, tmp_path) as engine:
        await deployed(engine)
        yield engine


async def test_a_schedule_starts_its_agent_at_each_tick_and_never_between(still: Engine, hands: Hands) -> None:
    kept = await still.life.save_schedule(hourly(input={"prompt": "Report.", "topic": "sales"}))
    assert kept.due_at == cron.following("0 * * * *", "UTC", now_ms())
    await hands.forward(still, (kept.due_at - now_ms()) / 1000 - 1)
    assert await runs(still) == []

    for count in (1, 2):
        await to_the_tick(still, hands, await still.life.schedule(kept.schedule.name))
        await still.sweeper.sweep()
        found = await runs(still)
        assert len(found) == count
        await ended(still, found[-1].execution_id)

    given = await told(still, found[0])
    assert (given["prompt"], given["context"]) == ("Report.", {"topic": "sales"})
    assert given["_schedule"] == {"name": "helper-hourly", "at": cron.written(kept.due_at, "UTC")}
    assert found[0].correlation_id == f"schedule:helper-hourly:{kept.due_at}"
    after = await still.life.schedule(kept.schedule.name)
    assert (after.last_at, after.last_tree) == (kept.due_at + 3_600_000, found[1].execution_id)


async def test_a_schedule_without_a_prompt_says_when_it_is(still: Engine, hands: Hands) -> None:
    kept = await still.life.save_schedule(hourly(zone="Asia/Kolkata"))
    await to_the_tick(still, hands, kept)
    [row] = await runs(still)
    assert (await told(still, row))["prompt"] == f"Scheduled run at {cron.written(kept.due_at, 'Asia/Kolkata')}."


@pytest.mark.parametrize(("late_minutes", "catch_up", "count"), [(0.5, False, 1), (5, False, 0), (185, False, 0)])
async def test_what_was_missed_is_left_out(
    still: Engine, hands: Hands, late_minutes: float, catch_up: bool, count: int
) -> None:
    kept = await still.life.save_schedule(hourly(catch_up=catch_up))
    await to_the_tick(still, hands, kept, late_minutes * MINUTE)
    assert len(await runs(still)) == count
    assert (await still.life.schedule(kept.schedule.name)).due_at == cron.following("0 * * * *", "UTC", now_ms())


async def test_what_was_missed_is_made_up_for_where_that_is_wanted(still: Engine, hands: Hands) -> None:
    kept = await still.life.save_schedule(hourly(catch_up=True))
    await to_the_tick(still, hands, kept, 185 * MINUTE)
    ticks = [kept.due_at + n * 3_600_000 for n in range(4)]
    assert [row.correlation_id for row in await runs(still)] == [f"schedule:helper-hourly:{tick}" for tick in ticks]


async def test_making_up_is_bounded(still: Engine, hands: Hands) -> None:
    kept = await still.life.save_schedule(hourly(cron="* * * * *", catch_up=True))
    await to_the_tick(still, hands, kept, 60 * 24 * 60)
    found = await runs(still)
    assert len(found) == scheduler.MOST_TICKS
    assert found[-1].correlation_id.endswith(str(now_ms() // 60_000 * 60_000))


@pytest.mark.parametrize(
    ("overlap", "statuses"),
    [("skip", ["RUNNING"]), ("allow", ["RUNNING", "RUNNING"]), ("cancel_running", ["TERMINATED", "RUNNING"])],
)
async def test_a_run_that_has_not_ended_is_dealt_with_as_the_schedule_says(
    database_url: str, tmp_path: Path, hands: Hands, overlap: str, statuses: list[str]
) -> None:
    async with opened(database_url, tmp_path) as engine:
        await engine.deploy(agent(script(*[house.calls("wait")] * 9), "wait"))
        kept = await engine.life.save_schedule(hourly(overlap=overlap))
        for _ in range(2):
            await to_the_tick(engine, hands, await engine.life.schedule(kept.schedule.name))
        found = await runs(engine)
        assert [row.status for row in found] == statuses
        if overlap == "cancel_running":
            [fact] = facts(await log(engine, found[0].execution_id), e.ExecutionTerminated)
            assert fact.reason == "replaced by the next run of schedule helper-hourly"


async def test_a_paused_schedule_rests_and_goes_on_with_its_next_tick(still: Engine, hands: Hands) -> None:
    kept = await still.life.save_schedule(hourly(catch_up=True))
    assert (await still.life.pause_schedule(kept.schedule.name)).due_at == 0
    await to_the_tick(still, hands, kept, 90 * MINUTE)
    assert await runs(still) == []
    resumed = await still.life.pause_schedule(kept.schedule.name, paused=False)
    assert resumed.due_at == cron.following("0 * * * *", "UTC", now_ms())
    await to_the_tick(still, hands, resumed)
    assert len(await runs(still)) == 1


async def test_a_schedule_begins_and_ends(still: Engine, hands: Hands) -> None:
    start = cron.following("0 * * * *", "UTC", now_ms() + 5 * 3_600_000)
    kept = await still.life.save_schedule(hourly(start_at=start, end_at=start + 3_600_000 - 1))
    assert kept.due_at == start
    await to_the_tick(still, hands, kept)
    assert len(await runs(still)) == 1
    assert (await still.life.schedule(kept.schedule.name)).due_at == 0


async def test_saving_it_anew_loses_no_tick(still: Engine, hands: Hands) -> None:
    kept = await still.life.save_schedule(hourly())
    for _ in range(10):
        await asyncio.sleep(0)  # until the sweeper has heard of it, and waits
    hands.at = kept.due_at / 1000 + 1
    again = await still.life.save_schedule(hourly(description="the same times"))
    assert again.due_at == kept.due_at
    await still.sweeper.sweep()
    assert len(await runs(still)) == 1


async def test_the_latest_version_is_started_unless_one_is_named(still: Engine, hands: Hands) -> None:
    kept = await still.life.save_schedule(hourly(overlap="allow"))
    pinned = await still.life.save_schedule(hourly(name="pinned", version=1))
    assert await still.deploy(agent(script("new"))) == 2
    await to_the_tick(still, hands, kept)
    assert {row.correlation_id.split(":")[1]: row.version for row in await runs(still)} == {
        kept.schedule.name: 2,
        pinned.schedule.name: 1,
    }


async def test_an_agent_that_is_gone_is_a_problem_that_is_shown_and_does_not_hold_up_the_rest(
    still: Engine, hands: Hands
) -> None:
    await deployed(still, "other")
    kept = await still.life.save_schedule(hourly())
    other = await still.life.save_schedule(hourly(name="other-hourly", agent="other"))
    await still.undeploy("helper")
    await to_the_tick(still, hands, kept)
    assert [row.agent_name for row in await runs(still)] == ["other"]
    assert "no agent 'helper' is deployed" in (await still.life.schedule(kept.schedule.name)).problem
    assert not (await still.life.schedule(other.schedule.name)).problem

    await deployed(still)
    await to_the_tick(still, hands, await still.life.schedule(kept.schedule.name))
    assert not (await still.life.schedule(kept.schedule.name)).problem


async def test_a_run_in_a_session_that_is_being_written_is_left_out(
    database_url: str, tmp_path: Path, hands: Hands
) -> None:
    async with opened(database_url, tmp_path) as engine:
        await engine.deploy(agent(script(*[house.calls("wait")] * 9), "wait"))
        kept = await engine.life.save_schedule(hourly(overlap="allow", input={"session_id": "s"}))
        for _ in range(2):
            await to_the_tick(engine, hands, await engine.life.schedule(kept.schedule.name))
        assert [row.session_id for row in await runs(engine)] == ["s"]


async def test_a_schedule_runs_now_beside_its_ticks(still: Engine) -> None:
    kept = await still.life.save_schedule(hourly(input={"prompt": "Now."}))
    started = await still.life.run_schedule(kept.schedule.name)
    assert (await ended(still, started.execution_id)).input["prompt"] == "Now."
    assert await still.life.schedule(kept.schedule.name) == kept


async def test_a_schedule_that_cannot_be_kept_says_why(still: Engine) -> None:
    save = still.life.save_schedule
    cases: list[tuple[dict[str, Any], str]] = [
        ({"cron": "x"}, "5 fields"),
        ({"zone": "Mars"}, "no time zone"),
        ({"overlap": "queue"}, "allow, skip, cancel_running"),
        ({"start_at": 2, "end_at": 1}, "end after it starts"),
        ({"name": ""}, "needs a name"),
        ({"name": "a\x00"}, "NUL"),
        ({"input": {"context": [1]}}, "context"),
    ]
    for wrong, says in cases:
        with pytest.raises(BadInput, match=says):
            await save(hourly(**wrong))
    with pytest.raises(NotFound, match="no agent 'nobody' is deployed"):
        await save(hourly(agent="nobody"))
    await save(hourly())
    await deployed(still, "other")
    with pytest.raises(Conflict, match="of another agent, 'helper'"):
        await save(hourly(agent="other"))
    assert [each.schedule.name for each in await still.life.schedules()] == ["helper-hourly"]
    await still.life.delete_schedule("helper-hourly")
    for ask in (still.life.schedule, still.life.pause_schedule, still.life.delete_schedule, still.life.run_schedule):
        with pytest.raises(NotFound, match="no schedule 'helper-hourly'"):
            await ask("helper-hourly")


async def test_of_many_servers_one_starts_each_tick(postgres_url: str, tmp_path: Path, hands: Hands) -> None:
    async with opened(postgres_url, tmp_path) as one, opened(postgres_url, tmp_path) as two:
        await deployed(one)
        names = [f"helper-{n}" for n in range(5)]
        for name in names:
            kept = await one.life.save_schedule(hourly(name=name, overlap="allow"))
        for count in (5, 10, 15):
            hands.at = (await one.life.schedule(names[0])).due_at / 1000
            await asyncio.gather(*(engine.sweeper.sweep() for engine in (one, two, one, two)))
            found = await runs(two)
            assert len(found) == len({row.correlation_id for row in found}) == count
        assert kept.due_at


async def test_a_tick_that_was_dealt_with_elsewhere_starts_nothing(still: Engine) -> None:
    # It is not due by the clock, so that the engine's own sweeper leaves it alone.
    kept = await still.life.save_schedule(hourly())
    spec, version, _ = await still.definition("helper")
    start = scheduler.start_of(kept.schedule, kept.due_at, spec, version)
    tick = scheduler.Tick(kept=kept, starts=[start], next_at=kept.due_at + 3_600_000)
    assert len(await still.writer.do(tick)) == 1
    assert await still.writer.do(tick) == []
    assert len(await runs(still)) == 1


async def test_a_schedule_wakes_an_idle_server_in_time(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as engine:
        await deployed(engine)
        await engine.life.save_schedule(hourly(cron="* * * * * *", overlap="allow"))
        found = await house.until(lambda: runs(engine), 5)
        tick = int(found[0].correlation_id.rpartition(":")[2])
        assert 0 <= found[0].started_at - tick < 1000
