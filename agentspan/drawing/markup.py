"""HTML and SVG as values: text is escaped, what is markup already says so by its type. Styles are inline alone."""

import math
import re
from html import escape
from typing import Any

Css = dict[str, str]


class Html(str):
    """Text that is HTML or SVG already."""

    __slots__ = ()


def tag(name: str, *content: Any, css: str = "", **attributes: Any) -> Html:
    """An element: `tag("b", "x < y", css="color:red", title="...")`. Attributes that are None or False are left out.

    `_` in the name of an attribute stands for `-`, and at its end for nothing (`class_`).
    """
    told = {"style": css or None, **attributes}
    written = "".join(_attribute(key, value) for key, value in told.items() if value is not None and value is not False)
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*content)}</{name}>")


def join(*content: Any) -> Html:
    """Pieces one after the other; what is not Html is escaped, None is nothing."""
    return Html("".join(each if isinstance(each, Html) else text(each) for each in content if each is not None))


def text(value: Any) -> Html:
    """A value as text, without the characters that no document can have."""
    return Html(escape(UNWRITABLE.sub("\ufffd", str(value))))


def fold(summary: Any, *content: Any, opened: bool = False, css: str = "") -> Html:
    """Content that opens by a click, without a script."""
    head = tag("summary", summary, css=SUMMARY)
    return tag("details", head, *content, css=css or "margin:4px 0", open=opened)


def muted(*content: Any, title: str | None = None) -> Html:
    """Text in the second row."""
    return tag("span", *content, css="opacity:.68", title=title)


def code(text: Any) -> Html:
    """Text in the type of code."""
    return tag("code", text, css=CODE)


def link(address: str, *content: Any, **attributes: Any) -> Html:
    """A link, which opens beside the page."""
    given = {"href": address, "target": "_blank", "rel": "noopener noreferrer", **attributes}
    return tag("a", *content, css="color:inherit;text-decoration:underline", **given)


def pre(text: Any) -> Html:
    """Lines as they are, in a box that scrolls."""
    return tag("pre", text, css=PRE)


def box(*content: Any, **attributes: Any) -> Html:
    """The frame of everything that stands in a cell by itself."""
    return tag("div", *content, css=BOX, **attributes)


def number(value: Any, otherwise: float = 0.0) -> float:
    """A finite number, whatever was given."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return otherwise
    try:
        found = float(value)
    except OverflowError:
        return otherwise
    return found if math.isfinite(found) and abs(found) < LIMIT else otherwise


def records(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, whatever was given."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, (list, tuple)) else []


def _attribute(name: str, value: Any) -> str:
    name = name.removesuffix("_").replace("_", "-")
    name = CAMEL.get(name, name)
    return f" {name}" if value is True else f' {name}="{text(value)}"'


FONT = "system-ui,-apple-system,Segoe UI,Roboto,Helvetica Neue,Arial,sans-serif"
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace"
LINE = "rgba(128,128,128,.32)"
FAINT = "rgba(128,128,128,.09)"
BOX = (
    f"box-sizing:border-box;max-width:960px;margin:4px 0 8px;padding:12px 16px;border:1px solid {LINE};"
    f"border-radius:8px;font-family:{FONT};font-size:13px;line-height:1.5;text-align:left;overflow-x:auto"
)
SUMMARY = "cursor:pointer;padding:2px 0"
CODE = f"font-family:{MONO};font-size:.92em;background:{FAINT};color:inherit;padding:1px 4px;border-radius:4px"
PRE = (
    f"font-family:{MONO};font-size:12px;line-height:1.5;background:{FAINT};color:inherit;margin:4px 0;padding:8px 12px;"
    "border-radius:6px;white-space:pre-wrap;overflow-wrap:anywhere;max-height:420px;overflow:auto"
)

VOID = ("br", "hr", "img", "input")
CAMEL = {"viewbox": "viewBox", "preserveaspectratio": "preserveAspectRatio"}
LIMIT = 1e15
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
