"""Removes runs that were kept for long enough, a few at a time, so that nobody waits for it.

Only whole trees that have ended go. A run that the next one of its session would be told of stays until the session's
last run is to go as well; both go together, and with them the session. Of several servers one does it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from agentspan.clock import now_ms
from agentspan.config import ENDED, Rule
from agentspan.core.ids import split_execution
from agentspan.engine.commands import Ask
from agentspan.engine.desk import Desk
from agentspan.errors import AgentspanError, BadInput, Conflict
from agentspan.store import database, retention
from agentspan.store.ledger import Transaction
from agentspan.store.retention import Old

log = logging.getLogger("agentspan.retention")

T = TypeVar("T")

EVERY_SECONDS = 600.0
READ_AT_ONCE = 500
TREES = 20
"""So many runs go in one transaction."""
ROWS = 500
"""So many rows are deleted in one transaction."""
PAGES = 200
"""So many free pages an SQLite file gives back in one transaction."""
PAUSE_SECONDS = 0.02
"""Others may write in between."""
SPECS = 100
DAY_MS = 86_400_000


class Removed(Struct):
    """What was removed, or would be: runs, rows after them, and definitions that nobody uses. `more`: there are more
    runs to remove than were asked for."""

    runs: int = 0
    rows: int = 0
    specs: int = 0
    more: bool = False


class Remove(Ask, kw_only=True):
    """Let trees go, each only if it has still ended and no run to come would be told of it; gives how many went.
    `wanted`: somebody wants them gone, though the next run of their session will not know of them."""

    wanted: bool = False

    def apply(self, transaction: Transaction, desk: Desk | None) -> int:
        gone = 0
        for tree in self.trees:
            old = retention.one(transaction.connection, tree)
            is_free = self.wanted or (old and retention.is_free(transaction.connection, old))
            if old and is_free and _is_over(transaction, old):
                retention.remove(transaction.connection, [old], transaction.at)
                gone += 1
        return gone


class Clear(Ask, kw_only=True):
    """Delete some rows of trees that went; gives how many, 0 if there are none."""

    late: bool = True

    def apply(self, transaction: Transaction, desk: Desk | None) -> int:
        return retention.clear(transaction.connection, ROWS)


class Forget(Ask, kw_only=True):
    """Delete definitions that nobody has used since a moment."""

    digests: Sequence[str]
    before: int
    late: bool = True

    def apply(self, transaction: Transaction, desk: Desk | None) -> int:
        return retention.remove_specs(transaction.connection, self.digests, self.before)


class GiveBack(Ask, kw_only=True):
    """Let an SQLite file become smaller; gives by how many pages, 0 if there are no free ones."""

    late: bool = True

    def apply(self, transaction: Transaction, desk: Desk | None) -> int:
        return database.give_back(transaction.connection, PAGES)


Query = Callable[[Callable[[Any], T]], Awaitable[T]]
Do = Callable[[Any], Awaitable[Any]]


class Retention:
    """`query` reads, `do` writes; `is_mine` says whether this server is the one to do it."""

    def __init__(
        self, rules: Sequence[Rule], query: Query[Any], do: Do, is_mine: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        self.rules, self.query, self.do = rules, query, do
        self._is_mine = is_mine

    async def run(self) -> None:
        """Remove what is to go, for ever."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                if self._is_mine is None or await self._is_mine():
                    removed = await self.sweep(self.rules)
                    if removed.runs:
                        log.info("removed %d runs", removed.runs)
            except AgentspanError as problem:
                log.warning("cannot remove old runs: %s", problem.message)

    async def sweep(self, rules: Sequence[Rule], *, most: int = 0, dry_run: bool = False) -> Removed:
        """Remove all that the rules say, or `most` runs of it; `dry_run` only counts them."""
        removed = Removed()
        if rules:
            await self._runs(Judge(rules, self.query, now_ms()), removed, most, dry_run)
        if dry_run:
            return removed
        removed.rows += await self._repeated(Clear())
        removed.specs = await self._specs()
        if removed.rows:
            await self._repeated(GiveBack())
        return removed

    async def remove(self, execution: str) -> None:
        """Remove one run that has ended, for ever. NotFound, Conflict if it goes on."""
        tree, number = split_execution(execution)
        if number:
            raise BadInput(f"{execution} is a part of the run {tree}; remove that one")
        if not await self.do(Remove(trees=[tree], wanted=True)):
            status = await self.query(lambda c: retention.status_of(c, tree))
            raise Conflict(f"execution {execution} is {status}; end it first, or let it end")
        await self._repeated(Clear())

    async def _runs(self, judge: "Judge", removed: Removed, most: int, dry_run: bool) -> None:
        place, seen = (0, ""), dict[str, None]()
        while True:
            known = len(seen)
            page = await self._page(place, judge.before)
            for each in page:
                seen |= dict.fromkeys(await judge.going(each))
            going = list(seen)[known : most or None]
            if dry_run:
                removed.runs += len(going)
            else:
                await self._remove(going, removed)
            if most and len(seen) >= most:
                removed.more = len(seen) > most or len(page) == READ_AT_ONCE
                return
            if len(page) < READ_AT_ONCE:
                return
            place = page[-1].place

    async def _page(self, after: tuple[int, str], before: int) -> list[Old]:
        page: list[Old] = await self.query(lambda c: retention.ended(c, after, before, READ_AT_ONCE))
        return page

    async def _remove(self, trees: Sequence[str], removed: Removed) -> None:
        for start in range(0, len(trees), TREES):
            removed.runs += await self.do(Remove(trees=trees[start : start + TREES]))
            removed.rows += await self.do(Clear())
            await asyncio.sleep(PAUSE_SECONDS)

    async def _specs(self) -> int:
        before = now_ms() - DAY_MS
        gone = 0
        while found := await self.query(lambda c: retention.unused_specs(c, before, SPECS)):
            some = await self.do(Forget(digests=found, before=before))
            gone += some
            if not some:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        return gone

    async def _repeated(self, command: Ask) -> int:
        """Do it until there is nothing left to do."""
        total = 0
        while done := await self.do(command):
            total += done
            await asyncio.sleep(PAUSE_SECONDS)
        return total


