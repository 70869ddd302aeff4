"""The steps of a run as a list that folds, and what was said in it as a transcript."""

import json
from collections.abc import Mapping
from typing import Any

from agentspan.drawing.markup import Html, code, fold, join, muted, number, pre, records, tag
from agentspan.drawing.order import Line, chosen, ended, extent, lines, title, troubled
from agentspan.drawing.prose import markdown
from agentspan.drawing.value import inline, table, tree
from agentspan.drawing.words import (
    AMBER,
    BLUE,
    GREY,
    RED,
    TEAL,
    VIOLET,
    count,
    duration,
    kind_dot,
    money,
    plural,
    short,
    status_mark,
)


def steps(timeline: Any, limit: int = 500, *, times: bool = True) -> Html:
    """Each step in a row: what it was, about what, how it ended, how long it took, tokens and money.

    Columns that would say nothing are left out.
    """
    found = lines(timeline)
    shown = chosen(found, max(1, limit))
    last = extent(timeline, found)[1]
    rows = [_step(each, last) for each in shown]
    agents = {row["agent"] for row in rows}
    idle = {"time"} if not times else set()
    idle |= {key for key in ("about", "tokens", "cost") if not any(row[key] for row in rows)}
    idle |= {"agent"} if len(agents) == 1 else set()
    drawn = table([each for each in COLUMNS if each["key"] not in idle], rows, "No steps yet.")
    hidden = len(found) - len(shown)
    return join(drawn, muted(f"… {plural(hidden, 'more step')}") if hidden else None)


def transcript(messages: Any, limit: int = 200) -> Html:
    """A conversation: each message under who said it, calls and their results as trees."""
    found = records(messages)
    drawn = [_message(each) for each in found[-limit:]]
    if not drawn:
        return tag("div", muted("Nothing was said."))
    earlier = len(found) - len(drawn)
    return tag("div", muted(f"… {plural(earlier, 'earlier message')}") if earlier else None, *drawn)


def _step(line: Line, last: float) -> dict[str, Any]:
    span = line.span
    name = tag("b", short(title(span), 32), css=f"color:{RED}" if troubled(span) else "", title=title(span))
    flag = tag("span", " older than its cell", css=f"color:{AMBER}") if span.get("staleTool") else None
    tokens = number(span.get("promptTokens")) + number(span.get("completionTokens"))
    about = span.get("error") if troubled(span) and span.get("error") else span.get("summary")
    attempt = number(span.get("attempt"))
    again = muted(f" try {count(attempt)}") if attempt > 1 else None
    indent = f"display:inline-block;padding-left:{min(line.depth, 12) * 12}px;white-space:nowrap"
    took = (number(span.get("endedAt")) or last) - number(span.get("scheduledAt"))
    return {
        "step": tag("span", kind_dot(span.get("kind")), " ", name, again, flag, css=indent),
        "agent": str(span.get("agentName") or ""),
        "about": tag("span", inline(about, 160), css="overflow-wrap:anywhere") if about else "",
        "status": status_mark(span.get("status")),
        "time": muted(duration(took)) if ended(span) else f"{duration(took)} …",
        "tokens": count(tokens) if tokens else "",
        "cost": money(span.get("cost")) if number(span.get("cost")) else "",
    }


def _message(message: Mapping[str, Any]) -> Html:
    role = str(message.get("role") or "")
    name, colour = ROLES.get(role, (role or "unknown", GREY))
    who = tag("div", tag("b", name, css=f"color:{colour}"), *_tail(message))
    content = _content(message.get("content"), role)
    body = [fold(muted("what it is told"), content)] if role == "system" else [content]
    calls = [_call(each) for each in records(message.get("tool_calls"))]
    css = f"margin:8px 0;padding:0 0 0 12px;border-left:3px solid {colour}"
    return tag("div", who, *body, *calls, css=css)


def _tail(message: Mapping[str, Any]) -> list[Html]:
    told = [message.get("name"), message.get("tool_call_id")]
    return [muted(f" {each}") for each in told if isinstance(each, str) and each]


def _content(content: Any, role: str) -> Html:
    if content is None or content == "":
        return Html("")
    if isinstance(content, str):
        value = _parsed(content) if role == "tool" else None
        if value is not None:
            return tree(value)
        return pre(content) if role == "tool" else markdown(content)
    if isinstance(content, list):
        return join(*(_part(each, role) for each in content))
    return tree(content)


def _part(part: Any, role: str) -> Html:
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return _content(part["text"], role)
    if isinstance(part, Mapping) and str(part.get("type", "")).startswith(("image", "input_image")):
        return tag("div", muted(f"[{part.get('type')}]"))
    return _content(part, role) if isinstance(part, str) else tree(part, 0)


def _call(call: Mapping[str, Any]) -> Html:
    function = call.get("function")
    told = function if isinstance(function, Mapping) else call
    arguments = told.get("arguments", told.get("args"))
    if isinstance(arguments, str) and (parsed := _parsed(arguments)) is not None:
        arguments = parsed
    head = join(muted("calls "), code(told.get("name") or "?"), " ", muted(inline(arguments, 80)))
    return fold(head, tree(arguments))


def _parsed(text: str) -> Any:
    """The object or list that a text is the JSON of."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


COLUMNS = (
    {"key": "step", "label": "Step"},
    {"key": "agent", "label": "Agent"},
    {"key": "about", "label": "About"},
    {"key": "status", "label": "Status"},
    {"key": "time", "label": "Time", "align": "right"},
    {"key": "tokens", "label": "Tokens", "align": "right"},
    {"key": "cost", "label": "Cost", "align": "right"},
)
ROLES = {
    "system": ("instructions", GREY),
    "user": ("user", BLUE),
    "assistant": ("agent", VIOLET),
    "tool": ("tool", TEAL),
}
