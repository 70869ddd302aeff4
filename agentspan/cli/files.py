"""`agentspan export`, `import`, `diff`: runs as files, and side by side."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agentspan.cli import completion, given, ids, output
from agentspan.cli.progress import progress
from agentspan.cli.runs import filters_of, listed
from agentspan.cli.session import ask, runtime
from agentspan.errors import BadInput

if TYPE_CHECKING:
    from agentspan.agents import AgentRuntime

FORMATS = ("json", "jsonl", "html", "ipynb")
"""Of a run as a file. The first two are the same: JSON Lines, which a server can take in."""

MaybeRun = typer.Argument(None, metavar="[RUN]", help="The run.", autocompletion=completion.run_ids)
Files = typer.Argument(help="Files of exported runs.")


def export(
    execution_id: str | None = typer.Argument(
        None, metavar="[RUN]", help="The run.", autocompletion=completion.run_ids
    ),
    path: str | None = typer.Argument(None, help="The file to write, or a folder for it."),
    target: str | None = typer.Option(None, "--output", "-o", help="The same, as an option."),
    form: str | None = typer.Option(
        None, "--format", help=f"{', '.join(FORMATS)}; else as the file's name ends.", autocompletion=lambda: [*FORMATS]
    ),
    agent: str | None = ids.OfAgent,
    status: str | None = ids.OfStatus,
    since: str | None = ids.Since,
    limit: int = typer.Option(1000, "--limit", "-n", min=1, help="At most so many runs, where they are not named."),
) -> None:
    """Write a run into a file that any server can take in, or as a page or a notebook to be read.

    Without a run, all that --agent, --status and --since leave go into a folder.
    """
    place = Path(target or path or ".")
    if form is not None and form not in FORMATS:
        raise BadInput(f"--format is one of {', '.join(FORMATS)}, not {form!r}")
    if execution_id is not None:
        with runtime() as on:
            print(_exported(on, execution_id, place, form))
        return
    filters = filters_of(agent, status, None, since)
    if not any(filters.values()):
        raise BadInput("say which run, or which runs by --agent, --status or --since")
    found, _, _ = ask(lambda client: listed(client, filters, limit))
    place.mkdir(parents=True, exist_ok=True)
    with runtime() as on:
        for each in progress(found, "exporting"):
            print(_exported(on, each["executionId"], place, form))


def take_in(
    paths: list[Path] = Files,
    resume: bool = typer.Option(False, "--resume", help="Let a run that had not ended go on here."),
) -> None:
    """Take in runs out of files, to be read; their new ids are printed."""
    for path in paths:
        if not path.is_file():
            raise BadInput(f"there is no file {path}")
    with runtime() as on:
        for path in progress(paths, "importing"):
            print(on.import_run(path, resume=resume).execution_id)


def compare(
    a: str = typer.Argument(help="A run.", autocompletion=completion.run_ids),
    b: str = typer.Argument(help="Another run.", autocompletion=completion.run_ids),
    form: str | None = typer.Option(None, "--output", "-o", help="table, json or yaml."),
    as_json: bool = typer.Option(False, "--json", help="As --output json."),
) -> None:
    """Compare two runs step by step; exit code 1 if they differ."""
    from agentspan.agents.compare import comparison_of

    style = output.style_of("json" if as_json else form)
    body: dict[str, Any] = ask(lambda client: client.compare(a, b))
    if style.output == "table":
        print(comparison_of(body))
    else:
        output.show(output.Told(body, (), "a.executionId"), style)
    raise typer.Exit(comparison_of(body).exit_code)


# Parts


def _exported(on: "AgentRuntime", execution_id: str, place: Path, form: str | None) -> Path:
    """Write one run; its path."""
    suffix = f".{form or 'jsonl'}"
    file = place / f"{execution_id}{suffix}" if place.is_dir() else place
    if (form or file.suffix.removeprefix(".")) != "html":
        if form == "ipynb" and file.suffix != ".ipynb":
            raise BadInput(f"a notebook's name ends in .ipynb, not {file.name!r}")
        return on.export(execution_id, file)
    file.write_text(_page(on, execution_id), encoding="utf-8")
    return file


def _page(on: "AgentRuntime", execution_id: str) -> str:
    """A run as one HTML file, without a server or a script."""
    from agentspan.agents.portraits import portrait
    from agentspan.agents.result import result_of

    handle = on.attach(execution_id)
    told, title = [portrait(handle)["text/html"]], f"run {execution_id}"
    if handle.get_status().is_complete:
        body = on.portal.call(_result(on, execution_id))
        found = result_of(body, events=handle.events())
        found.surround(timeline=handle.timeline())
        told, title = [portrait(found)["text/html"]], f"{found.agent_name}: {found.status}, run {execution_id}"
        told += [_messages(found.messages)]
    return PAGE.format(title=escape(title), body="\n".join(told))


async def _result(on: "AgentRuntime", execution_id: str) -> dict[str, Any]:
    return await (await on.client()).result(execution_id)


def _messages(messages: list[dict[str, Any]]) -> str:
    rows = (
        f"<dt>{escape(str(each.get('role')))}</dt><dd><pre>{escape(given.readable(each.get('content')))}</pre></dd>"
        for each in messages
    )
    return f"<h2>Messages</h2><dl>{''.join(rows)}</dl>"


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere }}</style></head>
<body>
<h1>{title}</h1>
{body}
</body></html>
"""
