"""The parts that pictures are made of. Colours are `currentColor` or read on light and dark alike."""

from typing import Any

from agentspan.drawing.markup import FONT, Html, tag
from agentspan.drawing.words import short

CHAR = 0.56
"""How wide a character is on average, in parts of the type's size."""


def picture(width: float, height: float, title: str, *content: Any) -> Html:
    """An SVG with its text alternative, as wide as there is room, at most `width`."""
    return tag(
        "svg",
        tag("title", title),
        *content,
        xmlns="http://www.w3.org/2000/svg",
        viewbox=f"0 0 {_n(width)} {_n(height)}",
        width=_n(width),
        height=_n(height),
        role="img",
        aria_label=title,
        font_family=FONT,
        fill="currentColor",
        css="max-width:100%;height:auto;display:block",
    )


def text(x: float, y: float, words: Any, size: float = 12, room: float | None = None, **attributes: Any) -> Html:
    """Words at a point, cut to `room` pixels with the whole of them as a title."""
    said = " ".join(str(words).split())
    cut = said if room is None else short(said, max(1, int(room / (size * CHAR))))
    whole = tag("title", said) if cut != said else None
    return tag("text", whole, cut, x=_n(x), y=_n(y), font_size=_n(size), **attributes)


def width_of(words: str, size: float = 12, *, bold: bool = False) -> float:
    """About how wide words are."""
    return len(words) * size * CHAR * (1.1 if bold else 1.0)


def rect(x: float, y: float, width: float, height: float, *content: Any, **attributes: Any) -> Html:
    """A rectangle."""
    return tag("rect", *content, x=_n(x), y=_n(y), width=_n(width), height=_n(height), **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: Any) -> Html:
    """A straight line, thin unless told."""
    given = {"stroke": "currentColor", "stroke_opacity": ".18", **attributes}
    return tag("line", x1=_n(x1), y1=_n(y1), x2=_n(x2), y2=_n(y2), **given)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
