"""Heavy questions that many ask at once: each is worked out once for all who asked before it began.

Nobody is given an answer that is older than his question: who asks while it is being worked out gets the next one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Shared:
    """At most one answer to the same question is under way, and one is to follow."""

    def __init__(self) -> None:
        self._now: dict[Hashable, asyncio.Task[Any]] = {}
        self._next: dict[Hashable, asyncio.Task[Any]] = {}

    async def ask(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The answer of `work` to the question `key`, or of somebody else's."""
        if key in self._next:
            task = self._next[key]
        elif key in self._now:
            task = self._next[key] = asyncio.ensure_future(self._follow(self._now[key], key, work))
        else:
            task = self._now[key] = asyncio.ensure_future(self._work(key, work))
        task.add_done_callback(_heard)
        answer: T = await asyncio.shield(task)
        return answer

    async def _follow(self, before: asyncio.Task[Any], key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        await asyncio.wait([before])
        self._now[key] = self._next.pop(key)
        return await self._work(key, work)

    async def _work(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        finally:
            if self._now.get(key) is asyncio.current_task():
                del self._now[key]


def _heard(task: asyncio.Task[Any]) -> None:
    """Those who asked may all have gone: then nobody else hears of a failure, and nobody needs to."""
    if not task.cancelled():
        task.exception()
