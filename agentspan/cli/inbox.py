"""`agentspan inbox`, `approve`, `reject`, `answer`, `edit`: what runs ask people, and what they are told."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer

from agentspan.cli import codes, completion, given, ids, output
from agentspan.cli.output import Column, Listed, Told, moment, reads, span
from agentspan.cli.session import ask, note
from agentspan.errors import BadInput, NotFound

if TYPE_CHECKING:
    from agentspan.client.client import Client

Json = dict[str, Any]

LOOK_SECONDS = 2.0

app = typer.Typer(help="What runs ask people: list it, look at it, answer it.")

To = typer.Option(None, "--to", help="Only what is addressed to this person.")
OfRun = typer.Option(
    None, "--run", help="Only what this run asks, and those below it.", autocompletion=completion.run_ids
)
FromFile = typer.Option(None, "--from-file", help="A file with such JSON.")
Every = typer.Option(False, "--all-statuses", help="Also what is answered or over; with --run.")


@app.callback(invoke_without_command=True)
def inbox(
    context: typer.Context,
    agent: str | None = ids.OfAgent,
    to: str | None = To,
    run: str | None = OfRun,
    every: bool = Every,
    as_json: bool = typer.Option(False, "--json", help="As JSON."),
) -> None:
    """List what runs ask people, oldest first."""
    if context.invoked_subcommand is None:
        output.show(_listed(agent, to, run, every), output.style_of("json" if as_json else None))


@app.command("ls")
@reads
def ls(
    agent: str | None = ids.OfAgent,
    to: str | None = To,
    run: str | None = OfRun,
    every: bool = Every,
) -> Listed:
    """List what runs ask people, oldest first."""
    return _listed(agent, to, run, every)


@app.command("show")
@reads
def show(request_id: str = ids.RequestId) -> Told:
    """Show a request: what is asked, and the form of the answer."""
    return Told(ask(lambda client: one(client, request_id)), LINES, "requestId")


@app.command()
def approve(
    request_id: str = ids.RequestId,
    arguments: str | None = typer.Option(None, "--arguments", help="JSON that replaces the arguments of the call."),
    from_file: Path | None = FromFile,
    edit_args: bool = typer.Option(False, "--edit-args", help="Change the arguments in $EDITOR."),
    by: str | None = ids.By,
) -> None:
    """Let a call be made."""
    if sum((arguments is not None, from_file is not None, edit_args)) > 1:
        raise BadInput("give the arguments by one of --arguments, --from-file and --edit-args")
    text = given.file_text(from_file) if from_file else arguments
    changed = None if text is None else given.object_of(text, "--arguments")
    if edit_args:
        changed = _edited(ask(lambda client: one(client, request_id)).get("arguments") or {})
    respond(request_id, {"approved": True} if changed is None else {"approved": True, "arguments": changed}, by)
    print(f"approved {request_id}")


@app.command()
def reject(
    request_id: str = ids.RequestId,
    reason: str = typer.Option("", "--reason", help="Why; the model is told."),
    by: str | None = ids.By,
) -> None:
    """Refuse a call."""
    respond(request_id, {"approved": False, "reason": reason}, by)
    print(f"rejected {request_id}")


@app.command()
def answer(
    request_id: str = ids.RequestId,
    value: str = typer.Argument(help="A JSON object, or text; - reads the standard input, @FILE a file."),
    by: str | None = ids.By,
) -> None:
    """Answer a question."""
    text = given.text_of(value)
    said = given.object_of(text, "the answer") if text.lstrip().startswith("{") else {"message": text}
    respond(request_id, said, by)
    print(f"answered {request_id}")


@app.command()
def edit(
    request_id: str = ids.RequestId,
    value: str = typer.Argument(help="What is to stand there instead: JSON, or text; - or @FILE."),
    by: str | None = ids.By,
) -> None:
    """Let pass what a guardrail stopped, with another text in its place."""
    respond(request_id, {"approved": True, "edited_output": given.value_of(given.text_of(value))}, by)
    print(f"edited {request_id}")


@app.command()
def watch(
    agent: str | None = ids.OfAgent,
    to: str | None = To,
    notify_cmd: str | None = typer.Option(
        None,
        "--notify-cmd",
        help="Run this for each request, with AGENTSPAN_REQUEST_ID and AGENTSPAN_RUN_ID set, and the request as JSON "
        "on its standard input.",
    ),
    once: bool = typer.Option(False, "--once", help="End after the first."),
    output_format: str | None = typer.Option(None, "--output", "-o", help="table or jsonl."),
) -> None:
    """Wait for what runs ask, and print each request as it comes."""
    style = output.Style(output.style_of(output_format).output, quiet=True)
    with suppress(KeyboardInterrupt):
        ask(lambda client: _watched(client, {"agent_name": agent, "to": to}, notify_cmd, once, style))
        return
    raise typer.Exit(codes.INTERRUPTED)


# Parts


def respond(request_id: str, said: Json, by: str | None) -> None:
    """Answer a request of any run: the id of its run begins its own."""
    ask(lambda client: client.respond(request_id.partition(".")[0], said, request_id=request_id, by=by))


async def one(client: "Client", request_id: str) -> Json:
    """A request, open or not."""
    run = request_id.partition(".")[0]
    for status in ("open", "answered"):
        for each in await client.inbox(status=status, execution_id=run):
            if each["requestId"] == request_id:
                return each
    raise NotFound(f"run {run} has asked no {request_id}; see agentspan inbox --run {run} --all-statuses")


def _listed(agent: str | None, to: str | None, run: str | None, every: bool) -> Listed:
    if every and not run:
        raise BadInput("what was answered is listed by run: say which with --run")

    async def asked(client: "Client") -> list[Json]:
        found = await client.inbox(status="open", execution_id=run, agent_name=agent, to=to)
        if every:
            found += await client.inbox(status="answered", execution_id=run, agent_name=agent, to=to)
        return found

    return Listed(ask(asked), COLUMNS, "requestId")


async def _watched(client: "Client", filters: Json, notify: str | None, once: bool, style: output.Style) -> None:
    """Print each request once, from now on and those that are open."""
    import asyncio

    told: set[str] = set()
    changes = client.changes()
    news = asyncio.ensure_future(anext(changes))
    while True:
        for each in [each for each in await client.inbox(status="open", **filters) if each["requestId"] not in told]:
            told.add(each["requestId"])
            output.show(Listed([each], COLUMNS, "requestId"), style)
            if notify:
                await asyncio.to_thread(_notify, notify, each)
            if once:
                news.cancel()
                return
        # Looked at now and then too: what was asked before the line stood is no news.
        if (await asyncio.wait({news}, timeout=LOOK_SECONDS))[0]:
            news.result()
            news = asyncio.ensure_future(anext(changes))


def _notify(command: str, request: Json) -> None:
    """Run the user's command for a request; that it fails is said, and no more."""
    known = {"AGENTSPAN_REQUEST_ID": request["requestId"], "AGENTSPAN_RUN_ID": request["rootExecutionId"]}
    told = json.dumps(request)
    done = subprocess.run(command, shell=True, env={**os.environ, **known}, input=told, text=True, check=False)
    if done.returncode:
        note(f"agentspan: --notify-cmd ended with exit code {done.returncode} for {request['requestId']}")


