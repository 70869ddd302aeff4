"""A run as a notebook that runs by itself: the agent as code, its turns with their calls, and the run played again.

The run's file is in the notebook, so it needs no server, no key and no network: what models, functions and people said
is what they said.
"""

import asyncio
import base64
import gzip
import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from agentspan.agents.as_code import Code, as_code, left_out
from agentspan.client.client import Client

Json = dict[str, Any]

MOST_TURNS = 200
MOST_CHARS = 20_000
LINE = 110


@dataclass
class Call:
    """A call of a tool, with the last of what came of it."""

    name: str
    arguments: Json
    result: Any = None
    error: str | None = None
    is_over: bool = False


@dataclass
class Turn:
    """One turn of one agent: what it said, what it called, and what else happened."""

    path: tuple[str, ...]
    number: int
    said: list[str] = field(default_factory=list)
    calls: dict[str, Call] = field(default_factory=dict)
    asides: list[str] = field(default_factory=list)


async def told(client: Client, execution_id: str, text: str) -> str:
    """The run of a file as the text of a notebook; the rest of what is told is asked of its server."""
    body, steps = await client.result(execution_id), await client.steps(execution_id)
    events: list[Json] = []
    while page := (await client.events(execution_id, after=events[-1]["id"] if events else 0))["events"]:
        events += page
    notebook = await asyncio.to_thread(notebook_of, text, body, steps, events)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def notebook_of(text: str, body: Json, steps: Sequence[Json], events: Sequence[Json]) -> Json:
    """The notebook of a run: `text` is its file, `body` its result, `steps` and `events` what happened."""
    lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    config = next(each["spec"] for each in lines if each.get("line") == "spec")
    kinds = {each["event"]["fact"]["type"] for each in lines if each.get("line") == "event"}
    code = as_code(config, stand_in="return recorded({name!r}, {arguments})")
    cells = [
        _markdown(_head(body, steps, config)),
        _markdown(RUN_TOLD.format(id=body["executionId"])),
        {**_code(_run_cell(text)), "metadata": {"jupyter": {"source_hidden": True}}},
        _markdown(_agent_told(code)),
        _code(code.text),
        _markdown("## What happened"),
        *_turn_cells(steps, events, code),
        _markdown(_outcome(body)),
        _markdown(AGAIN_TOLD if _can_be_played(body, kinds) else AGAIN_ALMOST),
        _code(_again(body, code, checked=_can_be_played(body, kinds)), _result(body, kinds)),
    ]
    return {"cells": _numbered(cells), "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def turns_of(steps: Sequence[Json], events: Sequence[Json]) -> list[Turn]:
    """The turns of all agents of a run, in the order in which they began."""
    told = {each["id"]: each for each in events if each.get("id") is not None}
    turns: dict[tuple[tuple[str, ...], int], Turn] = {}
    calls: dict[tuple[str, str], Call] = {}
    for step in steps:
        event = told.get(step["seq"], {})
        if step["kind"].startswith("execution_"):
            continue
        path = tuple(step.get("path") or ())
        turn = turns.setdefault((path, step.get("turn") or 0), Turn(path, step.get("turn") or 0))
        _tell(turn, step, event, calls)
    return [turn for turn in turns.values() if turn.said or turn.calls or turn.asides]


def _tell(turn: Turn, step: Json, event: Json, calls: dict[tuple[str, str], Call]) -> None:
    """Put one event into its turn."""
    # An error names the call itself, where others name its tool.
    call = event.get("callId") or (event.get("toolName") if event.get("type") == "error" else "")
    key = (event.get("executionId") or "", str(call or ""))
    match event.get("type"):
        case "tool_call":
            found = calls.setdefault(key, Call(event.get("toolName") or "", _shown(event.get("args"))))
            turn.calls.setdefault(":".join(key), found)
        case "tool_result" if key in calls:
            calls[key].result, calls[key].error, calls[key].is_over = event.get("result"), None, True
        case "error" if key in calls:
            calls[key].error, calls[key].is_over = str(event.get("content") or ""), True
        case "message":
            turn.said.append(str(event.get("content") or ""))
        case _ if step["kind"] in ASIDES:
            turn.asides.append(f"{ASIDES[step['kind']]}: {step['summary']}")


def _turn_cells(steps: Sequence[Json], events: Sequence[Json], code: Code) -> Iterator[Json]:
    turns = turns_of(steps, events)
    several = len({turn.path for turn in turns}) > 1
    for turn in turns[:MOST_TURNS]:
        yield _markdown(_turn(turn, code, several=several))
        for call in turn.calls.values():
            if call.name in code.functions and call.is_over and call.error is None:
                yield _code(_call(code.functions[call.name], call.arguments), call.result)
    if len(turns) > MOST_TURNS:
        yield _markdown(f"… and {len(turns) - MOST_TURNS} more turns, which the run's file has.")


def _turn(turn: Turn, code: Code, *, several: bool) -> str:
    who = f"{turn.path[-1] if turn.path else 'the team'}, turn {turn.number}" if several else f"Turn {turn.number}"
    parts = [f"### {who}" if turn.number else f"### {turn.path[-1] if turn.path else 'Before the first turn'}"]
    parts += [_quoted(each) for each in turn.said if each.strip()]
    parts += [f"*{_line(each)}*" for each in turn.asides]
    for call in turn.calls.values():
        if call.error is not None:
            parts.append(f"`{call.name}` was called, and failed: {_line(call.error)}\n\n{_fenced(call.arguments)}")
        elif not call.is_over:
            parts.append(f"`{call.name}` was called, and had not come back.\n\n{_fenced(call.arguments)}")
        elif call.name not in code.functions:
            told = f"`{call.name}` was called with\n\n{_fenced(call.arguments)}\n\nand gave\n\n{_fenced(call.result)}"
            parts.append(told)
    if any(call.name in code.functions and call.is_over and call.error is None for call in turn.calls.values()):
        parts.append("It called:")
    return "\n\n".join(parts)


def _head(body: Json, steps: Sequence[Json], config: Json) -> str:
    prompt = next((each["summary"] for each in steps if each["kind"] == "execution_started"), "")
    usage = body.get("tokenUsage") or {}
    began, ended = body.get("startTime") or 0, body.get("endTime") or 0
    cost = "its price is unknown" if body.get("costUnknown") else f"${body['cost']:.4f}" if body.get("cost") else "$0"
    rows = [
        ("asked", prompt),
        ("outcome", ", ".join(str(body[key]).lower() for key in ("status", "finishReason") if body.get(key))),
        ("model", config.get("model") or "those of its agents"),
        ("began", datetime.fromtimestamp(began / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if began else ""),
        ("took", f"{(ended - began) / 1000:.1f} s" if ended and began else ""),
        ("tokens", f"{usage.get('promptTokens', 0)} in, {usage.get('completionTokens', 0)} out"),
        ("cost", cost),
        ("run", f"`{body['executionId']}`"),
    ]
    table = "\n".join(f"| {name} | {_line(value)} |" for name, value in rows if value)
    return f"# A run of {body.get('agentName') or config['name']}\n\n| | |\n|---|---|\n{table}"


def _agent_told(code: Code) -> str:
    if code.is_whole:
        return AGENT_TOLD
    missing = left_out(code.left_out) or "some of its details"
    return f"{AGENT_TOLD}\n\nThe code does not say everything of this agent: {missing}. The run below has it all."


def _run_cell(text: str) -> str:
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    lines = "\n".join(f'    "{packed[at : at + LINE]}"' for at in range(0, len(packed), LINE))
    return RUN_CELL.format(lines=lines)


def _outcome(body: Json) -> str:
    output = body.get("output")
    value = output.get("result") if isinstance(output, dict) and "result" in output else output
    if body["status"] != "COMPLETED":
        reason = body.get("reasonForIncompletion") or "no reason was given"
        return f"## The outcome\n\n**{str(body['status']).lower()}**: {_line(reason)}"
    return f"## The outcome\n\n{_quoted(value) if isinstance(value, str) else _fenced(value)}"


def _can_be_played(body: Json, kinds: Iterable[str]) -> bool:
    """Does nothing count but what models, functions and people said?"""
    return body["status"] in ("COMPLETED", "FAILED") and not set(kinds) & set(FROM_OUTSIDE)


def _again(body: Json, code: Code, *, checked: bool) -> str:
    given = f"file, {code.name}" if code.is_whole else "file"
    begin = "from agentspan.agents.testing import replay_file\n\n"
    if not checked:
        return f"{begin}again = replay_file({given}, strict=False)\nstr(again.status)"
    begin += f"again = replay_file({given})\n"
    output = body.get("output")
    if body["status"] == "FAILED" or not isinstance(output, dict) or "result" not in output:
        return f"{begin}assert again.status == {body['status']!r}, again.status\nagain.error"
    return f'{begin}assert again.output["result"] == {output["result"]!r}\nagain.output["result"]'


def _result(body: Json, kinds: Iterable[str]) -> Any:
    """What the last cell shows, as far as it is known."""
    output = body.get("output")
    if body["status"] != "COMPLETED" or not isinstance(output, dict) or not _can_be_played(body, kinds):
        return None
    return output.get("result")


def _call(function: str, arguments: Json) -> str:
    if not all(each.isidentifier() for each in arguments):
        return f"{function}(**{arguments!r})"
    told = [f"{key}={value!r}" for key, value in arguments.items()]
    line = f"{function}({', '.join(told)})"
    return line if len(line) <= LINE else "\n".join([f"{function}(", *(f"    {each}," for each in told), ")"])


def _markdown(text: str) -> Json:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


NOTHING: Any = object()


def _code(source: str, value: Any = NOTHING) -> Json:
    """A cell, with the value that it shows when it is run."""
    cell: Json = {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
    if value is not NOTHING and value is not None:
        data = {"text/plain": repr(value)[:MOST_CHARS]}
        cell["outputs"] = [{"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None}]
    return cell


def _numbered(cells: Sequence[Json]) -> list[Json]:
    """The cells with their ids, the code cells with their numbers."""
    count = 0
    for place, cell in enumerate(cells, 1):
        cell["id"] = f"cell-{place}"
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
            for output in cell["outputs"]:
                output["execution_count"] = count
    return list(cells)


def _shown(arguments: Any) -> Json:
    """The arguments without what the engine adds."""
    return {key: value for key, value in (arguments or {}).items() if not key.startswith("_")}


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text[:MOST_CHARS].splitlines())


def _fenced(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False, default=str)
    longest = max((len(list(run)) for sign, run in groupby(text) if sign == "`"), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text[:MOST_CHARS]}\n{fence}"


def _line(text: Any) -> str:
    """Text for a line of a table, or within a sentence."""
    line = " ".join(str(text).split()).replace("|", "\\|")
    return textwrap.shorten(line, 300, placeholder=" …")


RUN_TOLD = """## The run itself

The file of the run is in the next cell. Any agentspan server can take it in, to be read, compared and forked:

```python
from agentspan.agents import AgentRuntime

AgentRuntime().import_run(file)
```

On the server where it ran, `AgentRuntime().attach("{id}")` is the run itself."""

RUN_CELL = """import base64
import gzip
from pathlib import Path
from tempfile import mkdtemp

from agentspan.agents.testing import Cassette

RUN = (
{lines}
)
file = Path(mkdtemp()) / "run.jsonl"
file.write_bytes(gzip.decompress(base64.b64decode(RUN)))
tape = Cassette.from_export(file.read_bytes())


def recorded(tool, **arguments):
    \"\"\"What the tool gave in the run.\"\"\"
    return tape.result(tool, arguments)"""

AGENT_TOLD = """## The agent

Its tools give what they gave in the run. To go on with it, write your own functions in their place."""

AGAIN_TOLD = """## The run, played again

The same decisions are made anew, here and offline; what models, functions and people said is played. Change the agent \
above, and this cell says where it would have asked something else."""

AGAIN_ALMOST = """## The run, played again

What models, functions and people said is played. Something came from outside in this run (a message, a signal, a \
deadline, a cancellation), which is not: it may end otherwise here."""

ASIDES = {
    "request": "A person was asked",
    "response": "A person answered",
    "handoff": "Handed over to",
    "chosen": "Chosen",
    "speaker_chosen": "Next to speak",
    "verdict_given": "A guardrail's verdict",
    "failure": "Failed",
    "refused_call": "A call was refused",
    "message_received": "A message",
    "context_condensed": "The history was condensed",
    "condensed": "The history was condensed",
    "briefed": "Instructions were made",
}
"""The events that are told in a line."""

FROM_OUTSIDE = (
    "MessageReceived", "SignalReceived", "StopRequested", "BudgetChanged", "ExecutionRetried", "TaskTimedOut",
    "ExecutionPaused", "MessagesTaken",
)  # fmt: skip
"""The facts that nobody plays again."""

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
