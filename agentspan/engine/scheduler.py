"""Starts what schedules say, when they say it: each tick once, whatever server sees it first.

The ticks that are due, the starts and the next moment are one transaction, which nothing happens in unless the
schedule is still due at the moment that was read: several servers may try, one does it, and a server that dies before
the commit has started nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from agentspan.clock import new_id
from agentspan.core import events as e
from agentspan.core.advance import ROOT
from agentspan.engine import cron
from agentspan.engine.commands import Ask, begin
from agentspan.engine.desk import Desk
from agentspan.engine.writer import Writer
from agentspan.errors import AgentspanError, BadInput, Conflict, NotFound, Unavailable
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.store import definitions, schedules
from agentspan.store.ledger import Meta, Transaction
from agentspan.store.reads import Reads
from agentspan.store.views import Kept, Schedule

log = logging.getLogger("agentspan.scheduler")

Json = dict[str, Any]
Find = Callable[[str, int | None], Awaitable[tuple[AgentSpec, int]]]

AT_ONCE = 100
MOST_TICKS = 100
"""So many missed ticks are caught up with at most, the newest."""
LATE_MS = 60_000
"""A tick that is found later than this was missed: it is started only if the schedule catches up."""
INPUTS = ("prompt", "context", "media", "session_id")


class Scheduler:
    """`find` gives the definition of a deployed agent as a run of it would begin now, and its version."""

    def __init__(self, reads: Reads, writer: Writer, find: Find) -> None:
        self.reads, self.writer, self.find = reads, writer, find

    async def run(self, now: int) -> int:
        """Start everything that is due; gives the moment to look again, 0 if there is none."""
        found = await self.reads.query(lambda c: schedules.due(c, now, AT_ONCE))
        await asyncio.gather(*(self._start(each, now) for each in found))
        return await self.reads.query(schedules.next_due)

    async def _start(self, kept: Kept, now: int) -> None:
        schedule = kept.schedule
        starts: list[Begin] = []
        problem, next_at = "", 0
        try:
            ticks, next_at = await asyncio.to_thread(plan, kept, now)
            if ticks:
                spec, version = await self.find(schedule.agent, schedule.version)
                starts = [start_of(schedule, tick, spec, version) for tick in ticks]
        except Unavailable:
            raise
        except AgentspanError as error:
            problem = error.message
            log.warning("schedule %s cannot start agent %s: %s", schedule.name, schedule.agent, problem)
        trees = (kept.last_tree,) if kept.last_tree else ()
        await self.writer.do(Tick(trees=trees, kept=kept, starts=starts, next_at=next_at, problem=problem))


class Begin(msgspec.Struct, frozen=True):
    """One start that a tick asks for."""

    tick: int
    meta: Meta
    spec: AgentSpec
    input: Json


class Tick(Ask, kw_only=True):
    """What a schedule was due for; gives the executions that began. Nothing if another server was first."""

    kept: Kept
    starts: Sequence[Begin]
    next_at: int
    problem: str = ""

    @property
    def claims(self) -> tuple[str, ...]:
        schedule = self.kept.schedule
        return (schedule.agent, str(schedule.input.get("session_id") or ""), f"schedule:{schedule.name}")

    def apply(self, transaction: Transaction, desk: Desk) -> list[str]:
        to, schedule = transaction.connection, self.kept.schedule
        if not schedules.move(to, schedule.name, self.kept.due_at, self.next_at, self.problem):
            return []
        begun = [each for each in self.starts if self._may_begin(transaction) and self._begin(transaction, each)]
        if self.starts:
            schedules.ran(to, schedule.name, self.starts[-1].tick, begun[-1].meta.tree if begun else "")
        return [each.meta.tree for each in begun]

    def _may_begin(self, transaction: Transaction) -> bool:
        """By the overlap policy. It looks at the run of the tick before: what is caught up with runs side by side."""
        held = transaction.held.get(self.kept.last_tree)
        run = held.tree.runs.get(ROOT) if held else None
        if run is None or run.ended or self.kept.schedule.overlap == "allow":
            return True
        if self.kept.schedule.overlap == "cancel_running":
            reason = f"replaced by the next run of schedule {self.kept.schedule.name}"
            transaction.append(self.kept.last_tree, [(ROOT, e.ExecutionTerminated(reason))])
            return True
        return False

    def _begin(self, transaction: Transaction, start: Begin) -> bool:
        to, key = transaction.connection, f"schedule:{self.kept.schedule.name}:{start.tick}"
        if definitions.claim_key(to, start.spec.name, key, start.meta.tree) != start.meta.tree:
            return False
        try:
            begin(transaction, start.meta, start.spec, start.input)
        except Conflict as problem:  # its session is being written
            definitions.release_key(to, start.spec.name, key)
            log.warning("schedule %s: %s", self.kept.schedule.name, problem.message)
            return False
        return True


def plan(kept: Kept, now: int) -> tuple[list[int], int]:
    """The ticks to start now, in order, and the moment of the next one."""
    schedule = kept.schedule
    ticks = cron.passed(schedule.cron, schedule.zone, kept.due_at, now, MOST_TICKS)
    if schedule.end_at:
        ticks = [tick for tick in ticks if tick <= schedule.end_at]
    if not schedule.catch_up:
        ticks = [tick for tick in ticks[-1:] if now - tick <= LATE_MS]
    return ticks, next_of(schedule, now)


def next_of(schedule: Schedule, now: int) -> int:
    """When the schedule is due after `now`; 0 for never."""
    if schedule.paused:
        return 0
    after = max(now, schedule.start_at - 1)
    return cron.following(schedule.cron, schedule.zone, after, schedule.end_at)


def start_of(schedule: Schedule, tick: int, spec: AgentSpec, version: int) -> Begin:
    meta = Meta(
        new_id(), wire.digest(spec), str(schedule.input.get("session_id") or ""),
        f"schedule:{schedule.name}:{tick}", schedule.run_id, schedule.priority, version,
    )  # fmt: skip
    return Begin(tick, meta, spec, input_of(schedule, tick))


def input_of(schedule: Schedule, tick: int) -> Json:
    """What the run of a tick is given: the schedule's input, and when and by what it was started."""
    at = cron.written(tick, schedule.zone)
    given = {key: value for key, value in schedule.input.items() if key in INPUTS and value}
    more = {key: value for key, value in schedule.input.items() if key not in INPUTS}
    if more:
        given["context"] = {**more, **given.get("context", {})}
    if not str(given.get("prompt") or "").strip() and not given.get("context"):
        given["prompt"] = f"Scheduled run at {at}."
    return {"prompt": "", **given, "_schedule": {"name": schedule.name, "at": at}}


