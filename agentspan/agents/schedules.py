"""Schedules of deployed agents: when the server starts them, and on what. They go on without this process.

Each function has a twin with `_async`. `runtime` says which server, by default that of the process's own runtime.
Names are those of the server: `{agent}-{name}`, as `save` and `list` give them.
"""

import builtins
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from agentspan.agents.exceptions import (
    InvalidCronExpression,
    ScheduleError,
    ScheduleNameConflict,
    ScheduleNotFound,
)
from agentspan.agents.handle import AgentHandle
from agentspan.agents.host import Host, own_host
from agentspan.agents.result import AgentResult
from agentspan.client.client import Client
from agentspan.client.errors import AgentAPIError

__all__ = [
    "InvalidCronExpression",
    "Schedule",
    "ScheduleError",
    "ScheduleInfo",
    "ScheduleNameConflict",
    "ScheduleNotFound",
    "delete",
    "delete_async",
    "get",
    "get_async",
    "list",
    "list_async",
    "pause",
    "pause_async",
    "preview_next",
    "preview_next_async",
    "resume",
    "resume_async",
    "run_now",
    "run_now_async",
    "save",
    "save_async",
]

Json = dict[str, Any]
T = TypeVar("T")

OVERLAPS = ("allow", "skip", "cancel_running")


@dataclass(frozen=True)
class Schedule:
    """When a deployed agent runs: a cron expression in a time zone.

    `cron`: minute hour day month weekday, or six fields with the seconds first. `input`: `prompt`, `context`, `media`,
    `session_id`; other keys go to the context. `catchup`: start what was missed while no server ran (the newest 100
    runs); else what is missed by more than a minute is left out. `start_at` and `end_at`: a datetime with a time zone,
    or ms since the epoch. `overlap`: what happens while the run before has not ended: "skip" the new one, "allow" both,
    or "cancel_running".
    """

    name: str
    cron: str
    timezone: str = "UTC"
    input: Json = field(default_factory=dict)
    catchup: bool = False
    paused: bool = False
    start_at: int | datetime | None = None
    end_at: int | datetime | None = None
    description: str | None = None
    overlap: str = "skip"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ScheduleError("a schedule needs a name")
        if not isinstance(self.cron, str) or not (self.cron.startswith("@") or len(self.cron.split()) in (5, 6)):
            raise InvalidCronExpression(
                f"the cron expression {self.cron!r} must have 5 fields (minute hour day month weekday), "
                "or 6 with the seconds first"
            )
        if self.overlap not in OVERLAPS:
            raise ScheduleError(f"overlap must be one of {', '.join(OVERLAPS)}, not {self.overlap!r}")
        start, end = _ms(self.start_at), _ms(self.end_at)
        if start and end and end <= start:
            raise ScheduleError("a schedule must end after it starts")


@dataclass(frozen=True)
class ScheduleInfo:
    """A schedule as the server has it; times in ms since the epoch. `problem`: why its last run could not begin."""

    name: str
    agent: str
    cron: str
    timezone: str = "UTC"
    paused: bool = False
    next_run_at: int | None = None
    last_run_at: int | None = None
    last_execution_id: str | None = None
    input: Json = field(default_factory=dict)
    catchup: bool = False
    overlap: str = "skip"
    start_at: int | None = None
    end_at: int | None = None
    description: str | None = None
    problem: str | None = None


async def save_async(agent: str, schedule: Schedule, *, runtime: Host | None = None) -> ScheduleInfo:
    """Keep a schedule of a deployed agent under `{agent}-{schedule.name}`, or replace the one of that name."""
    request = request_of(agent, schedule)
    return info_of(await _asked(runtime, lambda client: client.save_schedule(request)))


async def list_async(agent: str | None = None, *, runtime: Host | None = None) -> builtins.list[ScheduleInfo]:
    """The schedules of an agent, or all."""
    return [info_of(each) for each in await _asked(runtime, lambda client: client.schedules(agent))]


async def get_async(name: str, *, runtime: Host | None = None) -> ScheduleInfo:
    """One schedule; ScheduleNotFound if there is none of that name."""
    return info_of(await _asked(runtime, lambda client: client.schedule(name)))


async def pause_async(name: str, *, runtime: Host | None = None) -> None:
    """Let it rest; what falls into the rest is not caught up with."""
    await _asked(runtime, lambda client: client.pause_schedule(name))


async def resume_async(name: str, *, runtime: Host | None = None) -> None:
    """Let it go on with its next time."""
    await _asked(runtime, lambda client: client.resume_schedule(name))


async def delete_async(name: str, *, runtime: Host | None = None) -> None:
    """Remove it; runs that it began go on."""
    await _asked(runtime, lambda client: client.delete_schedule(name))


async def run_now_async(
    name: str,
    wait: bool = False,
    timeout: float | None = None,  # noqa: ASYNC109
    *,
    runtime: Host | None = None,
) -> AgentHandle | AgentResult:
    """Run it once now, beside its times: a handle, or with `wait` the result (TimeoutError after `timeout` seconds)."""
    started = await _asked(runtime, lambda client: client.run_schedule(name))
    handle = AgentHandle(started["executionId"], runtime or own_host())
    return await handle.join_async(timeout) if wait else handle