class Judge:
    """Says by rules which runs are to go at a moment. The first rule that is about a run holds for it."""

    def __init__(self, rules: Sequence[Rule], query: Query[Any], now: int) -> None:
        self.rules, self.query, self.now = rules, query, now
        ages = [rule.age_ms for rule in rules]
        endless = any(rule.most is not None for rule in rules)
        self.before = now + 1 if endless else now - min(age for age in ages if age is not None)
        self._newest: dict[tuple[str, Rule], tuple[int, str]] = {}

    async def going(self, old: Old) -> list[str]:
        """The trees that go if this one does, in that order: it, and before it the last one of its session if that
        would be told of it. None if it stays."""
        if not await self.is_due(old):
            return []
        if not old.session_id:
            return [old.tree]
        last = await self.query(lambda c: retention.last_of_session(c, old))
        if last in ("", old.tree) or not await self.query(lambda c: retention.is_remembered(c, old)):
            return [old.tree]
        found = await self.query(lambda c: retention.one(c, last))
        return [last, old.tree] if found and await self.is_due(found) else []

    async def is_due(self, old: Old) -> bool:
        rule = rule_of(self.rules, old.agent, old.status)
        if rule is None:
            return False
        if rule.age_ms is not None and old.ended_at < self.now - rule.age_ms:
            return True
        return rule.most is not None and (old.started_at, old.tree) < await self._first(old.agent, rule)

    async def _first(self, agent: str, rule: Rule) -> tuple[int, str]:
        """Where the newest runs begin that a rule keeps of an agent."""
        key = agent, rule
        if key not in self._newest:
            status = [each for each in ENDED if rule_of(self.rules, agent, each) is rule]
            self._newest[key] = await self.query(lambda c: retention.newest(c, agent, status, rule.most or 0))
        return self._newest[key]


def rule_of(rules: Sequence[Rule], agent: str, status: str) -> Rule | None:
    """The rule that holds for runs of an agent with a status."""
    return next((rule for rule in rules if rule.fits(agent, status)), None)


def _is_over(transaction: Transaction, old: Old) -> bool:
    """Whether the whole tree has ended, as this transaction has it under lock."""
    held = transaction.held.get(old.tree)
    return held is not None and all(run.ended for run in held.tree.runs.values())
