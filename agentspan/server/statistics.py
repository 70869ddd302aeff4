"""Sums over many runs, for who looks at all of them: how they ended, what they cost, which values they have."""

from agentspan.errors import BadInput
from agentspan.server import listing
from agentspan.server.executions import ReadHandler
from agentspan.server.handler import Route

DAY_MS = 86_400_000
MAX_BUCKETS = 500
BY = ("agent", "model", "day", "session")


class PeriodHandler(ReadHandler):
    """Of a time from `since` to `until`, in milliseconds; until now, if nothing else is said."""

    def period(self, length_ms: int) -> tuple[int, int]:
        until = self.number("until", 0) or self.engine.now
        since = self.number("since", 0) or max(0, until - length_ms)
        if since >= until:
            raise BadInput(f"since must be before until, not {since} and {until}")
        return since, until


class Statistics(PeriodHandler):
    async def get(self) -> None:
        """The runs that began in a time: by status, in buckets, how long they took, why they failed; and what waits."""
        buckets = self.number("buckets", 60, 1, MAX_BUCKETS)
        self.answer(await self.reads.statistics(*self.period(DAY_MS), buckets, self.param("agentName")))


class Costs(PeriodHandler):
    async def get(self) -> None:
        """What was spent in a time, `by` agent, model, day or session."""
        by = self.param("by", "agent")
        if by not in BY:
            raise BadInput(f"costs are summed by one of {', '.join(BY)}, not by {by!r}")
        self.answer(await self.reads.costs(by, *self.period(30 * DAY_MS)))


class Facets(ReadHandler):
    async def get(self) -> None:
        """The values that the runs of a list have, and how many have each; the same filters as the list."""
        self.answer(await self.reads.facets(listing.wanted(self)))


ROUTES = [
    Route("/api/stats", Statistics),
    Route("/api/costs", Costs),
    Route("/api/agent/executions/facets", Facets),
]
