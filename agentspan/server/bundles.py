"""Runs as histories: their steps and forks, two of them compared, one as a file and back."""

from typing import Any

import msgspec

from agentspan.errors import BadInput
from agentspan.server.executions import ReadHandler
from agentspan.server.handler import Handler, Route

Json = dict[str, Any]


class Steps(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """Every event of the run as a line, with what a fork at it can change."""
        self.answer({"steps": msgspec.to_builtins(await self.engine.history.steps(execution_id))})


class Forks(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """The runs that were forked from this one, newest first."""
        found = await self.engine.history.forks(execution_id)
        self.answer(
            [
                {
                    "executionId": row.execution_id,
                    "agentName": row.agent_name,
                    "status": row.status,
                    "startTime": row.started_at,
                    "at": at,
                }
                for row, at in found
            ]
        )


class Compare(ReadHandler):
    async def get(self) -> None:
        """Two runs step by step: the first difference, tokens, cost and time."""
        a, b = self.param("a"), self.param("b")
        if not a or not b:
            raise BadInput("compare two runs: ?a=ID&b=ID")
        self.answer(msgspec.to_builtins(await self.engine.history.compare(a, b)))


class Export(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """The run as a file of JSON Lines: its agent, every event, what its tasks wrote."""
        data = await self.engine.history.export(execution_id)
        self.set_header("Content-Type", "application/x-ndjson")
        self.set_header("Content-Disposition", f'attachment; filename="{execution_id}.jsonl"')
        self.finish(data)


class Import(Handler):
    accepts_text = True

    async def post(self) -> None:
        """A run out of such a file, under a new id, to be read; one that had not ended goes on with `resume`."""
        if not self.request.body:
            raise BadInput("the body must be the file of an exported run")
        resume = self.switch("resume")
        async with self.engine.quotas.room():
            name, before = await self.engine.history.take_in(self.request.body, resume=resume)
        self.answer({"executionId": name, "importedFrom": before})


ROUTES = [
    Route("/api/agent/{execution_id}/steps", Steps),
    Route("/api/agent/{execution_id}/forks", Forks),
    Route("/api/agent/{execution_id}/export", Export),
    Route("/api/agent/compare", Compare),
    Route("/api/agent/import", Import),
]
