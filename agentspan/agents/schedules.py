"""Schedules of deployed agents: the data. This version does not run them, and each function says so."""

from dataclasses import dataclass, field
from typing import Any

from agentspan.agents.exceptions import (
    InvalidCronExpression,
    ScheduleError,
    ScheduleNameConflict,
    ScheduleNotFound,
    unbuilt,
)

__all__ = [
    "InvalidCronExpression",
    "Schedule",
    "ScheduleError",
    "ScheduleInfo",
    "ScheduleNameConflict",
    "ScheduleNotFound",
    "delete",
    "get",
    "list",
    "pause",
    "preview_next",
    "resume",
    "run_now",
    "save",
]

Json = dict[str, Any]


@dataclass(frozen=True)
class Schedule:
    """When a deployed agent runs: a cron expression in a time zone; `start_at` and `end_at` in ms since the epoch."""

    name: str
    cron: str
    timezone: str = "UTC"
    input: Json = field(default_factory=dict)
    catchup: bool = False
    paused: bool = False
    start_at: int | None = None
    end_at: int | None = None
    description: str | None = None


@dataclass(frozen=True)
class ScheduleInfo:
    """A schedule as the server has it; times in ms since the epoch."""

    name: str
    agent: str
    cron: str
    timezone: str = "UTC"
    paused: bool = False
    next_run_at: int | None = None
    last_run_at: int | None = None


def save(agent: str, schedule: Schedule) -> ScheduleInfo:
    """Store a schedule."""
    raise unbuilt("Scheduling agents")


def list(agent: str | None = None) -> Any:  # the contract's name
    """The schedules of an agent, or all."""
    raise unbuilt("Scheduling agents")


def get(name: str) -> ScheduleInfo:
    """One schedule."""
    raise unbuilt("Scheduling agents")


def pause(name: str) -> None:
    """Let it rest."""
    raise unbuilt("Scheduling agents")


def resume(name: str) -> None:
    """Let it run again."""
    raise unbuilt("Scheduling agents")


def delete(name: str) -> None:
    """Remove it."""
    raise unbuilt("Scheduling agents")


def run_now(name: str, wait: bool = False, timeout: float | None = None) -> Any:
    """Run it once now."""
    raise unbuilt("Scheduling agents")


def preview_next(cron: str, count: int = 5, timezone: str = "UTC") -> Any:
    """The next times of a cron expression."""
    raise unbuilt("Scheduling agents")
