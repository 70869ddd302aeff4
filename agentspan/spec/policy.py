"""Numbers that bound a task: how often it is tried again, and how long each part of its life may take."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from agentspan.errors import BadInput

LONGEST_SECONDS = 10_000 * 86_400
"""A longer time is as good as none."""

BackOff = Literal["fixed", "linear", "exponential"]

LOST_LIMIT = 20
"""How many attempts may be lost to dead workers before the task counts as failed: not the tool's fault, but a tool
that kills its worker each time must not go round for ever."""


class RetryPolicy(Struct, frozen=True, omit_defaults=True):
    """How a failed task is tried again: `limit` more attempts, the n-th (from 1) after

    fixed: delay; linear: delay * n; exponential: delay * 2**(n-1); at most `max_delay_ms` (0: no cap), plus a jitter
    of 0 to `jitter_ms`, drawn from the execution and the sequence number, so that a replay draws the same.
    """

    limit: int = 2
    delay_ms: int = 2000
    back_off: BackOff = "linear"
    max_delay_ms: int = 0
    jitter_ms: int = 0
    lost_limit: int = LOST_LIMIT


class Limits(Struct, frozen=True, omit_defaults=True):
    """Time limits of one attempt in milliseconds, 0 for none.

    `start_ms`: from being available to being taken by a worker. `attempt_ms`: from being taken to its report.
    The lease is no limit of the task: it belongs to the worker's claim.
    """

    start_ms: int = 0
    attempt_ms: int = 0


class Budget(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a whole run, sub-agents included, may use; None for no limit. `cost` is in US dollars."""

    cost: float | None = None
    tokens: int | None = None
    model_calls: int | None = None
    tool_calls: int | None = None
    seconds: float | None = None


def milliseconds(seconds: float | None) -> int:
    """A time in whole milliseconds, however long somebody has made it; 0 for none."""
    return int(min(max(float(seconds or 0), 0), LONGEST_SECONDS) * 1000)


def budget(given: Any, before: Budget | None = None) -> Budget:
    """The budget of a JSON object; limits that it does not name stay as they were `before`. BadInput."""
    if not isinstance(given, Mapping) or not given:
        raise BadInput(f"a budget is an object with at least one of {', '.join(LIMITS)}")
    if unknown := [str(name) for name in given if name not in LIMITS]:
        raise BadInput(f"a budget has no limit {', '.join(unknown)}; there are {', '.join(LIMITS)}")
    for name, limit in given.items():
        if isinstance(limit, bool) or not isinstance(limit, LIMITS[name] | None) or not 0 <= (limit or 0) < math.inf:
            what = "a number" if LIMITS[name] == int | float else "a whole number"
            raise BadInput(f"budget: {name} must be {what} of 0 or more, or null for no limit; got {limit!r}")
    return msgspec.convert({**(msgspec.to_builtins(before) if before else {}), **given}, Budget)


LIMITS: dict[str, Any] = {
    "cost": int | float,
    "tokens": int,
    "modelCalls": int,
    "toolCalls": int,
    "seconds": int | float,
}
"""The names of a budget's limits on the wire."""

TOOL_RETRY = RetryPolicy()
MODEL_RETRY = RetryPolicy(limit=3, delay_ms=1000, back_off="exponential", max_delay_ms=30_000, jitter_ms=500)
NO_RETRY = RetryPolicy(limit=0)
CHECK_RETRY = RetryPolicy(limit=1, delay_ms=500)
ONCE = RetryPolicy(limit=0, delay_ms=0)
NO_LIMITS = Limits()
