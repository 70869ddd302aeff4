"""Who works: workers and queues, each with the sentence that says how it is."""

from agentspan.server.executions import ReadHandler
from agentspan.server.handler import Route


class Workers(ReadHandler):
    async def get(self) -> None:
        """Every worker that was heard of, with what it holds, and every queue, with what waits there."""
        self.answer(await self.engine.roster())


ROUTES = [Route("/api/workers", Workers)]
