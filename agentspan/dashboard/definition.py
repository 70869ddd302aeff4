"""What an agent is made of, as HTML: its instructions, tools, guardrails, the agents below it, and its limits."""

from collections.abc import Iterator, Mapping
from itertools import starmap
from typing import Any

from agentspan.drawing.cards import rail_line, tool_line
from agentspan.drawing.layers import graph
from agentspan.drawing.markup import Html, code, fold, join, muted, pre, records, tag
from agentspan.drawing.value import inline, pairs, tree
from agentspan.drawing.words import limit, plural

Json = Mapping[str, Any]

DEEP = 12
"""So many agents below one another are told of."""


def definition(config: Json) -> Html:
    """An agentConfig, part by part."""
    whole = fold(muted("All of it, as JSON"), tree(config, opened=2))
    return tag("div", _picture(config), *_parts(config, 0), whole, css="font-size:14px;line-height:1.5")


def _picture(config: Json) -> Html:
    """The agent as a picture; that of an agent alone stands beside what is told of it."""
    is_alone = not any(True for _ in _below(config))
    return tag("div", graph(config), css=f"overflow-x:auto;margin:0 0 20px;{BESIDE if is_alone else ''}")


def _parts(config: Json, depth: int) -> Iterator[Html]:
    if told := config.get("instructions"):
        yield _part("Instructions", _instructions(told))
    if tools := records(config.get("tools")):
        yield _part("Tools", *map(tool_line, tools), count=len(tools))
    if rails := records(config.get("guardrails")):
        yield _part("Guardrails", *map(rail_line, rails), count=len(rails))
    if (below := list(_below(config))) and depth < DEEP:
        yield _part("Agents", *(_agent(name, each, depth) for name, each in below), count=len(below))
    if rows := list(_settings(config)):
        yield _part("Settings and limits", pairs(rows))


def _part(name: str, *content: Any, count: int | None = None) -> Html:
    head = tag("h3", name, muted(f" {count}") if count else None, css="font-size:13px;font-weight:600;margin:0 0 4px")
    return tag("section", head, *content, css="margin:0 0 20px")


def _instructions(told: Any) -> Html:
    if isinstance(told, Mapping):
        what = "the prompt template" if told.get("name") else "a function of the worker"
        return tag("div", f"By {what} ", code(str(told.get("name") or told.get("taskName") or "")))
    return pre(str(told))


def _below(config: Json) -> Iterator[tuple[str, Json]]:
    """The agents of an agent, each with what it is there."""
    yield from (("", each) for each in records(config.get("agents")))
    for role in ("router", "planner", "fallback"):
        if isinstance(other := config.get(role), Mapping) and other.get("name"):
            yield role, other
    for each in records(config.get("tools")):
        inside = each.get("config")
        if isinstance(inside, Mapping) and isinstance(nested := inside.get("agentConfig"), Mapping):
            yield "tool", nested


def _agent(role: str, config: Json, depth: int) -> Html:
    about = [role, str(config.get("model") or ""), str(config.get("strategy") or "") if config.get("agents") else ""]
    if config.get("tools"):
        about.append(plural(len(records(config["tools"])), "tool"))
    head = join(tag("b", str(config.get("name") or "agent")), muted("  " + " · ".join(each for each in about if each)))
    inside = list(_parts(config, depth + 1)) or [muted("Deployed elsewhere: it is known by its name.")]
    return fold(head, tag("div", *inside, css="padding:8px 0 0 16px"))


def _settings(config: Json) -> Iterator[tuple[str, Any]]:
    """What is set, in the order of the table; what nobody has a word for comes last, by its own name."""
    for key, name in NAMES.items():
        if (value := config.get(key)) not in UNSET and (key, value) not in USUAL:
            yield name, _setting(key, value)
    for key, value in config.items():
        if key not in NAMES and key not in TOLD and value not in UNSET:
            yield key, _setting(key, value)


def _setting(key: str, value: Any) -> Any:
    if key == "budget" and isinstance(value, Mapping):
        return ", ".join(starmap(limit, value.items()))
    if isinstance(value, Mapping | list):
        return fold(code(inline(value, 80)), tree(value, opened=2))
    return f"{value:g} s" if key == "timeoutSeconds" else str(value)


UNSET: tuple[Any, ...] = (None, "", 0, False, [], {}, ())
USUAL = (("maxTurns", 25), ("external", False))
NAMES = {
    "strategy": "Strategy",
    "maxTurns": "Turns at most",
    "timeoutSeconds": "Time at most",
    "budget": "Budget",
    "temperature": "Temperature",
    "maxTokens": "Tokens of an answer at most",
    "reasoningEffort": "Reasoning effort",
    "thinkingConfig": "Thinking",
    "outputType": "Output",
    "memory": "Memory",
    "termination": "Ends when",
    "stopWhen": "Stops when",
    "handoffs": "Handoffs",
    "gate": "Gate",
    "callbacks": "Callbacks",
    "baseUrl": "Address of the model",
}
TOLD = {
    "name",
    "description",
    "model",
    "instructions",
    "tools",
    "guardrails",
    "agents",
    "router",
    "planner",
    "fallback",
}
"""What stands elsewhere on the page."""
BESIDE = "float:right;margin-left:24px"
