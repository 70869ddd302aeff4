"""What is asked of a running or ended execution: pause, resume, stop, signal, cancel, budget, fork, retry, rerun."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from agentspan.errors import AgentspanError, BadInput
from agentspan.server import conductor
from agentspan.server.handler import Handler, Route
from agentspan.server.limits import check_items

Json = dict[str, Any]


class Signal(msgspec.Struct, rename="camel"):
    message: str


class ForkRequest(msgspec.Struct, rename="camel"):
    at: int
    edits: Json = {}


class RerunRequest(msgspec.Struct, rename="camel"):
    re_run_from_workflow_id: str | None = None
    re_run_from_task_id: str | None = None
    workflow_input: Json | None = None
    task_input: Json | None = None


class Pause(Handler):
    async def put(self, execution_id: str) -> None:
        """Start nothing new in the run until it is resumed; what runs may end."""
        await self.engine.pause(execution_id)
        self.answer_nothing()


class Resume(Handler):
    async def put(self, execution_id: str) -> None:
        """Let a paused run go on."""
        await self.engine.resume(execution_id)
        self.answer_nothing()


class Stop(Handler):
    async def post(self, execution_id: str) -> None:
        """Let the run end gracefully, without another turn."""
        await self.engine.stop(execution_id)
        self.answer_nothing()


class SignalRun(Handler):
    async def post(self, execution_id: str) -> None:
        """Text that the model sees from the next turn on; empty text takes it back."""
        await self.engine.signal(execution_id, self.body(Signal).message)
        self.answer_nothing()


class Cancel(Handler):
    async def delete(self, execution_id: str) -> None:
        """End the run and all below it now."""
        await self.engine.cancel(execution_id, self.param("reason"))
        self.answer_nothing()


class Budget(Handler):
    async def post(self, execution_id: str) -> None:
        """Other limits for the whole run; one that was ended for the ones before goes on where it was."""
        self.answer({"executionId": execution_id, "budget": await self.engine.budget(execution_id, self.json_object())})


class Fork(Handler):
    async def post(self, execution_id: str) -> None:
        """A new run whose history is this one's up to event `at`, with edits; no task of the shared part runs again."""
        asked = self.body(ForkRequest)
        self.answer({"executionId": await self.engine.fork(execution_id, asked.at, asked.edits)})


class Retry(Handler):
    async def post(self, execution_id: str) -> None:
        """Let a failed run go on from where it failed."""
        await self.engine.retry(execution_id)
        self.answer_nothing()


class Rerun(Handler):
    async def post(self, execution_id: str) -> None:
        """Run again, from a task or from the start, as a new run; its id as text."""
        self.answer_text(await rerun(self, execution_id))


class Bulk(Handler):
    """The same for many runs: each succeeds or fails for itself."""

    async def each(self, action: Callable[[str], Awaitable[Any]]) -> tuple[dict[str, str], list[str]]:
        """Why which failed, and which succeeded."""
        ids = self.json()
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise BadInput("the body must be a list of execution ids")
        check_items(len(ids), "runs")
        errors: dict[str, str] = {}
        succeeded: list[str] = []
        for each in dict.fromkeys(ids):
            try:
                await action(each)
                succeeded.append(each)
            except AgentspanError as problem:
                errors[each] = problem.message
        return errors, succeeded

    async def apply(self, action: Callable[[str], Awaitable[Any]]) -> None:
        self.answer(conductor.bulk(*await self.each(action)))


class BulkPause(Bulk):
    async def put(self) -> None:
        """Pause many runs."""
        await self.apply(self.engine.pause)


class BulkResume(Bulk):
    async def put(self) -> None:
        """Resume many runs."""
        await self.apply(self.engine.resume)


class BulkRetry(Bulk):
    async def post(self) -> None:
        """Retry many runs."""
        await self.apply(self.engine.retry)


class BulkTerminate(Bulk):
    async def post(self) -> None:
        """End many runs now."""
        reason = self.param("reason")
        await self.apply(lambda each: self.engine.cancel(each, reason))


async def rerun(handler: Handler, execution_id: str) -> str:
    """The new run's id."""
    asked = handler.body(RerunRequest)
    if asked.task_input:
        raise BadInput("taskInput cannot be replaced by a rerun; fork the run at an event, with edits")
    return await handler.engine.rerun(execution_id, asked.re_run_from_task_id or "", asked.workflow_input)


ROUTES = [
    Route("/api/agent/{execution_id}/budget", Budget),
    Route("/api/agent/{execution_id}/pause", Pause),
    Route("/api/agent/{execution_id}/resume", Resume),
    Route("/api/agent/{execution_id}/stop", Stop),
    Route("/api/agent/{execution_id}/signal", SignalRun),
    Route("/api/agent/{execution_id}/cancel", Cancel),
    Route("/api/agent/executions/{execution_id}/fork", Fork),
    Route("/api/agent/executions/{execution_id}/retry", Retry),
    Route("/api/agent/executions/{execution_id}/rerun", Rerun),
    Route("/api/agent/executions/bulk/pause", BulkPause),
    Route("/api/agent/executions/bulk/resume", BulkResume),
    Route("/api/agent/executions/bulk/retry", BulkRetry),
    Route("/api/agent/executions/bulk/terminate", BulkTerminate),
]
