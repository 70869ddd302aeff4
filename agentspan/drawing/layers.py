"""The picture of an agent: itself, its tools and the agents below it, from left to right; the same each time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentspan.drawing import svg
from agentspan.drawing.markup import Html, records, tag
from agentspan.drawing.words import AMBER, BLUE, GREY, PINK, TEAL, VIOLET, plural

Json = Mapping[str, Any]

WIDE, GAP_X, GAP_Y, PAD = 224, 60, 14, 12
BOLD = 1.12
"""So much wider are bold letters."""
LINE_HEIGHT, HEAD = 18, 44
TOOLS, DEPTH, AGENTS = 8, 24, 400


@dataclass
class _Node:
    config: Json
    label: str
    dashed: bool = False
    tools: list[Json] = field(default_factory=list)
    hidden: int = 0
    below: "list[_Node]" = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    @property
    def height(self) -> float:
        lines = len(self.tools) + bool(self.hidden)
        return HEAD + (lines * LINE_HEIGHT + 8 if lines else 0)


def graph(agent_config: Any) -> Html:
    """The picture of an agentConfig."""
    root = _tree(agent_config if isinstance(agent_config, Mapping) else {}, "", False, DEPTH, [AGENTS])
    height = _place(root, 0, 1.0)
    nodes = list(_all(root))
    width = max(each.x for each in nodes) + WIDE + 2
    edges = [_edge(parent, child, number) for parent in nodes for number, child in enumerate(parent.below, 1)]
    title = f"The agent {root.config.get('name') or ''} with {plural(len(nodes) - 1, 'agent')} below it"
    return svg.picture(width, height - GAP_Y + 2, title, *edges, *(_card(each) for each in nodes))


def _tree(config: Json, label: str, dashed: bool, depth: int, left: list[int]) -> _Node:
    node = _Node(config, label, dashed)
    tools = records(config.get("tools"))
    plain = [each for each in tools if not isinstance(_nested(each), Mapping)]
    node.tools, node.hidden = [*plain[:TOOLS]], max(0, len(plain) - TOOLS)
    if depth == 0:
        return node
    for child, name, thin in _below(config, tools):
        if left[0] <= 0:
            break
        left[0] -= 1
        node.below.append(_tree(child, name, thin, depth - 1, left))
    return node


def _below(config: Json, tools: list[dict[str, Any]]) -> Iterator[tuple[Json, str, bool]]:
    """The agents below one: its members, its router, planner and fallback, and those that are its tools."""
    strategy = str(config.get("strategy") or "handoff")
    for place, each in enumerate(records(config.get("agents")), 1):
        yield each, str(place) if strategy in IN_ORDER else "", False
    for key in ("router", "planner", "fallback"):
        if isinstance(other := config.get(key), Mapping) and "name" in other:
            yield other, key, True
    for each in tools:
        if isinstance(nested := _nested(each), Mapping):
            yield nested, "tool", True


def _nested(tool: Json) -> Any:
    config = tool.get("config")
    return config.get("agentConfig") if isinstance(config, Mapping) else None


def _place(node: _Node, depth: int, y: float) -> float:
    """Give the node and all below it their places from `y` on; the first y that is free below them."""
    node.x = 1 + depth * (WIDE + GAP_X)
    if not node.below:
        node.y = y
        return y + node.height + GAP_Y
    bottom = y
    for each in node.below:
        bottom = _place(each, depth + 1, bottom)
    first, last = node.below[0], node.below[-1]
    middle = (first.y + last.y + last.height) / 2
    node.y = max(y, middle - node.height / 2)
    return max(bottom, node.y + node.height + GAP_Y)


def _all(node: _Node) -> Iterator[_Node]:
    yield node
    for each in node.below:
        yield from _all(each)


def _card(node: _Node) -> Html:
    config, x, y = node.config, node.x, node.y
    frame = svg.rect(
        x, y, WIDE, node.height, rx=8, fill="currentColor", fill_opacity=".045", stroke="currentColor",
        stroke_opacity=".38", stroke_dasharray="4 3" if node.dashed else None,
    )  # fmt: skip
    rule = str(config.get("strategy") or "handoff").replace("_", " ") if records(config.get("agents")) else ""
    left = WIDE - 2 * PAD - (svg.width_of(rule, 10.5) + 8 if rule else 0)
    name = svg.text(x + PAD, y + 17, config.get("name") or "agent", 13, left / BOLD, font_weight="600")
    how = svg.text(x + WIDE - PAD, y + 17, rule, 10.5, text_anchor="end", fill_opacity=".75") if rule else None
    under = svg.text(x + PAD, y + 33, _under(config), 11, WIDE - 2 * PAD, fill_opacity=".68")
    tools = [_tool(each, x + PAD, y + HEAD + place * LINE_HEIGHT) for place, each in enumerate(node.tools)]
    if node.hidden:
        at = y + HEAD + len(node.tools) * LINE_HEIGHT + 13
        tools.append(svg.text(x + PAD + 14, at, f"… {node.hidden} more", 11, fill_opacity=".68"))
    edge = svg.line(x, y + HEAD - 2, x + WIDE, y + HEAD - 2) if tools else None
    return tag("g", frame, name, how, under, edge, *tools)


def _under(config: Json) -> str:
    model = config.get("model")
    if isinstance(model, str) and model:
        return model
    return plural(len(below), "agent") if (below := records(config.get("agents"))) else "deployed elsewhere"


def _tool(tool: Json, x: float, y: float) -> Html:
    kind = str(tool.get("toolType") or "worker")
    dot = tag("circle", cx=x + 4, cy=y + 9, r=3.5, fill=COLOURS.get(kind, GREY))
    asks = bool(tool.get("approvalRequired"))
    name = svg.text(x + 14, y + 13, tool.get("name") or "tool", 12, WIDE - 2 * PAD - (66 if asks else 16))
    flag = svg.text(x + WIDE - 2 * PAD, y + 13, "approval", 10.5, fill=AMBER, text_anchor="end") if asks else None
    return tag("g", dot, name, flag, tag("title", f"{tool.get('name')}: {tool.get('description') or kind}"))


def _edge(parent: _Node, child: _Node, number: int) -> Html:
    x1, y1 = parent.x + WIDE, parent.y + min(parent.height, HEAD) / 2
    x2, y2 = child.x, child.y + min(child.height, HEAD) / 2
    middle = (x1 + x2) / 2
    path = tag(
        "path", d=f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2 - 5:.1f} {y2:.1f}", fill="none",
        stroke="currentColor", stroke_opacity=".45", stroke_dasharray="4 3" if child.dashed else None,
    )  # fmt: skip
    head = tag(
        "path", d=f"M{x2 - 6:.1f} {y2 - 3.5:.1f}L{x2:.1f} {y2:.1f}L{x2 - 6:.1f} {y2 + 3.5:.1f}z", fill_opacity=".6"
    )
    at = x2 - 9
    words = svg.text(at, y2 - 5, child.label, 10.5, text_anchor="end", fill_opacity=".75") if child.label else None
    return tag("g", path, head, words)


IN_ORDER = ("sequential", "round_robin")
COLOURS = {"worker": BLUE, "http": TEAL, "api": TEAL, "mcp": TEAL, "human": AMBER, "code": PINK, "generate": VIOLET}
"""By the type of a tool."""
