"""Two runs side by side: their steps in rows, what differs marked, and what each of them took."""

from collections.abc import Callable, Mapping
from typing import Any

from agentspan.drawing.markup import LINE, Html, box, code, fold, join, muted, number, records, tag
from agentspan.drawing.value import inline, table
from agentspan.drawing.words import AMBER, GREEN, count, duration, money, plural, status_mark


def sides(comparison: Any, limit: int = 300) -> Html:
    """The answer of a comparison: what was different first, what each took, all steps."""
    found = comparison if isinstance(comparison, Mapping) else {}
    rows = records(found.get("rows"))
    shown = _chosen(rows, max(1, limit))
    drawn: list[Any] = [_row(place, each) for place, each in shown]
    hidden = len(rows) - len(drawn)
    return box(
        tag("div", _headline(found, rows), css="margin-bottom:8px"),
        _totals(found),
        _definition(records(found.get("definition"))),
        table(COLUMNS, drawn, "Neither has a step."),
        muted(f"… {plural(hidden, 'more row')} alike") if hidden else None,
        role="group",
        aria_label="Two runs side by side",
    )


def _chosen(rows: list[dict[str, Any]], limit: int) -> list[tuple[int, dict[str, Any]]]:
    """The rows to be shown: all, or first of all those that differ."""
    numbered = list(enumerate(rows, 1))
    if len(numbered) <= limit:
        return numbered
    different = [each for each in numbered if not each[1].get("same")][:limit]
    alike = [each for each in numbered if each[1].get("same")][: limit - len(different)]
    return sorted([*different, *alike], key=lambda each: each[0])


def _headline(found: Mapping[str, Any], rows: list[dict[str, Any]]) -> Html:
    shared = muted(f" · {plural(found.get('shared'), 'event')} shared") if number(found.get("shared")) else None
    if found.get("same"):
        return join(tag("b", "✓ the same", css=f"color:{GREEN}"), shared)
    different = sum(not each.get("same") for each in rows)
    said = join(tag("b", f"≠ {plural(different, 'step differs', 'steps differ')}", css=f"color:{AMBER}"), shared)
    first = found.get("firstDifference")
    if not isinstance(first, Mapping):
        return said
    where = " ".join(str(first[key]) for key in ("kind", "name") if first.get(key))
    place = round(number(first.get("row"))) + 1
    return join(
        said, muted(f" · first in step {place}, "), code(where), muted(f" of {first.get('agent') or 'the run'}")
    )


def _totals(found: Mapping[str, Any]) -> Html:
    both = [each if isinstance(each := found.get(key), Mapping) else {} for key in ("a", "b")]
    rows = [{"what": muted(name), "a": tell(both[0]), "b": tell(both[1])} for name, tell in TOTALS]
    return table([{"key": "what", "label": ""}, {"key": "a", "label": "a"}, {"key": "b", "label": "b"}], rows)


def _definition(changes: list[dict[str, Any]]) -> Html | None:
    if not changes:
        return None
    return fold(f"The agents differ in {plural(len(changes), 'place')}", _changes(changes))


def _row(place: int, row: Mapping[str, Any]) -> dict[str, Any]:
    same = bool(row.get("same"))
    mark = tag("span", "=", css="opacity:.4", title="the same") if same else _differs(row)
    words = " ".join(str(row[key]) for key in ("kind", "name") if row.get(key))
    where = row.get("agent") or ""
    dim = "opacity:.62" if row.get("shared") else ""
    step = tag("span", words, muted(f" {where}"), css=f"overflow-wrap:anywhere;{dim}")
    return {
        "place": muted(str(place)),
        "mark": mark,
        "step": step,
        "a": _side(row.get("a"), row, "a", same, dim),
        "b": join(_side(row.get("b"), row, "b", same, dim), _what(row, same)),
    }


def _differs(row: Mapping[str, Any]) -> Html:
    word = "differs" if row.get("a") is not None and row.get("b") is not None else "in one run alone"
    return tag("b", "≠", css=f"color:{AMBER}", title=word, role="img", aria_label=word)


def _side(said: Any, row: Mapping[str, Any], side: str, same: bool, dim: str) -> Html:
    if said is None:
        return tag("span", "not there", css="opacity:.5;font-style:italic")
    css = dim if same else f"background:rgba(175,99,0,.14);border-radius:4px;padding:0 4px;{dim}"
    took = [words for words in (_tokens(row.get(f"{side}Tokens")), _cost(row.get(f"{side}Cost"))) if words]
    told = muted(f" {' · '.join(took)}") if took and not same else None
    return join(tag("span", inline(said, 160), css=f"{css};overflow-wrap:anywhere"), told)


def _what(row: Mapping[str, Any], same: bool) -> Html | None:
    changes = records(row.get("changes"))
    if same or not changes or row.get("a") is None or row.get("b") is None:
        return None
    return fold(muted(plural(len(changes), "difference")), _changes(changes), css="margin:0")


def _changes(changes: list[dict[str, Any]]) -> Html:
    lines = [
        tag("div", code(each.get("path")), " ", _value(each.get("before")), muted(" → "), _value(each.get("after")))
        for each in changes
    ]
    return tag("div", *lines, css=f"padding:2px 0 2px 12px;border-left:1px solid {LINE};overflow-wrap:anywhere")


def _value(value: Any) -> Html:
    return muted("nothing") if value is None else tag("span", inline(value, 200))


def _tokens(tokens: Any) -> str:
    return f"{count(tokens)} tokens" if number(tokens) else ""


def _cost(cost: Any) -> str:
    return money(cost) if number(cost) else ""


COLUMNS = (
    {"key": "place", "label": "", "align": "right"},
    {"key": "mark", "label": ""},
    {"key": "step", "label": "Step"},
    {"key": "a", "label": "a"},
    {"key": "b", "label": "b"},
)
TOTALS: tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...] = (
    ("run", lambda side: code(side.get("executionId") or "-")),
    ("agent", lambda side: side.get("agentName") or "-"),
    ("status", lambda side: status_mark(side.get("status"))),
    ("result", lambda side: inline(side.get("result") or "-", 160)),
    ("calls", lambda side: f"{count(side.get('modelCalls'))} of models, {count(side.get('toolCalls'))} of tools"),
    ("tokens", lambda side: count(side.get("totalTokens"))),
    ("cost", lambda side: money(side.get("cost"), bool(side.get("costUnknown")))),
    ("time", lambda side: duration(side.get("ms"))),
)
