"""A timeline as the lines of its picture: all steps in order, a sub-agent's below the step that began it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentspan.drawing.markup import number, records

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One step, how deep it lies, and the execution that it is of."""

    span: Json
    depth: int
    execution: Json


def lines(timeline: Any) -> list[Line]:
    """All steps in their order: those of a sub-agent after the step that began it."""
    body = timeline if isinstance(timeline, Mapping) else {}
    executions: dict[str, Json] = {str(each.get("executionId")): each for each in records(body.get("executions"))}
    spans: dict[str, list[Json]] = {}
    for each in sorted(records(body.get("spans")), key=_when):
        spans.setdefault(str(each.get("executionId")), []).append(each)
    begun = {str(each["childId"]) for found in spans.values() for each in found if each.get("childId")}
    found: list[Line] = []
    tops = [each for each in spans if each not in begun]
    waiting = [(each, 0) for each in reversed([*tops, *(each for each in spans if each in begun)])]
    seen: set[str] = set()
    while waiting:
        key, depth = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        _walk(key, depth, spans, executions, seen, found)
    return found


def chosen(found: list[Line], limit: int) -> list[Line]:
    """At most `limit` of them in their order: what failed or is open before all others."""
    if len(found) <= limit:
        return found
    kept = {place for place, each in enumerate(found) if troubled(each.span) or not ended(each.span)}
    kept = set(sorted(kept)[:limit])
    rest = [place for place in range(len(found)) if place not in kept]
    kept.update(rest[: limit - len(kept)])
    return [found[place] for place in sorted(kept)]


def troubled(span: Json) -> bool:
    """Did it fail?"""
    return str(span.get("status")) in TROUBLED


def ended(span: Json) -> bool:
    """Is it over?"""
    return number(span.get("endedAt")) > 0


def title(span: Json) -> str:
    """What a step is called."""
    purpose, kind = str(span.get("purpose") or ""), str(span.get("kind") or "")
    name = str(span.get("name") or "")
    if kind == "agent":
        return name or str(span.get("ref") or "agent")
    if purpose == "think":
        return "think"
    return name if purpose in ("act", "") else f"{PURPOSES.get(purpose, purpose)} {name}".strip()


def extent(timeline: Any, found: list[Line]) -> tuple[float, float]:
    """The first and the last moment, in ms; the last is now for what goes on."""
    starts = [at for each in found if (at := number(each.span.get("scheduledAt"))) > 0]
    now = number(timeline.get("now")) if isinstance(timeline, Mapping) else 0.0
    ends = [number(each.span.get("endedAt")) or now for each in found]
    first = min(starts, default=0.0)
    return first, max([*ends, *starts, first + 1])


def _walk(
    key: str, depth: int, spans: dict[str, list[Json]], executions: dict[str, Json], seen: set[str], found: list[Line]
) -> None:
    """The steps of one execution and all below it; a stack, because teams nest deep."""
    stack = [(iter(spans.get(key, ())), key, depth)]
    while stack:
        steps, key, depth = stack[-1]
        span = next(steps, None)
        if span is None:
            stack.pop()
            continue
        found.append(Line(span, depth, executions.get(key, {})))
        child = str(span.get("childId") or "")
        if child and child in spans and child not in seen:
            seen.add(child)
            stack.append((iter(spans[child]), child, depth + 1))


def _when(span: Json) -> tuple[float, float]:
    return number(span.get("seq")), number(span.get("scheduledAt"))


TROUBLED = ("FAILED", "FAILED_WITH_TERMINAL_ERROR", "TIMED_OUT")
PURPOSES = {
    "approve": "approval of",
    "speak": "speaks",
    "judge": "guardrail",
    "choose": "choose",
    "wait": "wait",
    "hook": "callback",
    "brief": "instructions",
    "condense": "condense",
}
