"""One run looked into: its tasks as spans of time, one of them closely, the run at an event, and why it stands."""

from typing import Any

import msgspec

from agentspan.engine import why
from agentspan.engine.inspection import Inspection
from agentspan.errors import BadInput
from agentspan.server.executions import ReadHandler, request
from agentspan.server.handler import Route

Json = dict[str, Any]


class Timeline(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """The run and all below it as executions and spans of tasks; with `after`, what is new since that event."""
        self.answer(await self.engine.history.timeline(execution_id, self.number("after", 0)))


class Reasons(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """Why the run does not go on, or what it does now, or why it failed, with what to do about it."""
        self.answer(await why.asked(self.engine, execution_id))


class Detail(ReadHandler):
    async def get(self, task_id: str) -> None:
        """One task closely: what it was given and gave, what its model was sent, its attempts, what it wrote."""
        self.answer(detail(await self.engine.history.task(task_id)))


class Moment(ReadHandler):
    async def get(self, execution_id: str, seq: str) -> None:
        """The run as it stood right after an event: state, messages, what was open, what it had cost."""
        if not seq.isdecimal() or len(seq) > 15:
            raise BadInput(f"an event has a number from 1 on, not {seq!r}; the steps of the run list them")
        self.answer(await self.engine.history.moment(execution_id, int(seq)))


def detail(found: Inspection) -> Json:
    asked = found.asked or {}
    return {
        **msgspec.to_builtins(found.span),
        "error": found.error,
        "input": found.given,
        "output": found.output,
        "messages": asked.get("messages"),
        "tools": asked.get("tools"),
        "parameters": asked.get("parameters"),
        "attempts": found.attempts,
        "logs": [{"at": at, "text": text} for at, text in found.logs],
        "credentials": found.credentials,
        "request": request(found.request) if found.request else None,
        "latencyMs": found.latency_ms,
        "queueMs": found.queue_ms,
        "forkAt": found.fork_at,
        "forkEdits": found.fork_edits,
    }


ROUTES = [
    Route("/api/agent/{execution_id}/timeline", Timeline),
    Route("/api/agent/{execution_id}/why", Reasons),
    Route("/api/agent/tasks/{task_id}/detail", Detail),
    Route("/api/agent/{execution_id}/at/{seq}", Moment),
]
