"""Reports absence: leases that expired, deadlines that passed, delayed tasks that became available.

Asleep until the next such moment; an idle server sleeps and writes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from agentspan.clock import now_ms
from agentspan.engine.commands import Expire, ExpireExecution
from agentspan.engine.pollers import Pollers
from agentspan.engine.writer import Writer
from agentspan.errors import AgentspanError
from agentspan.store import queue
from agentspan.store.reads import Reads
from agentspan.store.views import Want

log = logging.getLogger("agentspan.sweeper")

AT_ONCE = 500
LONGEST_SECONDS = 15.0
"""A look at the database at least so often, in case the moment was set by another replica."""
AFTER_ERROR_SECONDS = 0.5


class Sweeper:
    """`match` looks for tasks for those who wait; `others` are told the time and give the moment to be told again."""

    def __init__(
        self,
        reads: Reads,
        writer: Writer,
        pollers: Pollers,
        match: Callable[[Sequence[Want]], Awaitable[None]],
        *others: Callable[[int], Awaitable[int]],
    ) -> None:
        self.reads, self.writer, self.pollers, self.match, self.others = reads, writer, pollers, match, others
        self._next = 0
        self.late_ms = 0
        """How late the last look was for what was due by then."""
        self._sooner = asyncio.Event()
        self._seen = now_ms()

    def due(self, moment: int) -> None:
        """Look by then."""
        if moment and (not self._next or moment < self._next):
            self._next = moment
            self._sooner.set()

    async def run(self) -> None:
        while True:
            try:
                await self.sweep()
                await self._sleep()
            except AgentspanError as problem:
                log.warning("sweep failed: %s", problem)
                await asyncio.sleep(AFTER_ERROR_SECONDS)

    async def sweep(self) -> None:
        """Report everything that is due now."""
        now = now_ms()
        self.late_ms = max(0, now - self._next) if self._next else 0
        self._next = 0
        self._sooner.clear()
        tasks = await self.reads.query(lambda c: queue.due(c, now, AT_ONCE))
        ended = await self.reads.query(lambda c: queue.due_executions(c, now, AT_ONCE))
        commands = [Expire(trees=(row.tree,), task=(row.tree, row.number)) for row in tasks]
        endings = [ExpireExecution(trees=(row.tree,), execution=(row.tree, row.number)) for row in ended]
        await asyncio.gather(*(self.writer.do(each) for each in commands), *(self.writer.do(each) for each in endings))
        available = [
            Want(*each) for each in await self.reads.query(lambda c: queue.newly_available(c, self._seen, now))
        ]
        self._seen = now
        for want in available:
            self.pollers.put(want)
        await self.match(available)
        self.due(await self.reads.query(lambda c: queue.next_moment(c, now)))
        for other in self.others:
            self.due(await other(now))

    async def _sleep(self) -> None:
        """Until the next moment, or a sooner one that becomes known."""
        while True:
            left = LONGEST_SECONDS if not self._next else min((self._next - now_ms()) / 1000, LONGEST_SECONDS)
            if left <= 0:
                return
            self._sooner.clear()
            try:
                async with asyncio.timeout(left):
                    await self._sooner.wait()
            except TimeoutError:
                return
