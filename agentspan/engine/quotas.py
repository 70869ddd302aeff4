"""What a tenant may use: asked for before each start. Runs that go on are not ended; their budgets bound them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from agentspan.clock import now_ms
from agentspan.errors import TooMany
from agentspan.store.quotas import Use
from agentspan.store.reads import Reads

MINUTE_MS = 60_000
DAY_MS = 86_400_000


class Quotas:
    """`limits` gives the quotas as they are now: none by default."""

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.limits: Callable[[], Mapping[str, Any]] = dict
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """Where another run is begun, one after the other, so that each is counted before the next. TooMany."""
        limits = self.limits()
        if not limits:
            yield
            return
        async with self._alone:
            await self._check(limits)
            yield

    async def _check(self, limits: Mapping[str, Any]) -> None:
        now = now_ms()
        use = await self.reads.query(lambda c: Use.now(c, now - MINUTE_MS, now - now % DAY_MS))
        for name, (read, sentence) in QUOTAS.items():
            if name in limits and read(use) >= limits[name]:
                raise TooMany(sentence.format(f"{limits[name]:g}"))


QUOTAS: dict[str, tuple[Callable[[Use], float], str]] = {
    "runningExecutions": (
        lambda use: use.running,
        "{} runs of this tenant are under way already, as many as it may have; wait for one to end, or cancel one",
    ),
    "startsPerMinute": (
        lambda use: use.started,
        "{} runs of this tenant began within a minute, as many as it may start; try again in a moment",
    ),
    "tokensPerDay": (
        lambda use: use.tokens,
        "this tenant has used the {} tokens that it has a day (in UTC); ask an admin for more, or wait for tomorrow",
    ),
    "dollarsPerDay": (
        lambda use: use.dollars,
        "this tenant has spent the {} dollars that it has a day (in UTC); ask an admin for more, or wait for tomorrow",
    ),
}
