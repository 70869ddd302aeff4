"""Removing runs, one by one or by a rule: what is removed is gone for ever."""

import msgspec

from agentspan.config import ENDED, Rule, length_ms
from agentspan.errors import BadInput, Conflict
from agentspan.server import conductor, control
from agentspan.server.handler import Handler, Route

AT_ONCE = 1000


class PruneRequest(msgspec.Struct, rename="camel", kw_only=True):
    """Ended runs of these statuses (of any) and of this agent (of any) that ended longer ago than `older_than`, such as
    30d, or that are not among the newest `keep` of their agent."""

    older_than: str | None = None
    keep: int | None = None
    status: list[str] = []
    agent: str = ""
    dry_run: bool = False

    def rule(self) -> Rule:
        """BadInput with what is missing."""
        if self.older_than is None and self.keep is None:
            raise BadInput("say which runs: olderThan, such as 30d, or keep, the number that stays of each agent")
        if wrong := sorted({each.upper() for each in self.status} - set(ENDED)):
            raise BadInput(f"status is one of {', '.join(ENDED)}, not {', '.join(wrong)}")
        if self.keep is not None and self.keep < 0:
            raise BadInput(f"keep is 0 or more, not {self.keep}")
        try:
            age = None if self.older_than is None else length_ms(self.older_than)
        except ValueError:
            raise BadInput(f"olderThan is a number of d, h, m or s, such as 30d, not {self.older_than!r}") from None
        return Rule(tuple(each.upper() for each in self.status), self.agent, age, self.keep)


class Prune(Handler):
    async def post(self) -> None:
        """Remove old runs, up to 1,000 of them: how many were, and whether there are `more`. With `dryRun` only say how
        many would be."""
        request = self.body(PruneRequest)
        most = 0 if request.dry_run else AT_ONCE
        work = self.engine.retention.sweep([request.rule()], most=most, dry_run=request.dry_run)
        removed = await self.while_open(work)
        self.answer({**msgspec.to_builtins(removed), "dryRun": request.dry_run})


class Remove(Handler):
    async def delete(self, execution_id: str) -> None:
        """Remove a run that has ended, for ever."""
        await self.engine.retention.remove(execution_id)
        self.answer_nothing()


class TerminateRemove(Handler):
    async def delete(self, execution_id: str) -> None:
        """End a run if it has not ended, and remove it for ever."""
        await end(self, execution_id)
        await self.engine.retention.remove(execution_id)
        self.answer_nothing()


class BulkRemove(control.Bulk):
    async def delete(self) -> None:
        """Remove runs that have ended, for ever."""
        errors, done = await self.each(self.engine.retention.remove)
        self.answer(conductor.bulk(errors, done))


class BulkTerminateRemove(control.Bulk):
    async def delete(self) -> None:
        """End runs that have not ended, and remove all for ever."""

        async def take(execution_id: str) -> None:
            await end(self, execution_id)
            await self.engine.retention.remove(execution_id)

        errors, done = await self.each(take)
        self.answer(conductor.bulk(errors, done))


async def end(handler: Handler, execution_id: str) -> None:
    """End a run, unless it has ended."""
    try:
        await handler.engine.cancel(execution_id, handler.param("reason"))
    except Conflict:
        return


ROUTES = [
    Route("/api/admin/prune", Prune),
    Route("/api/workflow/{execution_id}/remove", Remove),
    Route("/api/workflow/{execution_id}/terminate-remove", TerminateRemove),
    Route("/api/workflow/bulk/remove", BulkRemove),
    Route("/api/workflow/bulk/terminate-remove", BulkTerminateRemove),
]
