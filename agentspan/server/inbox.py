"""The inbox: every open request that waits for a person, of all runs."""

from agentspan.server.executions import request
from agentspan.server.handler import Handler, Route


class Inbox(Handler):
    may_be_a_link = True

    async def get(self) -> None:
        """The open requests, oldest first; with `executionId` those of one run and below it."""
        open_requests = await self.reads.requests(self.param("executionId"))
        self.answer({"totalHits": len(open_requests), "requests": [request(each) for each in open_requests]})


ROUTES = [Route("/api/inbox", Inbox)]
