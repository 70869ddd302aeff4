"""`agentspan tail`: what happens in a run, as it happens, over breaks of the line; and how an event is a line."""

import json
import time
from typing import TYPE_CHECKING, Any

import typer

from agentspan.cli import codes, ids
from agentspan.cli.output import Style, style_of
from agentspan.cli.session import ask, note

if TYPE_CHECKING:
    from agentspan.client.client import Client

Json = dict[str, Any]

LONGEST = 2000


def tail(
    execution_id: str = ids.RunId,
    after: int = typer.Option(0, "--after", min=0, help="Only what comes after the event of this number."),
    follow: bool = typer.Option(True, "--follow/--no-follow", "-f", help="Go on until the run ends, or not."),
    tokens: bool = typer.Option(False, "--tokens", help="With json: also each piece of an answer that is written."),
    output: str | None = typer.Option(None, "--output", "-o", help="table (a line for each event) or jsonl."),
    as_json: bool = typer.Option(False, "--json", help="As --output jsonl."),
    no_color: bool = typer.Option(False, "--no-color", help="No colours; so does NO_COLOR."),
) -> None:
    """Follow a run to its end; the exit code says how it ended."""
    lines = EventLines(style_of("jsonl" if as_json else output, no_color=no_color), tokens=tokens, last=after)
    try:
        status = ask(lambda client: _followed(client, execution_id, lines, follow))
    except KeyboardInterrupt:
        note(f"the run goes on; come back to it with: agentspan tail {execution_id} --after {lines.last}")
        raise typer.Exit(codes.INTERRUPTED) from None
    raise typer.Exit(codes.code_of_run(status) if follow else codes.DONE)


class EventLines:
    """Prints events, each as a line, and knows the number of the last one."""

    def __init__(self, style: Style, *, tokens: bool = False, last: int = 0) -> None:
        self.last = last
        self._plain, self._tokens = style.output == "table", tokens and style.output != "table"

    def print(self, event: Json) -> None:
        """Print one event, unless it is a piece of an answer that nobody asked for."""
        self.last = max(self.last, event.get("id") or 0)
        if event.get("type") != "token" or self._tokens:
            print(line_of(event) if self._plain else json.dumps(event, ensure_ascii=False), flush=True)


def line_of(event: Json) -> str:
    """An event as a line of text: when, where, what and about what."""
    when = time.strftime("%H:%M:%S", time.localtime((event.get("timestamp") or 0) / 1000))
    kind = str(event.get("type"))
    about = ABOUT.get(kind, _content)(event)
    path = "/".join(event.get("path") or ())
    return " ".join(part for part in (when, kind.ljust(11), f"[{path}]" if path else "", about) if part)


async def _followed(client: "Client", execution_id: str, lines: EventLines, follow: bool) -> str:
    """Print the events; how the run stands then."""
    if follow:
        async for event in client.follow(execution_id, after=lines.last):
            lines.print(event)
    else:
        while page := (await client.events(execution_id, after=lines.last))["events"]:
            for event in page:
                lines.print(event)
    return str((await client.status(execution_id)).get("status"))


def _content(event: Json) -> str:
    return _short(event.get("content") or event.get("target") or "")


def _call(event: Json) -> str:
    given = ", ".join(f"{key}={_short(value)}" for key, value in (event.get("args") or {}).items())
    return f"{event.get('toolName')}({given})"


def _result(event: Json) -> str:
    return f"{event.get('toolName')} -> {_short(event.get('result'))}"


def _asked(event: Json) -> str:
    pending = event.get("pendingTool") or {}
    return f"{pending.get('kind')} of {pending.get('tool_name') or 'an answer'}: {pending.get('requestId')}"


def _done(event: Json) -> str:
    output = event.get("output")
    return _short(output.get("result", output) if isinstance(output, dict) else output)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


ABOUT = {"tool_call": _call, "tool_result": _result, "waiting": _asked, "done": _done}
