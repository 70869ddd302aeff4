"""What stands in a cell by itself: an agent, a tool, a guardrail, a plan, or anything of a few named values.

Each card is a function of plain data, in the words of the wire.
"""

from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any

from agentspan.drawing.layers import graph
from agentspan.drawing.markup import FAINT, LINE, Html, box, code, fold, join, muted, number, pre, records, tag
from agentspan.drawing.value import inline, pairs, table, tree
from agentspan.drawing.words import (
    AMBER,
    limit,
    plural,
    short,
)

Json = Mapping[str, Any]


def agent_card(config: Json) -> Html:
    """An agent: who it is, its tools, guardrails and the agents below it. `config` is an agentConfig."""
    below = records(config.get("agents"))
    strategy = str(config.get("strategy") or "handoff").replace("_", " ") if below else ""
    model = str(config.get("model") or "") or ("" if below else "deployed elsewhere")
    head = heading(str(config.get("name") or "agent"), "agent", model, _badge(strategy) if strategy else None)
    told = config.get("instructions")
    parts = [
        head,
        tag("div", str(config["description"])) if config.get("description") else None,
        _instructions(told) if told else None,
        _pairs_of(config),
        *_listed("Tools", [tool_line(each) for each in records(config.get("tools"))]),
        *_listed("Guardrails", [rail_line(each) for each in records(config.get("guardrails"))]),
        fold("Agents", graph(config), opened=True) if _has_picture(config) else None,
    ]
    return box(*parts)


def tool_card(tool: Json) -> Html:
    """A tool: its signature, what it is for, its schemas, and what is special about it."""
    parts = [
        heading(str(tool.get("name") or "tool"), "tool", "", *_flags(tool)),
        tag("div", code(signature(tool)), css="margin:4px 0"),
        *_tool_inside(tool),
    ]
    return box(*parts)


def rail_card(rail: Json) -> Html:
    """A guardrail."""
    return box(heading(str(rail.get("name") or ""), "guardrail", ""), rail_line({**rail, "name": ""}))


def facts_card(title: str, what: str, rows: Sequence[tuple[Any, Any]]) -> Html:
    """Anything that is a few named values."""
    return box(heading(title, what, ""), pairs(rows))


def framed(title: str, what: str, *content: Any) -> Html:
    """Anything under a heading."""
    return box(heading(title, what, ""), *content)


def plan_card(plan: Json) -> Html:
    """A plan, step by step."""
    rows = [
        {
            "step": tag("b", str(each.get("id") or place)),
            "does": _does(each),
            "about": str(each.get("description") or ""),
        }
        for place, each in enumerate(records(plan.get("steps")), 1)
    ]
    columns = [{"key": key, "label": key.capitalize()} for key in ("step", "does", "about")]
    return box(heading(plural(len(rows), "step"), "plan", ""), table(columns, rows, "No steps."))


def note_card(*content: Any) -> Html:
    """A remark."""
    return tag("div", *content, css=NOTE)


def tool_line(tool: Json) -> Html:
    """A tool in one line that opens."""
    head = join(code(signature(tool)), *(join(" ", each) for each in _flags(tool)))
    return fold(head, tag("div", *_tool_inside(tool), css="padding:0 0 4px 16px"))


def rail_line(rail: Json) -> Html:
    """A guardrail in one line."""
    where = f"{rail.get('position') or 'output'}, on failure: {rail.get('onFail') or 'retry'}"
    kind = str(rail.get("guardrailType") or "custom")
    about = rail.get("policy") or ", ".join(map(str, rail.get("patterns") or ()))
    return tag(
        "div",
        tag("b", str(rail.get("name") or "")),
        " ",
        muted(f"{kind} · {where}"),
        join(" ", code(short(about, 120))) if about else None,
    )


def signature(tool: Json) -> str:
    """`get_weather(city: string, days: integer = 3) -> string`."""
    schema = tool.get("inputSchema")
    fields = schema.get("properties") if isinstance(schema, Mapping) else None
    needed = schema.get("required") or () if isinstance(schema, Mapping) else ()
    taken = [_parameter(name, each, name in needed) for name, each in (fields or {}).items()]
    given = tool.get("outputSchema")
    kind = _kind(given) if isinstance(given, Mapping) and given else ""
    return f"{tool.get('name')}({', '.join(taken)})" + (f" -> {kind}" if kind else "")


