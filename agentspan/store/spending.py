"""What model calls cost, summed by execution, model and hour: rows to be added to those that are there. Pure.

A fork's shared part and a run out of a file were paid for before: they are not among a transaction's own events.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agentspan.core import events as e
from agentspan.core.run import Run
from agentspan.core.states import Kind

HOUR_MS = 3_600_000
COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens")

Rows = dict[tuple[str, int, str, int], dict[str, Any]]


def book(rows: Rows, tree: str, session_id: str, stored: Mapping[int, Run], events: Sequence[e.Event]) -> None:
    """Add the model answers among the new `events` of a tree to `rows`. `stored` are its runs before them."""
    for event in events:
        if not isinstance(event.fact, e.TaskCompleted):
            continue
        order, output = _order(event, event.fact.task, stored, events), event.fact.output or {}
        if order is None or order.kind is not Kind.LLM or "overflow" in output:
            continue
        key = tree, event.execution, str(output.get("model") or order.name).replace("\x00", ""), event.at // HOUR_MS
        _add(rows.setdefault(key, _nothing(key, session_id, event.at)), output)


def _order(event: e.Event, task: int, stored: Mapping[int, Run], events: Sequence[e.Event]) -> e.TaskScheduled | None:
    """What was completed: it was open before, or was scheduled among these events."""
    run = stored.get(event.execution)
    if run and task in run.tasks:
        return run.tasks[task]
    place = task - events[0].seq
    fact = events[place].fact if 0 <= place < len(events) else None
    return fact if isinstance(fact, e.TaskScheduled) else None


def _nothing(key: tuple[str, int, str, int], session_id: str, at: int) -> dict[str, Any]:
    tree, execution, model, hour = key
    return {
        "tree": tree, "execution": execution, "model": model, "hour": hour, "session_id": session_id, "at": at,
        "calls": 0, **dict.fromkeys(COUNTS, 0), "cost": 0.0, "unpriced": 0,
    }  # fmt: skip


def _add(row: dict[str, Any], output: e.Json) -> None:
    tokens, cost = output.get("usage") or {}, output.get("cost")
    row["calls"] += 1
    row["cost"] += cost or 0.0
    row["unpriced"] += cost is None
    for name in COUNTS:
        row[name] += int(tokens.get(name, 0))
