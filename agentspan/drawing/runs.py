"""Runs in a cell: while they go on, when they are over, in lists and side by side.

Each card is a function of plain data, in the words of the wire.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agentspan.drawing.bars import waterfall
from agentspan.drawing.cards import heading, note_card
from agentspan.drawing.markup import FAINT, Html, box, code, fold, join, link, muted, number, records, tag
from agentspan.drawing.order import lines
from agentspan.drawing.output import output
from agentspan.drawing.prose import markdown
from agentspan.drawing.telling import steps, transcript
from agentspan.drawing.value import inline, pairs, table
from agentspan.drawing.words import (
    AMBER,
    BLUE,
    RED,
    count,
    duration,
    facts,
    limit,
    money,
    plural,
    short,
    since,
    stamp,
    status_mark,
)

Json = Mapping[str, Any]


def result_card(result: Json, value: Any = None, timeline: Any = None, url: str = "", times: bool = True) -> Html:
    """What a run came to. `result` as the server answers it; `value` its output, of whatever type.

    `timeline` for its steps and its waterfall, `url` of its page. Without `times` nothing differs from run to run.
    """
    calls, tokens = records(result.get("toolCalls")), _tokens(result)
    found = lines(timeline)
    told = facts(
        plural(len(found), "step") if found else None,
        plural(len(calls), "tool call") if calls else None,
        f"{count(tokens)} tokens" if tokens else None,
        money(result.get("cost"), bool(result.get("costUnknown"))) if tokens else None,
        _took(timeline) if times else None,
        _reason(result),
    )
    said = records(result.get("messages"))
    bars = tag("div", waterfall(timeline, limit=100), css="overflow-x:auto") if found and times else None
    parts = [
        heading(str(result.get("agentName") or "run"), status_mark(result.get("status") or "COMPLETED"), "", told),
        _problem(result.get("error")),
        tag("div", output(value), css="margin:8px 0") if value is not None or not result.get("error") else None,
        *_said_below(result),
        _steps(timeline, len(found), times) if found else _calls(calls),
        fold("Timeline", bars) if bars else None,
        fold(f"Conversation ({plural(len(said), 'message')})", transcript(said, 50)) if said else None,
        _foot(str(result.get("executionId") or ""), url),
    ]
    return box(*parts)


def run_card(run: Json) -> Html:
    """A run that goes on. `run`: agentName, executionId, status, speaker, step, text, elapsedMs, tokens, cost,
    costUnknown, budget, spent, requests, waitingFor, note, url; what is not known is left out."""
    requests, waiting = records(run.get("requests")), records(run.get("waitingFor"))
    status = "WAITING" if requests and run.get("status") == "RUNNING" else run.get("status") or "RUNNING"
    told = facts(
        duration(run["elapsedMs"]) if run.get("elapsedMs") is not None else None,
        f"{count(run['tokens'])} tokens" if number(run.get("tokens")) else None,
        money(run.get("cost"), bool(run.get("costUnknown"))) if number(run.get("tokens")) else None,
    )
    parts = [
        heading(str(run.get("agentName") or "run"), status_mark(status), "", told),
        _now(run),
        _limits(run.get("budget"), run.get("spent")),
        tag("div", markdown(str(run["text"])), css="margin:8px 0") if run.get("text") else None,
        *(_asks(each) for each in requests[:5]),
        *(_unserved(each) for each in waiting[:5]),
        tag("div", run["note"], css="margin:8px 0") if run.get("note") else None,
        _foot(str(run.get("executionId") or ""), str(run.get("url") or "")),
    ]
    return box(*parts)


def runs_table(rows: Sequence[Json], total: int | None = None, url: str = "", now: int | None = None) -> Html:
    """A list of runs. `url`: where the page of a run is, before its id."""
    drawn = [_run_row(each, url, now) for each in rows]
    head = (
        f"{count(len(rows))} of {plural(total, 'run')}"
        if total is not None and total > len(rows)
        else plural(len(rows), "run")
    )
    return box(heading(head, "runs", ""), table(RUN_COLUMNS, drawn, "No runs."))


def comparison_card(body: Json) -> Html:
    """Two runs side by side: `first` the sentence of their first difference, `totals` and `rows` as the columns say."""
    same = bool(body.get("same"))
    mark = tag("b", "= the same" if same else "≠ different", css=f"color:{BLUE if same else AMBER}")
    totals = table(("", "a", "b"), [list(each) for each in body.get("totals") or ()])
    steps_ = table(
        ({"key": "mark", "label": ""}, "agent", "step", "a", "b"),
        [_compared(each) for each in records(body.get("rows"))],
        "No steps.",
    )
    definition = [code(f"{each}") for each in body.get("definition") or ()]
    parts = [
        heading("Comparison", mark, ""),
        tag("div", str(body["first"]), css="margin:4px 0") if body.get("first") else None,
        totals,
        fold("What differs in the agents", *(tag("div", each) for each in definition)) if definition else None,
        fold(f"Steps ({count(len(records(body.get('rows'))))})", steps_, opened=not same),
    ]
    return box(*parts)


def _problem(error: Any) -> Html | None:
    if not error:
        return None
    return tag("div", str(error), css=f"margin:8px 0;padding:4px 12px;border-left:3px solid {RED};white-space:pre-wrap")


def _reason(result: Json) -> Html | None:
    reason = str(result.get("finishReason") or "")
    return muted(reason.lower().replace("_", " ")) if reason.lower() not in ("", "stop", "error") else None


def _tokens(result: Json) -> float:
    used = result.get("tokenUsage")
    return number(used.get("totalTokens")) if isinstance(used, Mapping) else 0


def _took(timeline: Any) -> str | None:
    executions = records(timeline.get("executions")) if isinstance(timeline, Mapping) else []
    start, end = (number(executions[0].get(key)) for key in ("startTime", "endTime")) if executions else (0, 0)
    return duration(end - start) if start and end else None


def _said_below(result: Json) -> list[Html]:
    below = result.get("subResults")
    if not isinstance(below, Mapping) or len(below) < 2:
        return []
    return [
        fold(
            f"What each of {plural(len(below), 'agent')} said",
            pairs([(name, output(each)) for name, each in below.items()]),
        )
    ]


def _steps(timeline: Any, n: int, times: bool) -> Html:
    return fold(f"Steps ({count(n)})", steps(timeline, 100, times=times))


def _calls(calls: list[dict[str, Any]]) -> Html | None:
    if not calls:
        return None
    rows = [
        {
            "tool": tag("b", str(each.get("name") or "")),
            "arguments": inline(each.get("args") or {}, 120),
            "result": inline(each.get("error") or each.get("result"), 160),
        }
        for each in calls[:100]
    ]
    columns = [{"key": key, "label": key.capitalize()} for key in ("tool", "arguments", "result")]
    return fold(f"Tool calls ({count(len(calls))})", table(columns, rows))


def _foot(execution_id: str, url: str) -> Html | None:
    if not execution_id:
        return None
    line = code(f'runtime.attach("{execution_id}")')
    return tag(
        "div", line, join(muted(" · "), _link(url)) if url else None, css="margin-top:8px;font-size:12px;opacity:.85"
    )


def _link(url: str) -> Html:
    return link(url, "open in the dashboard")


def _now(run: Json) -> Html | None:
    speaker, step = run.get("speaker"), run.get("step")
    told = facts(
        tag("b", short(speaker, 40)) if speaker and speaker != run.get("agentName") else None,
        short(step, 120) if step else None,
        plural(run["steps"], "step") + " so far" if number(run.get("steps")) else None,
    )
    return tag("div", told, css="opacity:.8") if told else None


def _limits(budget: Any, spent: Any) -> Html | None:
    """How much of each limit is left, as a thin bar and in words."""
    if not isinstance(budget, Mapping):
        return None
    used = spent if isinstance(spent, Mapping) else {}
    drawn = []
    for name, most in budget.items():
        if number(most) <= 0:
            continue
        part = min(1.0, number(used.get(name)) / number(most))
        colour = RED if part >= 0.95 else AMBER if part >= 0.75 else BLUE
        inner = tag("div", css=f"height:4px;width:{part * 100:.0f}%;background:{colour};border-radius:2px")
        bar = tag("div", inner, css=f"width:160px;height:4px;background:{FAINT};border-radius:2px;margin:3px 0 5px")
        left = max(0.0, number(most) - number(used.get(name)))
        words = f"{limit(name, left)} of {limit(name, most)} left"
        drawn.append(tag("div", muted(words), bar, css="display:inline-block;margin-right:24px;font-size:12px"))
    return tag("div", *drawn, css="margin:4px 0") if drawn else None


def _asks(request: Json) -> Html:
    tool = request.get("tool")
    words = tag("b", "A person is asked", css=f"color:{AMBER}")
    call = code(f"{tool}({inline(request.get('arguments') or {}, 100)})") if tool else None
    content = request.get("content")
    return note_card(
        words, join(": ", call) if call else None, tag("div", short(content, 300)) if isinstance(content, str) else None
    )


def _unserved(waiting: Json) -> Html:
    head = tag("b", "No worker serves ", css=f"color:{AMBER}")
    return note_card(
        head, code(str(waiting.get("tool") or "a tool")), muted(" Run the cell or the process that defines it.")
    )


def _run_row(row: Json, url: str, now: int | None) -> dict[str, Any]:
    key = str(row.get("executionId") or "")
    name = code(f"{key[:8]}…{key[-4:]}" if len(key) > 13 else key)
    start, end = number(row.get("startTime")), number(row.get("endTime"))
    took = row.get("durationMs") if row.get("durationMs") is not None else (end - start if start and end else None)
    waiting = {"person": "WAITING"}.get(str(row.get("waiting") or ""))
    tokens = number(row.get("promptTokens")) + number(row.get("completionTokens"))
    return {
        "run": link(url + key, name, title=key) if url else tag("span", name, title=key),
        "agent": tag("b", short(row.get("agentName") or "", 40), title=str(row.get("agentName") or "")),
        "status": status_mark(waiting or row.get("status")),
        "preview": short(row.get("preview") or "", 80),
        "started": since(start, now) if now else stamp(start),
        "time": duration(took) if took is not None else "",
        "tokens": count(tokens) if tokens else "",
        "cost": money(row.get("cost"), bool(row.get("costUnknown"))) if row.get("cost") is not None else "",
    }


def _compared(row: Json) -> dict[str, Any]:
    same = bool(row.get("same"))
    return {
        "mark": muted("=") if same else tag("b", "≠", css=f"color:{AMBER}"),
        "agent": str(row.get("agent") or ""),
        "step": " ".join(str(row.get(key)) for key in ("kind", "name") if row.get(key)),
        "a": _side(row.get("a"), same),
        "b": _side(row.get("b"), same),
    }


def _side(value: Any, same: bool) -> Html:
    text = "-" if value is None else inline(value, 160)
    return muted(text) if same else tag("span", text)


RUN_COLUMNS = (
    {"key": "run", "label": "Run"},
    {"key": "agent", "label": "Agent"},
    {"key": "status", "label": "Status"},
    {"key": "preview", "label": "Prompt"},
    {"key": "started", "label": "Started", "align": "right"},
    {"key": "time", "label": "Time", "align": "right"},
    {"key": "tokens", "label": "Tokens", "align": "right"},
    {"key": "cost", "label": "Cost", "align": "right"},
)
