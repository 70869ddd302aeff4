"""What a list asks for: sort orders, and Conductor's small query language, as arguments of `reads.search`.

A query is `field op value` joined by AND, with the operators =, >, <, IN. Fields that we do not keep are ignored, as
Conductor's clients expect.
"""

import re
from typing import Any

from agentspan.errors import BadInput

Json = dict[str, Any]

_TERM = re.compile(r"\s*(\w+)\s*(=|>=|<=|>|<|\bIN\b)\s*(.*?)\s*$", re.IGNORECASE | re.DOTALL)


def arguments(query: str) -> Json:
    """The arguments of `reads.search` that a query asks for; `execution_ids` apart."""
    found: Json = {}
    for term in re.split(r"\s+AND\s+", query.strip(), flags=re.IGNORECASE) if query.strip() else ():
        match = _TERM.match(term)
        if not match:
            raise BadInput(f"cannot read {term!r} in the query; write field = value, joined by AND")
        name, operator, text = match[1], match[2].upper(), match[3]
        values = [part.strip().strip("'\"") for part in text.strip("()").split(",")]
        _take(found, FIELDS.get(name, ""), operator, [value for value in values if value])
    return found


def _take(found: Json, field: str, operator: str, values: list[str]) -> None:
    if not field or not values or values == ["*"]:
        return
    if field == "started":
        if operator in (">", ">="):
            found["started_after"] = _milliseconds(values[0])
        elif operator in ("<", "<="):
            found["started_before"] = _milliseconds(values[0])
    elif field in ("status", "names", "execution_ids"):
        found[field] = [*found.get(field, ()), *values]
    else:
        found[field] = values[0]


def _milliseconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadInput(f"startTime must be milliseconds since the epoch, not {text[:40]!r}")
    return int(text)


def order(sort: str) -> str:
    """`startTime:DESC` as the column and direction of `reads.search`."""
    field, _, direction = (sort or "startTime:DESC").partition(":")
    if field not in ORDERS or direction.upper() not in ("", "ASC", "DESC"):
        raise BadInput(f"cannot sort by {sort!r}; sort by one of {', '.join(ORDERS)}, with :ASC or :DESC")
    return f"{ORDERS[field]}:{direction.upper() or 'ASC'}"


def free_text(text: str) -> str:
    """Conductor's clients send * for no text."""
    return "" if text == "*" else text


FIELDS = {
    "workflowId": "execution_ids",
    "executionId": "execution_ids",
    "workflowType": "names",
    "workflowName": "names",
    "agentName": "names",
    "status": "status",
    "startTime": "started",
    "correlationId": "correlation_id",
    "sessionId": "session_id",
}

ORDERS = {
    "startTime": "started_at",
    "started_at": "started_at",
    "updateTime": "updated_at",
    "endTime": "ended_at",
    "status": "status",
    "agentName": "agent_name",
    "workflowType": "agent_name",
}
