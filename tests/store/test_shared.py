"""A heavy question is worked out once for all who ask it, and never with an answer from before the question."""

import asyncio

import pytest

from agentspan.store.shared import Shared


class Desk:
    """Answers with the number of times that it was asked, when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = asyncio.Semaphore(0)

    async def work(self) -> int:
        self.asked += 1
        mine = self.asked
        await self.let.acquire()
        if mine == 13:
            raise ValueError("unlucky")
        return mine


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_who_ask_while_it_is_worked_out_share_the_next_answer() -> None:
    desk, shared = Desk(), Shared()
    first = asyncio.ensure_future(shared.ask("q", desk.work))
    await settle()
    others = [asyncio.ensure_future(shared.ask("q", desk.work)) for _ in range(9)]
    await settle()
    assert desk.asked == 1
    desk.let.release()
    assert await first == 1
    await settle()
    late = asyncio.ensure_future(shared.ask("q", desk.work))
    desk.let.release()
    assert await asyncio.gather(*others) == [2] * 9
    desk.let.release()
    assert await late == 3


async def test_other_questions_do_not_wait() -> None:
    desk, shared = Desk(), Shared()
    both = [asyncio.ensure_future(shared.ask(key, desk.work)) for key in "ab"]
    await settle()
    assert desk.asked == 2
    desk.let.release()
    desk.let.release()
    assert sorted(await asyncio.gather(*both)) == [1, 2]


async def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    desk, shared = Desk(), Shared()
    first = asyncio.ensure_future(shared.ask("q", desk.work))
    await settle()
    second, third = (asyncio.ensure_future(shared.ask("q", desk.work)) for _ in range(2))
    await settle()
    first.cancel()
    second.cancel()
    desk.let.release()
    desk.let.release()
    assert await third == 2


async def test_a_failure_is_told_to_all_who_share_it_and_forgotten() -> None:
    desk, shared = Desk(), Shared()
    desk.asked = 12
    desk.let.release()
    with pytest.raises(ValueError, match="unlucky"):
        await shared.ask("q", desk.work)
    desk.let.release()
    assert await shared.ask("q", desk.work) == 14
