"""Tools that a run finds where its agent points to, as it begins: which of them the agent has. Pure."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from agentspan.errors import InvalidSpec
from agentspan.spec.tool import ToolSpec

TYPES = ("api", "mcp")
"""Types of tools that stand for others, whose names are known only when a run begins."""
MOST_TOOLS = 64
NAME_CHARS = 64


def is_stand_in(tool: ToolSpec) -> bool:
    """Whether it stands for others, which the start of a run finds."""
    return tool.tool_type in TYPES and not tool.config.get("method")


def chosen(found: Mapping[str, ToolSpec], tool: ToolSpec, *, place: str, what: str, about: str) -> tuple[ToolSpec, ...]:
    """Those that `tool`, which stands for them, names by `tool_names`, else all. Of more than its `max_tools`, those
    that have most in common with what the agent is about.

    InvalidSpec if one that it names is not there.
    """
    wanted = list(dict.fromkeys(tool.config.get("tool_names") or tool.config.get("toolNames") or found))
    if missing := [str(name) for name in wanted if name not in found]:
        raise InvalidSpec(f"{place} has no {what} {', '.join(missing)}; it has {_some(found)}")
    most = int(tool.config.get("max_tools") or tool.config.get("maxTools") or MOST_TOOLS)
    if len(wanted) > most:
        fits = _fits({name: found[name] for name in wanted}, about)
        best = set(sorted(wanted, key=lambda name: -fits[name])[:most])
        wanted = [name for name in wanted if name in best]
    return tuple(found[name] for name in wanted)


def _fits(tools: Mapping[str, ToolSpec], about: str) -> dict[str, float]:
    """How many words of its name and description each has in common with a text; a word of many tools counts less."""
    said = {name: _words(f"{name} {tool.description}") for name, tool in tools.items()}
    spread = Counter(each for words in said.values() for each in words)
    asked = _words(about)
    return {name: sum(1 / spread[each] for each in sorted(words & asked)) for name, words in said.items()}


def _words(text: str) -> set[str]:
    return {each.lower() for each in re.findall(r"[^\W\d_]?[^\WA-Z\d_]+|[A-Z]{2,}|\d+", text) if len(each) > 2}


def word(text: str) -> str:
    """A text as models take it for a name."""
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")[:NAME_CHARS] or "value"


def shown(url: str) -> str:
    """A URL in an error: its query may hold what nobody should see."""
    return url.partition("?")[0]


def _some(names: Mapping[str, Any]) -> str:
    return ", ".join(list(names)[:10]) + (", ..." if len(names) > 10 else "")
