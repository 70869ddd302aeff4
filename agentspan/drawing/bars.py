"""The waterfall of a run: each step a bar over time, with the time in the queue, at work and of waits for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentspan.drawing import svg
from agentspan.drawing.markup import Html, number, tag
from agentspan.drawing.order import Line, chosen, ended, extent, lines, title, troubled
from agentspan.drawing.words import AMBER, GREY, KIND, RED, duration, money, plural, status_word

ROW, TOP, LABEL, TAIL, INDENT = 22, 26, 250, 64, 12
BAR = 10


@dataclass(frozen=True)
class _Scale:
    """Where a moment lies."""

    first: float
    last: float
    width: int

    def x(self, at: float) -> float:
        room = self.width - LABEL - TAIL
        return LABEL + (min(max(at, self.first), self.last) - self.first) * room / max(1.0, self.last - self.first)

    def bar(self, start: float, end: float, y: float, height: float, least: float = 0.0, **attributes: Any) -> Html:
        wide = max(least, self.x(end) - self.x(start))
        return svg.rect(self.x(start), y, wide, height, rx=2, **attributes)


def waterfall(timeline: Any, width: int = 900, limit: int = 300) -> Html:
    """The picture of a timeline: at most `limit` steps, those that failed or are open before all others."""
    found = lines(timeline)
    shown = chosen(found, max(1, limit))
    scale = _Scale(*extent(timeline, found), max(LABEL + TAIL + 120, width))
    hidden = len(found) - len(shown)
    height = TOP + ROW * max(1, len(shown)) + (ROW if hidden else 0) + 4
    content = [*_axis(scale, height), *(_row(each, place, scale) for place, each in enumerate(shown))]
    if not shown:
        content.append(svg.text(0, TOP + 15, "No steps yet.", fill_opacity=".68"))
    if hidden:
        y = TOP + len(shown) * ROW + 15
        content.append(svg.text(0, y, f"… {plural(hidden, 'more step')}", fill_opacity=".68"))
    return svg.picture(scale.width, height, _alternative(timeline, len(found), scale), *content)


def _axis(scale: _Scale, height: float) -> list[Html]:
    span = scale.last - scale.first
    step = _step(span / 5)
    drawn: list[Html] = []
    for tick in range(min(40, int(span / step) + 1)):
        x = scale.x(scale.first + tick * step)
        drawn.append(svg.line(x, TOP - 6, x, height))
        drawn.append(svg.text(x + 3, TOP - 10, duration(tick * step) if tick else "0", 10.5, fill_opacity=".68"))
    return drawn


def _row(line: Line, place: int, scale: _Scale) -> Html:
    span, y = line.span, TOP + place * ROW
    start = _scheduled(span, scale)
    end = number(span.get("endedAt")) or scale.last
    red = RED if troubled(span) else None
    took = duration(end - start)
    said = f"✕ {took}" if red else took if ended(span) else f"{took} …"
    x = scale.x(max(start, end)) + 5
    label = svg.text(x, y + 15, said, 10.5, fill=red, fill_opacity=None if red else ".75")
    shade = svg.rect(0, y, scale.width, ROW, fill_opacity="0" if place % 2 else ".035")
    return tag("g", shade, *_names(line, y), *_bars(span, y + 6, scale), label, tag("title", _told(span)))


def _names(line: Line, y: float) -> list[Html]:
    """The dot of the kind, the step and, if there is room, whose it is."""
    span = line.span
    indent = min(line.depth * INDENT, LABEL // 2)
    name, agent, room = title(span), str(span.get("agentName") or ""), LABEL - indent - 26
    bold = {"font_weight": "600", "fill": RED} if troubled(span) else {}
    drawn = [tag("circle", cx=indent + 5, cy=y + 11, r=4, fill=_colour(span))]
    drawn.append(svg.text(indent + 14, y + 15, name, 12, room, **bold))
    used = svg.width_of(name, bold=bool(bold)) + 8
    if agent and agent != name and room - used > 40:
        drawn.append(svg.text(indent + 14 + used, y + 15, agent, 11, room - used, fill_opacity=".62"))
    return drawn


def _bars(span: Mapping[str, Any], y: float, scale: _Scale) -> list[Html]:
    """The time in the queue thin and pale, at work full, of a person outlined, of agents below thin."""
    kind = str(span.get("kind") or "")
    scheduled = _scheduled(span, scale)
    end = max(scheduled, number(span.get("endedAt")) or scale.last)
    if kind == "human":
        return [
            scale.bar(scheduled, end, y, BAR, 2, fill=AMBER, fill_opacity=".2", stroke=AMBER, stroke_dasharray="3 2")
        ]
    colour = RED if troubled(span) else _colour(span)
    if kind == "agent":
        return [scale.bar(scheduled, end, y + 3, BAR - 6, 2, fill=colour, fill_opacity=".55")]
    begun = min(max(number(span.get("startedAt")) or end, scheduled), end)
    queued = min(max(number(span.get("availableAt")) or scheduled, scheduled), begun)
    drawn = [scale.bar(queued, begun, y + 3, BAR - 6, fill=colour, fill_opacity=".35")] if begun > queued else []
    if begun < end or ended(span):
        drawn.append(scale.bar(begun, end, y, BAR, 2, fill=colour))
    return drawn


def _scheduled(span: Mapping[str, Any], scale: _Scale) -> float:
    return max(scale.first, number(span.get("scheduledAt")) or scale.first)


def _colour(span: Mapping[str, Any]) -> str:
    kind = str(span.get("kind") or "")
    return KIND.get(kind, (kind, GREY))[1]


def _told(span: Mapping[str, Any]) -> str:
    tokens = number(span.get("promptTokens")) + number(span.get("completionTokens"))
    told = [
        f"{title(span)}: {status_word(span.get('status'))}",
        str(span.get("summary") or ""),
        str(span.get("error") or ""),
        plural(tokens, "token") if tokens else "",
        money(span.get("cost")) if number(span.get("cost")) else "",
    ]
    return "\n".join(each for each in told if each)


def _alternative(timeline: Any, steps: int, scale: _Scale) -> str:
    body = timeline if isinstance(timeline, Mapping) else {}
    state = status_word(body.get("status") or "RUNNING")
    return f"{body.get('agentName') or 'Run'}: {state}, {plural(steps, 'step')} in {duration(scale.last - scale.first)}"


def _step(rough: float) -> float:
    """A round number of ms near `rough`."""
    return next((each for each in STEPS if each >= rough), STEPS[-1] * max(1, round(rough / STEPS[-1])))


SECOND, MINUTE, HOUR, DAY = 1000.0, 60_000.0, 3_600_000.0, 86_400_000.0
STEPS = (
    *(each * scale for scale in (1.0, 10.0, 100.0, SECOND) for each in (1.0, 2.0, 5.0)),
    *(each * SECOND for each in (10.0, 20.0, 30.0)),
    *(each * MINUTE for each in (1.0, 2.0, 5.0, 10.0, 30.0)),
    *(each * HOUR for each in (1.0, 2.0, 6.0, 12.0)),
    *(each * DAY for each in (1.0, 2.0, 7.0, 30.0)),
)
