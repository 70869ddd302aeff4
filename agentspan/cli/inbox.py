"""`agentspan inbox`, `approve`, `reject`, `answer`: what runs ask people, and what they are told."""

import json
import time
from typing import TYPE_CHECKING, Any

import typer

from agentspan.cli.extras import needs
from agentspan.errors import BadInput

if TYPE_CHECKING:
    from agentspan.agents.inbox import Request

RequestId = typer.Argument(help="The request, as `agentspan inbox` shows it.")
By = typer.Option(None, "--by", help="Who answers; it is kept with the answer. Else AGENTSPAN_USER.")


def inbox(
    agent: str | None = typer.Option(None, "--agent", help="Only what this agent asks, or a run of it."),
    to: str | None = typer.Option(None, "--to", help="Only what is addressed to this person."),
    run: str | None = typer.Option(None, "--run", help="Only what this run asks, and those below it."),
    every: bool = typer.Option(False, "--all-statuses", help="Also what is answered or over; with --run."),
    as_json: bool = typer.Option(False, "--json", help="As JSON."),
) -> None:
    """List what runs ask people, oldest first."""
    if every and not run:
        raise BadInput("what was answered is listed by run: say which with --run")
    with needs("sdk"):
        from agentspan.agents import AgentRuntime
    with AgentRuntime() as runtime:
        found = runtime.inbox("open", execution_id=run, agent_name=agent, to=to)
        if every:
            found += runtime.inbox("answered", execution_id=run, agent_name=agent, to=to)
    if as_json:
        print(json.dumps([each.data for each in found], indent=2))
        return
    print(table(found, int(time.time() * 1000)))


def approve(
    request_id: str = RequestId,
    arguments: str | None = typer.Option(None, "--arguments", help="JSON that replaces the arguments of the call."),
    by: str | None = By,
) -> None:
    """Let a call be made."""
    given = None if arguments is None else _object(arguments)
    respond(request_id, {"approved": True} if given is None else {"approved": True, "arguments": given}, by)
    print(f"approved {request_id}")


def reject(
    request_id: str = RequestId,
    reason: str = typer.Option("", "--reason", help="Why; the model is told."),
    by: str | None = By,
) -> None:
    """Refuse a call."""
    respond(request_id, {"approved": False, "reason": reason}, by)
    print(f"rejected {request_id}")


def answer(
    request_id: str = RequestId,
    value: str = typer.Argument(help="A JSON object, or text."),
    by: str | None = By,
) -> None:
    """Answer a question."""
    respond(request_id, _object(value) if value.lstrip().startswith("{") else {"message": value}, by)
    print(f"answered {request_id}")


# Parts


def respond(request_id: str, given: dict[str, Any], by: str | None) -> None:
    """Answer a request of any run: the id of its run begins its own."""
    with needs("sdk"):
        from agentspan.agents import AgentRuntime
    with AgentRuntime() as runtime:
        runtime.respond(request_id.partition(".")[0], given, request_id=request_id, by=by)


def table(found: "list[Request]", now: int) -> str:
    """The requests in columns, each as wide as its longest cell."""
    rows = [TITLES, *(_row(each, now) for each in found)]
    wide = [max(len(row[place]) for row in rows) for place in range(len(TITLES))]
    return "\n".join("  ".join(map(str.ljust, row, wide)).rstrip() for row in rows)


def _row(each: "Request", now: int) -> tuple[str, ...]:
    path = "/".join(each.path) or each.agent_name
    age = _span(each.data.get("age") or 0)
    due = "" if not each.deadline or each.status != "open" else f"in {_span(each.deadline - now)}"
    return each.request_id, path, each.kind, each.tool, age, due, each.status


def _span(ms: int) -> str:
    """A time as one number with its unit."""
    seconds = max(0, ms) // 1000
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= size or size == 1)
    return f"{seconds // size} {unit}"


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as problem:
        raise BadInput(f"{text!r} is not JSON: {problem}") from problem
    if not isinstance(value, dict):
        raise BadInput(f"{text!r} must be a JSON object")
    return value


TITLES = ("REQUEST", "AGENT", "KIND", "TOOL", "AGE", "DEADLINE", "STATUS")
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
