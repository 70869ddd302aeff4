"""The limiter: how long a call waits for its turn, and what a refusal does to the others."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from agentspan.config import Limit
from agentspan.engine import limiter
from agentspan.engine.limiter import MINUTE, MOST_QUOTAS, Limiter, Minute, Quota

LONG = 3600.0


async def settled() -> None:
    """Let everybody go on who can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_minute_holds_so_many_requests_and_no_more() -> None:
    minute = Minute(2, float("inf"))
    for at in (0.0, 10.0):
        assert minute.delay(at, 0) == 0
        minute.spend(at, 0)
    assert minute.delay(15.0, 0) == 45.0
    assert minute.delay(MINUTE, 0) == 0
    minute.spend(MINUTE, 0)
    assert minute.delay(61.0, 0) == 9.0


def test_a_minute_holds_so_many_tokens_and_no_more() -> None:
    minute = Minute(float("inf"), 1000)
    minute.spend(0.0, 600)
    minute.spend(20.0, 300)
    assert minute.delay(30.0, 100) == 0
    assert minute.delay(30.0, 200) == 30.0
    assert minute.delay(30.0, 900) == 50.0


def test_an_estimate_is_replaced_by_what_the_call_took() -> None:
    minute = Minute(float("inf"), 1000)
    spent = minute.spend(0.0, 900)
    assert minute.delay(1.0, 500) == 59.0
    minute.settle(spent, 100)
    assert minute.delay(1.0, 500) == 0
    assert minute.is_over(MINUTE)
    minute.settle(spent, 900)
    assert minute.delay(MINUTE, 1000) == 0


def test_a_call_larger_than_the_limit_goes_when_nothing_else_was_asked() -> None:
    minute = Minute(float("inf"), 1000)
    assert minute.delay(0.0, 5000) == 0
    minute.spend(0.0, 10)
    assert minute.delay(10.0, 5000) == 50.0


async def test_without_limits_nobody_waits() -> None:
    quota = Quota("openai")
    async with AsyncExitStack() as stack:
        for _ in range(100):
            await stack.enter_async_context(quota.slot())
        assert (quota.open, quota.waiting) == (100, 0)
    assert quota.open == 0
    assert quota.idle


async def test_only_so_many_calls_are_open_at_once_and_the_others_come_in_their_order() -> None:
    quota = Quota("openai", Limit("openai", concurrency=2))
    order: list[int] = []
    ends = [asyncio.Event() for _ in range(5)]

    async def call(number: int) -> None:
        async with quota.slot():
            order.append(number)
            await ends[number].wait()

    calls = [asyncio.create_task(call(number)) for number in range(5)]
    await settled()
    assert (order, quota.open, quota.waiting) == ([0, 1], 2, 3)
    ends[1].set()
    await settled()
    assert order == [0, 1, 2]
    for end in ends:
        end.set()
    await asyncio.gather(*calls)
    assert order == [0, 1, 2, 3, 4]
    assert quota.idle


async def test_a_call_that_waits_can_be_cancelled_and_blocks_nobody() -> None:
    quota = Quota("openai", Limit("openai", concurrency=1))

    async def call() -> str:
        async with quota.slot():
            return "done"

    async with quota.slot():
        waiting = [asyncio.create_task(call()) for _ in range(3)]
        await settled()
        waiting[0].cancel()
        await settled()
        assert quota.waiting == 2
    assert await waiting[1] == await waiting[2] == "done"
    assert (quota.open, quota.waiting) == (0, 0)


async def test_a_call_that_is_cancelled_as_its_turn_comes_gives_the_turn_back() -> None:
    quota = Quota("openai", Limit("openai", concurrency=1))

    async def call() -> None:
        async with quota.slot():
            pass

    async with quota.slot():
        waiting = asyncio.create_task(call())
        await settled()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert (quota.open, quota.waiting) == (0, 0)


async def test_a_refusal_lets_the_whole_quota_rest() -> None:
    quota = Quota("openai")
    async with quota.slot() as slot:
        assert LONG <= slot.refused(LONG) < LONG + 1

    async def call() -> None:
        async with quota.slot():
            raise AssertionError("this call has no turn")

    waiting = asyncio.create_task(call())
    await settled()
    assert (quota.waiting, quota.open) == (1, 0)
    assert LONG <= quota.rested < LONG + 1
    assert not quota.idle
    waiting.cancel()
    await asyncio.wait([waiting])
    assert quota.waiting == 0


async def test_refusals_of_calls_that_were_under_way_together_are_one() -> None:
    quota = Quota("openai")
    async with quota.slot() as one, quota.slot() as two, quota.slot() as three:
        assert one.refused(None) < 1.2
        assert two.refused(None) < 1.2
        assert three.refused(LONG) >= LONG
        assert quota.rested < LONG + 2


async def test_a_rest_without_a_time_grows_with_each_refusal() -> None:
    quota = Quota("openai")
    rests = []
    for _ in range(9):
        quota._rest_ends = 0.0
        async with quota.slot() as slot:
            rests.append(slot.refused(None))
    assert [int(each) for each in rests] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_after_a_rest_one_goes_ahead_and_more_follow_as_they_are_accepted() -> None:
    quota = Quota("openai")
    begun = 0
    accept: asyncio.Queue[None] = asyncio.Queue()
    end = asyncio.Event()

    async def call() -> None:
        nonlocal begun
        async with quota.slot() as slot:
            begun += 1
            await accept.get()
            slot.accepted()
            await end.wait()

    async with quota.slot() as slot:
        slot.refused(0.0)
        calls = [asyncio.create_task(call()) for _ in range(20)]
        await settled()
    for expected in (1, 3, 5, 7):
        async with asyncio.timeout(5):
            while begun < expected:  # noqa: ASYNC110
                await asyncio.sleep(0)
        await settled()
        assert begun == expected
        accept.put_nowait(None)
    for _ in calls:
        accept.put_nowait(None)
    end.set()
    await asyncio.gather(*calls)
    assert quota.idle


async def test_a_refused_call_goes_before_those_that_have_not_asked() -> None:
    quota = Quota("openai", Limit("openai", concurrency=1))
    order: list[str] = []

    async def call(name: str, again: bool) -> None:
        async with quota.slot(again=again):
            order.append(name)

    async with quota.slot():
        calls = [asyncio.create_task(call(name, name == "refused")) for name in ("new", "newer", "refused")]
        await settled()
    await asyncio.gather(*calls)
    assert order == ["refused", "new", "newer"]


async def test_a_quota_is_one_for_each_key_and_forgotten_only_when_there_is_nothing_to_remember() -> None:
    all_quotas = Limiter()
    resting = all_quotas.quota("resting", "openai")
    async with resting.slot() as slot:
        slot.refused(LONG)
    for number in range(MOST_QUOTAS + 10):
        all_quotas.quota(str(number), "openai")
    assert len(all_quotas.quotas) == MOST_QUOTAS
    assert all_quotas.quota("resting", "openai") is resting
    assert limiter.here() is limiter.here()


@pytest.mark.parametrize("limit", [None, Limit("openai", rpm=1)])
async def test_what_a_call_took_counts_where_it_is_limited(limit: Limit | None) -> None:
    quota = Quota("openai", limit)
    async with quota.slot(10) as slot:
        slot.used(20)
    assert quota.idle is (limit is None)
