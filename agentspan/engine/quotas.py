"""What a tenant may use: asked for before each start. Runs that go on are not ended; their budgets bound them."""

from collections.abc import Callable, Mapping
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

    async def check(self) -> None:
        """TooMany if another run may not start now."""
        limits = self.limits()
        if not limits:
            return
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