def _edited(arguments: Json) -> Json:
    """The arguments, as the user's editor leaves them."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "arguments.json"
        file.write_text(json.dumps(arguments, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        done = subprocess.run(f'{editor} "{file}"', shell=True, check=False)
        if done.returncode:
            raise BadInput(f"the editor ended with exit code {done.returncode}; nothing was answered")
        return given.object_of(given.file_text(file), "what the editor left")


def _rows(found: Any) -> Iterator[str]:
    for key, value in (found or {}).items():
        yield f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _due(deadline: Any) -> str:
    return f"in {span(deadline - time.time() * 1000)}" if deadline else ""


COLUMNS = (
    Column("REQUEST", "requestId"),
    Column("AGENT", "agentName"),
    Column("KIND", "kind"),
    Column("TOOL", "tool"),
    Column("AGE", "age", span),
    Column("DEADLINE", "deadline", _due),
    Column("STATUS", "status"),
)
LINES = (
    Column("request", "requestId"),
    Column("run", "rootExecutionId"),
    Column("agent", "agentName"),
    Column("kind", "kind"),
    Column("tool", "tool"),
    Column("arguments", "arguments", lambda found: ", ".join(_rows(found))),
    Column("content", "content"),
    Column("since", "since", moment),
    Column("deadline", "deadline", moment),
    Column("to", "to"),
    Column("status", "status"),
    Column("answer", "answer"),
    Column("by", "decidedBy"),
)
