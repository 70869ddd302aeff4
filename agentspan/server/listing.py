"""A list of runs page by page: what a request wants, and a row as it is shown. Times are milliseconds."""

from typing import Any

from agentspan.errors import BadInput
from agentspan.server import conductor, search
from agentspan.server.handler import Handler
from agentspan.store.views import Listed, Wanted

Json = dict[str, Any]

WAITING = ("", "person", "worker")
COUNTS = ("none", "capped")
SORTS = {"started_at": "started", "ended_at": "ended", "updated_at": "updated"}
PARAMETERS = (
    "cursor", "count", "since", "until", "model", "finishReason", "version", "minCost", "waiting",
)  # fmt: skip
"""Who gives one of these asks for pages that follow one another."""


def is_asked(handler: Handler) -> bool:
    return any(name in handler.request.query_arguments for name in PARAMETERS)


def wanted(handler: Handler) -> Wanted:
    """The filters of a request."""
    waiting = handler.param("waiting")
    if waiting not in WAITING:
        raise BadInput(f"waiting must be person or worker, not {waiting!r}")
    return Wanted(
        status=tuple(handler.params("status")),
        agent=tuple(handler.params("agentName")),
        model=tuple(handler.params("model")),
        finish_reason=tuple(handler.params("finishReason")),
        session_id=handler.param("sessionId"),
        correlation_id=handler.param("correlationId"),
        version=handler.optional_number("version"),
        min_cost=_dollars(handler.param("minCost")),
        waiting=waiting,
        text=search.free_text(handler.param("freeText")),
        since=handler.number("since", 0),
        until=handler.number("until", 0),
    )


async def page(handler: Handler, most: int) -> Json:
    """A page of the runs that a request wants."""
    field, _, direction = search.order(handler.param("sort")).partition(":")
    if field not in SORTS:
        raise BadInput("pages that follow one another are sorted by startTime, endTime or updateTime")
    count = handler.param("count", "none")
    if count not in COUNTS:
        raise BadInput(f"count must be none or capped, not {count!r}")
    found = await handler.reads.page(
        wanted(handler),
        sort=SORTS[field],
        newest_first=direction == "DESC",
        cursor=handler.param("cursor"),
        size=handler.number("size", 20, 1, most),
        count=count == "capped",
    )
    return {
        "totalHits": found.total,
        "totalCapped": found.capped,
        "nextCursor": found.cursor,
        "results": [shown(each) for each in found.runs],
    }


def shown(each: Listed) -> Json:
    """A row of the list."""
    row = each.row
    return {
        "executionId": row.execution_id,
        "agentName": row.agent_name,
        "version": row.version,
        "status": row.status,
        "startTime": row.started_at,
        "updateTime": row.updated_at,
        "endTime": row.ended_at or None,
        "durationMs": conductor.duration(row),
        "preview": each.preview,
        "model": row.model,
        "finishReason": row.finish_reason,
        "reason": row.reason,
        "sessionId": row.session_id,
        "turns": row.turns,
        "promptTokens": row.prompt_tokens,
        "completionTokens": row.completion_tokens,
        "cachedTokens": row.cached_tokens,
        "cost": row.cost,
        "costUnknown": row.unpriced > 0,
        "forkedFrom": row.forked_from,
        "forkedAt": row.forked_at,
        "waiting": each.waiting,
    }


def _dollars(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise BadInput(f"minCost must be a number of US dollars, not {text!r}") from None