async def preview_next_async(
    cron: str, count: int = 5, timezone: str = "UTC", *, runtime: Host | None = None
) -> builtins.list[int]:
    """The next times of a cron expression, in ms since the epoch."""
    return await _asked(runtime, lambda client: client.next_moments(cron, count, timezone))


def save(agent: str, schedule: Schedule, *, runtime: Host | None = None) -> ScheduleInfo:
    """See `save_async`."""
    return (runtime or own_host()).portal.call(save_async(agent, schedule, runtime=runtime))


def list(agent: str | None = None, *, runtime: Host | None = None) -> builtins.list[ScheduleInfo]:  # the contract's
    """See `list_async`."""
    return (runtime or own_host()).portal.call(list_async(agent, runtime=runtime))


def get(name: str, *, runtime: Host | None = None) -> ScheduleInfo:
    """See `get_async`."""
    return (runtime or own_host()).portal.call(get_async(name, runtime=runtime))


def pause(name: str, *, runtime: Host | None = None) -> None:
    """See `pause_async`."""
    (runtime or own_host()).portal.call(pause_async(name, runtime=runtime))


def resume(name: str, *, runtime: Host | None = None) -> None:
    """See `resume_async`."""
    (runtime or own_host()).portal.call(resume_async(name, runtime=runtime))


def delete(name: str, *, runtime: Host | None = None) -> None:
    """See `delete_async`."""
    (runtime or own_host()).portal.call(delete_async(name, runtime=runtime))


def run_now(
    name: str, wait: bool = False, timeout: float | None = None, *, runtime: Host | None = None
) -> AgentHandle | AgentResult:
    """See `run_now_async`."""
    return (runtime or own_host()).portal.call(run_now_async(name, wait, timeout, runtime=runtime))


def preview_next(
    cron: str, count: int = 5, timezone: str = "UTC", *, runtime: Host | None = None
) -> builtins.list[int]:
    """See `preview_next_async`."""
    return (runtime or own_host()).portal.call(preview_next_async(cron, count, timezone, runtime=runtime))


def request_of(agent: str, schedule: Schedule) -> Json:
    """A schedule as Conductor's scheduler takes it."""
    return {
        "name": f"{agent}-{schedule.name}",
        "cronExpression": schedule.cron,
        "zoneId": schedule.timezone,
        "startWorkflowRequest": {"name": agent, "input": schedule.input},
        "paused": schedule.paused,
        "runCatchupScheduleInstances": schedule.catchup,
        "scheduleStartTime": _ms(schedule.start_at),
        "scheduleEndTime": _ms(schedule.end_at),
        "overlapPolicy": schedule.overlap,
        "description": schedule.description,
    }


def info_of(body: Json) -> ScheduleInfo:
    """The ScheduleInfo of the server's answer."""
    start = body.get("startWorkflowRequest") or {}
    return ScheduleInfo(
        name=body["name"],
        agent=start.get("name") or "",
        cron=body["cronExpression"],
        timezone=body.get("zoneId") or "UTC",
        paused=bool(body.get("paused")),
        next_run_at=body.get("nextRunTime"),
        last_run_at=body.get("lastRunTime"),
        last_execution_id=body.get("lastExecutionId"),
        input=start.get("input") or {},
        catchup=bool(body.get("runCatchupScheduleInstances")),
        overlap=body.get("overlapPolicy") or "skip",
        start_at=body.get("scheduleStartTime"),
        end_at=body.get("scheduleEndTime"),
        description=body.get("description") or None,
        problem=body.get("problem"),
    )


def all_named(schedules: builtins.list[Schedule] | None) -> builtins.list[Schedule]:
    """The schedules to save with an agent; ScheduleNameConflict if two have one name."""
    found = builtins.list(schedules or ())
    if wrong := next((each for each in found if not isinstance(each, Schedule)), None):
        raise TypeError(f"Expected a Schedule, got {type(wrong).__name__}")
    names = [each.name for each in found]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise ScheduleNameConflict(f"two schedules are named {double!r}")
    return found


async def _asked(runtime: Host | None, ask: Callable[[Client], Awaitable[T]]) -> T:
    """The server's answer; what it refuses is an error of schedules."""
    client = await (runtime or own_host()).client()
    try:
        return await ask(client)
    except AgentAPIError as problem:
        raise _error(problem) from problem


def _error(problem: AgentAPIError) -> Exception:
    if problem.status_code == 400 and "cron expression" in problem.message:
        return InvalidCronExpression(problem.message)
    if problem.status_code == 404 and "no schedule" not in problem.message:
        return problem
    kind = ERRORS.get(problem.status_code)
    return kind(problem.message) if kind else problem


def _ms(moment: int | datetime | None) -> int | None:
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ScheduleError(f"{moment.isoformat()} has no time zone: give start_at and end_at one")
        return int(moment.timestamp() * 1000)
    return moment


ERRORS: dict[int, type[ScheduleError]] = {400: ScheduleError, 404: ScheduleNotFound, 409: ScheduleNameConflict}
