"""Numbers, times and states in words, the same in a cell, on a page and in a terminal."""

from datetime import UTC, datetime, tzinfo
from typing import Any

from agentspan.drawing.markup import Html, join, number, tag

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


def duration(ms: Any) -> str:
    """`340 ms`, `3.4 s`, `34 s`, `4 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    span = max(0, round(number(ms)))
    if span < SECOND:
        return f"{span} ms"
    if span < 9950:
        return f"{span / SECOND:.1f} s"
    seconds = round(span / SECOND)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    minutes = seconds // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24} h"


def money(usd: Any, unknown: bool = False) -> str:
    """US dollars with as many places as they need; `unknown` if the price of a part is not known."""
    spent = number(usd)
    if unknown or usd is None:
        return f"≥ {money(spent)}" if spent > 0 else "price unknown"
    if spent == 0:
        return "$0"
    if abs(spent) >= 100:
        return f"${spent:,.0f}"
    if abs(spent) >= 0.1:
        return f"${spent:.2f}"
    return f"${spent:.4f}" if abs(spent) >= 0.00005 else "< $0.0001"


def count(n: Any) -> str:
    """`12,345`."""
    return f"{round(number(n)):,}"


def plural(n: Any, word: str, words: str | None = None) -> str:
    """`1 step`, `12 steps`."""
    return f"{count(n)} {word if round(number(n)) == 1 else words or word + 's'}"


def limit(name: str, value: Any) -> str:
    """A limit of a budget: `$1.00`, `5 tool calls`."""
    return money(value) if name == "cost" else f"{number(value):,.10g} {LIMITS.get(name, name)}"


def since(ms: Any, now: Any) -> str:
    """`just now`, `4 min ago`, `3 d ago`; `-` for no time."""
    if number(ms) <= 0:
        return "-"
    passed = number(now) - number(ms)
    if passed < 5 * SECOND:
        return "just now"
    unit, word = next((unit, word) for unit, word in UNITS if passed >= unit)
    return f"{int(passed // unit)} {word} ago"


def clock(ms: Any, zone: tzinfo | None = None) -> str:
    """`14:03:22`, in the machine's zone or `zone`; `-` for no time."""
    return _time(ms, zone, "%H:%M:%S")


def moment(ms: Any, zone: tzinfo | None = None) -> str:
    """`2026-11-23 14:03:22`, in the machine's zone or `zone`; `-` for no time."""
    return _time(ms, zone, "%Y-%m-%d %H:%M:%S")


def stamp(ms: Any, zone: tzinfo | None = None) -> str:
    """`11-23 14:03`, in the machine's zone or `zone`; `-` for no time."""
    return _time(ms, zone, "%m-%d %H:%M")


def short(text: Any, n: int) -> str:
    """At most `n` characters on one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= n else f"{line[: max(0, n - 1)].rstrip()}…"


def status_word(status: Any) -> str:
    """`completed`, `timed out`, `cancelled`."""
    return STATUS.get(str(status), ("", str(status).replace("_", " ").lower(), ""))[1]


def status_mark(status: Any) -> Html:
    """A state as a sign and a word in its colour."""
    icon, word, colour = STATUS.get(str(status), ("○", status_word(status) or "unknown", GREY))
    return tag(
        "span",
        tag("span", icon, aria_hidden="true"),
        Html("&nbsp;"),
        word,
        css=f"color:{colour};font-weight:600;white-space:nowrap",
    )


def kind_dot(kind: Any) -> Html:
    """The dot that stands for a kind of step, with its name as a title."""
    word, colour = KIND.get(str(kind), (str(kind), GREY))
    return tag("span", "●", css=f"color:{colour}", title=word)


def facts(*told: Any) -> Html:
    """Short facts in one line, with dots between them."""
    kept = [each for each in told if each]
    pieces = [each for place, each in enumerate(kept) for each in ((SEPARATOR, each) if place else (each,))]
    return join(*pieces)


def facts_text(*told: Any) -> str:
    """The same as text."""
    return " · ".join(str(each) for each in told if each)


def _time(ms: Any, zone: tzinfo | None, form: str) -> str:
    at = number(ms)
    if not 0 < at < LAST_MS:
        return "-"
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).strftime(form)


UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"))
LAST_MS = 32_503_680_000_000
SEPARATOR = Html('<span style="opacity:.45"> · </span>')

# Each reads at more than 4 to 1 on white and on #111.
GREEN, RED, AMBER, BLUE = "#03883d", "#d63d3e", "#af6300", "#2776d2"
VIOLET, TEAL, GREY, PINK = "#8e5bd4", "#008389", "#71767f", "#c6448b"

LIMITS = {"tokens": "tokens", "modelCalls": "model calls", "toolCalls": "tool calls", "seconds": "seconds"}

STATUS = {
    "RUNNING": ("●", "running", BLUE),
    "PAUSED": ("‖", "paused", AMBER),
    "COMPLETED": ("✓", "completed", GREEN),
    "FAILED": ("✕", "failed", RED),
    "TERMINATED": ("■", "cancelled", GREY),
    "TIMED_OUT": ("▲", "timed out", RED),
    "SCHEDULED": ("○", "waiting", GREY),
    "IN_PROGRESS": ("●", "running", BLUE),
    "FAILED_WITH_TERMINAL_ERROR": ("✕", "failed", RED),
    "CANCELED": ("■", "cancelled", GREY),
    "WAITING": ("◆", "waits for a person", AMBER),
}
"""By status: a sign, a word, a colour."""

KIND = {
    "llm": ("model", VIOLET),
    "worker": ("tool", BLUE),
    "http": ("HTTP tool", TEAL),
    "mcp": ("MCP tool", TEAL),
    "code": ("code", PINK),
    "human": ("person", AMBER),
    "agent": ("agent", GREY),
    "timer": ("timer", GREY),
}
"""By kind of step: a word, a colour."""