def _parameter(name: str, schema: Any, needed: bool) -> str:
    told = f"{name}: {_kind(schema)}"
    if needed or not isinstance(schema, Mapping) or "default" not in schema:
        return told if needed else f"{told} = …"
    return f"{told} = {inline(schema['default'], 20)}"


def _kind(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(map(str, kind))
    if kind == "array":
        return f"array of {_kind(schema.get('items'))}" if schema.get("items") else "array"
    if not kind and (choices := schema.get("anyOf")):
        return " | ".join(_kind(each) for each in choices)
    return str(kind or schema.get("title") or "any")


def _tool_inside(tool: Json) -> list[Html | None]:
    schema, given = tool.get("inputSchema"), tool.get("outputSchema")
    return [
        tag("div", str(tool["description"]), css="white-space:pre-wrap;margin:4px 0")
        if tool.get("description")
        else None,
        fold("Arguments", tree(schema, opened=3)) if schema else None,
        fold("Result", tree(given, opened=2)) if given else None,
    ]


def _flags(tool: Json) -> list[Html]:
    kind = str(tool.get("toolType") or "worker")
    told = [
        _badge("approval", AMBER) if tool.get("approvalRequired") else None,
        _badge(kind.replace("_", " ")) if kind != "worker" else None,
        _badge("stateful") if tool.get("stateful") else None,
        _badge(f"at most {plural(tool['maxCalls'], 'call')}") if tool.get("maxCalls") else None,
        _badge(plural(tool["retryCount"], "retry", "retries")) if tool.get("retryCount") else None,
        _badge(f"{number(tool['timeoutSeconds']):g} s") if tool.get("timeoutSeconds") else None,
        _badge("credentials: " + ", ".join(map(str, tool["credentials"]))) if tool.get("credentials") else None,
    ]
    return [each for each in told if each]


def heading(title: str, what: Any, second: str, *more: Any) -> Html:
    """The first line of a card."""
    mark = what if isinstance(what, Html) else _badge(str(what))
    shown = tag("b", short(title, 60), css="font-size:15px", title=title)
    pieces = [shown, mark, muted(second) if second else None, *more]
    return tag("div", *(tag("span", each, css="margin-right:12px") for each in pieces if each), css="margin:0 0 4px")


def _badge(word: str, colour: str | None = None) -> Html:
    line = f"border:1px solid {colour or LINE};color:{colour or 'inherit'}"
    return tag("span", word, css=f"{line};border-radius:9px;padding:0 8px;font-size:11px;white-space:nowrap")


def _instructions(told: Any) -> Html:
    if isinstance(told, Mapping):
        name = told.get("name") or told.get("taskName") or ""
        return tag("div", muted("Instructions: "), code(str(name)))
    text = str(told)
    if len(text) <= 160 and "\n" not in text:
        return tag("div", muted(text), css="margin:4px 0")
    return fold(join("Instructions ", muted(short(text, 100))), pre(text))


def _pairs_of(config: Json) -> Html | None:
    budget = config.get("budget")
    rows = [
        (
            "budget",
            ", ".join(starmap(limit, budget.items())) if isinstance(budget, Mapping) else "",
        ),
        ("output", config.get("outputName") or ""),
        ("memory", config.get("memoryName") or ""),
        ("at most", plural(config["maxTurns"], "turn") if config.get("maxTurns") not in (None, 25) else ""),
        ("fallback", config["fallback"] if isinstance(config.get("fallback"), str) else ""),
    ]
    found = [(name, value) for name, value in rows if value]
    return pairs(found) if found else None


def _listed(title: str, items: list[Html]) -> list[Html]:
    if not items:
        return []
    return [tag("div", muted(title), css="margin:8px 0 0;font-size:12px"), *items]


def _has_picture(config: Json) -> bool:
    tools = records(config.get("tools"))
    nested = any(isinstance(each.get("config"), Mapping) and each["config"].get("agentConfig") for each in tools)
    return (
        bool(records(config.get("agents")))
        or nested
        or any(isinstance(config.get(key), Mapping) for key in ("router", "planner", "fallback"))
    )


def _does(step: Json) -> Html:
    calls = [f"{each.get('tool')}({inline(each.get('args') or {}, 60)})" for each in records(step.get("ops"))]
    if generate := step.get("generate"):
        words = generate.get("prompt") if isinstance(generate, Mapping) else generate
        calls.append(f"write: {short(words, 80)}")
    return join(*(tag("div", code(each)) for each in calls))


NOTE = f"margin:8px 0;padding:8px 12px;border-left:3px solid {AMBER};background:{FAINT};border-radius:0 6px 6px 0"