def check(schedule: Schedule) -> None:
    """Raise BadInput for a schedule that cannot be kept."""
    if not schedule.name or not schedule.agent:
        raise BadInput("a schedule needs a name and the name of a deployed agent")
    cron.check(schedule.cron, schedule.zone)
    if schedule.overlap not in schedules.OVERLAPS:
        raise BadInput(f"overlap must be one of {', '.join(schedules.OVERLAPS)}, not {schedule.overlap!r}")
    if schedule.end_at and schedule.end_at <= schedule.start_at:
        raise BadInput("a schedule must end after it starts")
    if not isinstance(schedule.input.get("context") or {}, dict):
        raise BadInput("the context of a schedule's input is a JSON object")


def save(transaction: Transaction, schedule: Schedule) -> Kept:
    """Store a schedule, and say when it is due. Conflict if another agent has one of that name."""
    to = transaction.connection
    before = schedules.find(to, schedule.name)
    if before and before.schedule.agent != schedule.agent:
        raise Conflict(f"there is a schedule {schedule.name!r} of another agent, {before.schedule.agent!r}")
    same = before and all(getattr(schedule, name) == getattr(before.schedule, name) for name in TIMES)
    due_at = before.due_at if before and same else next_of(schedule, transaction.at)
    schedules.save(to, schedule, due_at, transaction.at)
    return find(transaction, schedule.name)


def pause(transaction: Transaction, name: str, paused: bool) -> Kept:
    """Let a schedule rest, or go on with its next tick: those of its rest are not caught up with."""
    schedule = find(transaction, name).schedule
    return save(transaction, msgspec.structs.replace(schedule, paused=paused))


def find(transaction: Transaction, name: str) -> Kept:
    kept = schedules.find(transaction.connection, name)
    if kept is None:
        raise NotFound(f"there is no schedule {name!r}")
    return kept


TIMES = ("cron", "zone", "paused", "start_at", "end_at")
"""What says when a schedule is due: to save the rest anew must not lose a tick."""
