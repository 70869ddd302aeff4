"""Values of JSON: as a tree that folds, and rows as a table."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from agentspan.drawing.markup import LINE, MONO, Html, fold, join, muted, pre, tag
from agentspan.drawing.words import plural, short


def tree(value: Any, opened: int = 1, limit: int = 200) -> Html:
    """A JSON value; its first `opened` levels unfolded, of each level at most `limit` entries."""
    css = f"font-family:{MONO};font-size:12px;line-height:1.6;margin:2px 0;overflow-wrap:anywhere"
    return tag("div", _node(value, opened, limit, DEPTH, Html()), css=css)


def inline(value: Any, n: int = 120) -> str:
    """A JSON value as one short line."""
    return short(value if isinstance(value, str) else _text(value), n)


def table(columns: Sequence[Any], rows: Sequence[Any], empty: str = "Nothing here yet.") -> Html:
    """Rows under their columns. A column is a name or `{key, label, align}`, a row a dict by key, or a list.

    Cells of type Html are taken as they are.
    """
    heads = [each if isinstance(each, Mapping) else {"key": each, "label": each} for each in columns]
    head = tag("tr", *(tag("th", each.get("label", ""), css=HEAD + _side(each)) for each in heads), css=ROW)
    body = [tag("tr", *_cells(row, heads), css=ROW) for row in rows]
    if not body:
        body = [tag("tr", tag("td", muted(empty), colspan=len(heads) or 1, css=CELL), css=ROW)]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body), css=TABLE), css="overflow-x:auto")


def pairs(rows: Sequence[tuple[Any, Any]]) -> Html:
    """Names and what they are, in two columns."""
    told = [
        tag("tr", tag("td", muted(name), css=NAME), tag("td", "" if value is None else value, css=VALUE), css=ROW)
        for name, value in rows
    ]
    return tag("table", tag("tbody", *told), css=TABLE.replace("width:100%;", ""))


def _node(value: Any, opened: int, limit: int, depth: int, name: Html) -> Html:
    """A value after its name, which folds with it."""
    entries: list[tuple[Html, Any]]
    if isinstance(value, Mapping) and value:
        first = islice(value.items(), limit)
        entries = [(_name(key), each) for key, each in first]
        return _branch("{}", entries, value, opened, limit, depth, name)
    if isinstance(value, (list, tuple)) and value:
        entries = [(_name(place), each) for place, each in enumerate(value[:limit])]
        return _branch("[]", entries, value, opened, limit, depth, name)
    return _leaf(value, name)


def _name(key: Any) -> Html:
    return tag("span", f"{key}: ", css="opacity:.75")


def _branch(
    signs: str, entries: list[tuple[Html, Any]], value: Any, opened: int, limit: int, depth: int, name: Html
) -> Html:
    if depth == 0:
        return join(name, muted(short(_text(value), 80)))
    what = plural(len(value), "key" if signs == "{}" else "item")
    head = join(name, muted(f"{signs[0]} {what} {signs[1]} "), muted(short(_text(value), 60)) if opened <= 0 else None)
    lines = [tag("div", _node(each, opened - 1, limit, depth - 1, name)) for name, each in entries]
    if (more := len(value) - len(entries)) > 0:
        lines.append(tag("div", muted(f"… {more} more")))
    inside = tag("div", *lines, css=f"padding-left:12px;margin-left:4px;border-left:1px solid {LINE}")
    return fold(head, inside, opened=opened > 0, css="margin:0")


def _leaf(value: Any, name: Html) -> Html:
    if isinstance(value, str):
        if len(value) > LONG or "\n" in value:
            return fold(
                join(name, f'"{short(value, 80)}" ', muted(plural(len(value), "character"))), pre(value), css="margin:0"
            )
        return join(name, tag("span", f'"{value}"'))
    return join(name, tag("span", _text(value), css="font-weight:600"))


def _text(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _cells(row: Any, heads: Sequence[Mapping[str, Any]]) -> list[Html]:
    if isinstance(row, Mapping):
        values = [row.get(each.get("key")) for each in heads]
    else:
        values = [*row, *([None] * len(heads))][: len(heads)]
    return [tag("td", _cell(value), css=CELL + _side(head)) for value, head in zip(values, heads, strict=True)]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, (str, int, float)) else inline(value)


def _side(head: Mapping[str, Any]) -> str:
    return f";text-align:right{TIGHT}" if head.get("align") == "right" else ";text-align:left"


DEPTH = 24
LONG = 160
TABLE = (
    "border-collapse:collapse;table-layout:auto;width:100%;margin:4px 0;font-size:inherit;line-height:inherit;"
    "color:inherit;"
    "font-variant-numeric:tabular-nums;border:0"
)
ROW = "background:none;border:0"
EDGE = f"border:0;border-bottom:1px solid {LINE}"
HEAD = f"{EDGE};padding:4px 12px 4px 0;font-weight:600;opacity:.75;white-space:nowrap"
CELL = f"{EDGE};padding:4px 12px 4px 0;vertical-align:top"
TIGHT = ";white-space:nowrap"
NAME = "border:0;padding:2px 16px 2px 0;vertical-align:top;text-align:left;white-space:nowrap"
VALUE = "border:0;padding:2px 0;vertical-align:top;text-align:left"
