"""A map of an agent over a table while it goes on, and what it came to."""

from collections.abc import Mapping
from typing import Any

from agentspan.drawing.cards import heading
from agentspan.drawing.markup import FAINT, Html, box, muted, number, tag
from agentspan.drawing.words import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    RED,
    count,
    duration,
    facts,
    facts_text,
    limit,
    money,
    plural,
)

Json = Mapping[str, Any]


def map_card(progress: Json, times: bool = True) -> Html:
    """How far a map is. `progress`: name, state, rows, done, failed, busy, cost, unpriced, tokens, limits, seconds,
    refused."""
    sign, word, colour = STATES.get(str(progress.get("state")), STATES["running"])
    mark = tag("span", f"{sign} {word}", css=f"color:{colour};font-weight:600;white-space:nowrap")
    told = facts(*_told(progress, times))
    return box(heading(str(progress.get("name") or "map"), mark, "", told), _bar(progress, colour), _limits(progress))


def map_text(progress: Json) -> str:
    """The same in a line."""
    _, word, _ = STATES.get(str(progress.get("state")), STATES["running"])
    return f"{progress.get('name') or 'map'}: {facts_text(word, *_told(progress, times=False))}"


def _told(progress: Json, times: bool) -> list[str | None]:
    rows, done, failed = (number(progress.get(key)) for key in ("rows", "done", "failed"))
    tokens = number(progress.get("tokens"))
    return [
        f"{count(done)} of {plural(rows, 'row')}",
        f"{count(failed)} failed" if failed else None,
        f"{count(progress.get('refused'))} not started" if number(progress.get("refused")) else None,
        f"{count(progress.get('busy'))} under way" if number(progress.get("busy")) else None,
        f"{count(tokens)} tokens" if tokens else None,
        money(progress.get("cost"), bool(progress.get("unpriced"))) if tokens else None,
        duration(number(progress.get("seconds")) * 1000) if times else None,
        _left(progress, rows, done) if times and progress.get("state") == "running" else None,
    ]


def _left(progress: Json, rows: float, done: float) -> str | None:
    """How long it will still take, when enough of it is done to know."""
    if done < 5 or done >= rows:
        return None
    return f"about {duration(number(progress.get('seconds')) * 1000 * (rows - done) / done)} left"


def _bar(progress: Json, colour: str) -> Html:
    rows = number(progress.get("rows")) or 1
    failed = min(100.0, 100 * number(progress.get("failed")) / rows)
    fine = min(100.0 - failed, max(0.0, 100 * number(progress.get("done")) / rows - failed))
    parts = [
        tag("div", css=f"height:6px;width:{part:.1f}%;background:{colour}")
        for part, colour in ((fine, colour if colour != GREY else BLUE), (failed, RED))
        if part
    ]
    css = f"display:flex;height:6px;border-radius:3px;overflow:hidden;background:{FAINT};margin:8px 0"
    value = round(number(progress.get("done")))
    return tag(
        "div", *parts, css=css, role="progressbar", aria_valuenow=value, aria_valuemin=0, aria_valuemax=round(rows)
    )


def _limits(progress: Json) -> Html | None:
    limits = progress.get("limits")
    if not isinstance(limits, Mapping) or not limits:
        return None
    told = [
        f"{limit(name, number(progress.get(name)))} of {limit(name, number(most))}" for name, most in limits.items()
    ]
    return tag("div", muted(f"budget: {', '.join(told)}"), css="font-size:12px")


STATES = {
    "running": ("●", "running", BLUE),
    "done": ("✓", "done", GREEN),
    "estimated": ("✓", "estimated", GREEN),
    "refused": ("■", "not all started", AMBER),
    "detached": ("‖", "detached", GREY),
}
