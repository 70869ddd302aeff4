"""Schedules, in Conductor's words and under its paths: when a deployed agent is started, and on what."""

from typing import Any

import msgspec

from agentspan.errors import BadInput
from agentspan.server.conductor import StartWorkflow
from agentspan.server.handler import Handler, Route
from agentspan.server.workflow import domain_of
from agentspan.store.views import Kept, Schedule

Json = dict[str, Any]

MOST_SHOWN = 100


class SaveSchedule(msgspec.Struct, rename="camel"):
    """A schedule as Conductor's clients send it; `overlapPolicy` is allow, skip or cancel_running."""

    name: str
    cron_expression: str
    start_workflow_request: StartWorkflow
    zone_id: str | None = None
    paused: bool | None = None
    run_catchup_schedule_instances: bool | None = None
    schedule_start_time: int | None = None
    schedule_end_time: int | None = None
    overlap_policy: str | None = None
    description: str | None = None


class All(Handler):
    may_be_a_link = True

    async def get(self) -> None:
        """All schedules, or those of the agent `workflowName`."""
        self.answer([shown(each) for each in await self.engine.life.schedules(self.param("workflowName"))])

    async def post(self) -> None:
        """Keep a schedule of a deployed agent, or replace the one of that name."""
        self.answer(shown(await self.engine.life.save_schedule(schedule_of(self.body(SaveSchedule)))))


class One(Handler):
    may_be_a_link = True

    async def get(self, name: str) -> None:
        """A schedule, with its next and its last run."""
        self.answer(shown(await self.engine.life.schedule(name)))

    async def delete(self, name: str) -> None:
        """Remove a schedule; runs that it began go on."""
        await self.engine.life.delete_schedule(name)
        self.answer_nothing()


class Pause(Handler):
    async def put(self, name: str) -> None:
        """Let a schedule rest."""
        self.answer(shown(await self.engine.life.pause_schedule(name)))

    async def get(self, name: str) -> None:
        """Let a schedule rest: the verb of Conductor's older clients."""
        await self.put(name)


class Resume(Handler):
    async def put(self, name: str) -> None:
        """Let a schedule go on, with its next tick."""
        self.answer(shown(await self.engine.life.pause_schedule(name, paused=False)))

    async def get(self, name: str) -> None:
        """Let a schedule go on: the verb of Conductor's older clients."""
        await self.put(name)


class RunNow(Handler):
    async def post(self, name: str) -> None:
        """Start now what the schedule would start; its ticks are not touched."""
        started = await self.engine.life.run_schedule(name)
        self.answer({"executionId": started.execution_id})


class Next(Handler):
    async def get(self) -> None:
        """The next moments of a cron expression, in ms since the epoch."""
        expression, zone = self.param("cronExpression"), self.param("zoneId") or "UTC"
        if not expression:
            raise BadInput("cronExpression is missing")
        after, until = self.number("scheduleStartTime", 0), self.number("scheduleEndTime", 0)
        self.answer(self.engine.life.moments(expression, zone, after, until, self.number("limit", 5, 1, MOST_SHOWN)))


# Parts


def schedule_of(given: SaveSchedule) -> Schedule:
    start = given.start_workflow_request
    if start.workflow_def:
        raise BadInput("a schedule starts a deployed agent by its name; deploy it by POST /api/agent/deploy")
    return Schedule(
        name=given.name,
        agent=start.name,
        cron=given.cron_expression,
        zone=given.zone_id or "UTC",
        version=start.version,
        input=start.input or {},
        catch_up=bool(given.run_catchup_schedule_instances),
        paused=bool(given.paused),
        start_at=given.schedule_start_time or 0,
        end_at=given.schedule_end_time or 0,
        overlap=(given.overlap_policy or "skip").lower(),
        description=given.description or "",
        priority=start.priority or 0,
        run_id=domain_of(start.task_to_domain or {}),
    )


def shown(kept: Kept) -> Json:
    schedule = kept.schedule
    start = {"name": schedule.agent, "input": schedule.input, "priority": schedule.priority}
    if schedule.version is not None:
        start["version"] = schedule.version
    return {
        "name": schedule.name,
        "cronExpression": schedule.cron,
        "zoneId": schedule.zone,
        "startWorkflowRequest": start,
        "paused": schedule.paused,
        "runCatchupScheduleInstances": schedule.catch_up,
        "scheduleStartTime": schedule.start_at or None,
        "scheduleEndTime": schedule.end_at or None,
        "overlapPolicy": schedule.overlap,
        "description": schedule.description,
        "createTime": kept.created_at,
        "updatedTime": kept.updated_at,
        "nextRunTime": kept.due_at or None,
        "lastRunTime": kept.last_at or None,
        "lastExecutionId": kept.last_tree or None,
        "problem": kept.problem or None,
    }


ROUTES = [
    Route("/api/scheduler/schedules", All),
    Route("/api/scheduler/schedules/{name}", One),
    Route("/api/scheduler/schedules/{name}/pause", Pause),
    Route("/api/scheduler/schedules/{name}/resume", Resume),
    Route("/api/scheduler/schedules/{name}/run", RunNow),
    Route("/api/scheduler/nextFewSchedules", Next),
]
