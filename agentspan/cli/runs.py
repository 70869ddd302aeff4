"""`agentspan ps`, `status`, `wait`, `why`, `steps`: runs in a list, and how one of them stands."""

import json
from typing import TYPE_CHECKING, Any

import typer

from agentspan.cli import codes, given, ids, run
from agentspan.cli.output import Column, Listed, Told, dollars, moment, reads, span, style_of
from agentspan.cli.session import ask

if TYPE_CHECKING:
    from agentspan.client.client import Client

Json = dict[str, Any]

PAGE = 200


@reads
def ps(
    agent: str | None = ids.OfAgent,
    status: str | None = ids.OfStatus,
    session: str | None = typer.Option(None, "--session", help="Only those of this session."),
    since: str | None = ids.Since,
    text: str | None = typer.Option(None, "--text", help="Only with these words in them."),
    waiting: str | None = typer.Option(None, "--waiting", help="Only what waits for a person or a worker."),
    limit: int = typer.Option(20, "--limit", "-n", min=1, help="At most so many."),
    start: str = typer.Option("", "--cursor", help="Go on after a page: the cursor that it ended with."),
) -> Listed:
    """List runs, the newest first."""
    filters = filters_of(agent, status, session, since, text, waiting)
    found, total, cursor = ask(lambda client: listed(client, filters, limit, start))
    more = f"{len(found)} of {total} runs; go on with --cursor {cursor}" if cursor else ""
    return Listed(found, RUN_COLUMNS, "executionId", more)


@reads
def status(
    execution_id: str = ids.RunId,
    exit_code: bool = typer.Option(False, "--exit-code", help="End with the code of how the run stands."),
) -> Told:
    """Say how a run stands, what it waits for, and why."""

    from asyncio import gather

    async def asked(client: "Client") -> Json:
        result, standing, why = await gather(
            client.result(execution_id), client.status(execution_id), client.why(execution_id)
        )
        known = {key: value for key, value in result.items() if key not in LONG}
        return {**known, **standing, "why": why.get("sentence")}

    body = ask(asked)
    return Told(body, STATUS_LINES, "executionId", code=code_of(body) if exit_code else 0)


@reads
def show(execution_id: str = ids.RunId) -> Told:
    """Show what a run came to: its answer, its messages, its tool calls, and what it took."""
    return Told(ask(lambda client: client.result(execution_id)), RESULT_LINES, "executionId")


def wait(
    execution_id: str = ids.RunId,
    timeout: str | None = run.Timeout,
    serve: str | None = typer.Option(None, "--serve", help="FILE.py:NAME of the agent whose tools are served here."),
    on_human: str | None = run.OnHuman,
    on_interrupt: str | None = run.OnInterrupt,
    output_format: str | None = run.Output,
    as_json: bool = run.AsJson,
) -> None:
    """Wait for a run's end and print its answer; the exit code says how it ended."""
    style = style_of("json" if as_json else output_format)
    run.await_end(execution_id, given.seconds_of(timeout, "--timeout"), serve, on_human, on_interrupt, style)


@reads
def why(execution_id: str = ids.RunId) -> Told:
    """Say why a run does not go on, what it does, or why it failed, and what to do."""
    body = ask(lambda client: client.why(execution_id))
    return Told(body, WHY_LINES, "status")


@reads
def steps(execution_id: str = ids.RunId) -> Listed:
    """List the events of a run, each with its number: `agentspan fork` takes it."""
    return Listed(ask(lambda client: client.steps(execution_id)), STEP_COLUMNS, "seq")


@reads
def events(
    execution_id: str = ids.RunId,
    after: int = typer.Option(0, "--after", min=0, help="Only those after this number."),
) -> Listed:
    """List what has happened in a run so far, as it is on the stream."""

    async def asked(client: "Client") -> list[Json]:
        found: list[Json] = []
        while page := (await client.events(execution_id, after=found[-1]["id"] if found else after))["events"]:
            found += page
        return found

    return Listed(ask(asked), EVENT_COLUMNS, "id")


# Parts


async def listed(client: "Client", filters: Json, limit: int, cursor: str = "") -> tuple[list[Json], int, str]:
    """Runs of a list, how many there are, and where it goes on."""
    found: list[Json] = []
    total = 0
    while len(found) < limit:
        size = min(PAGE, limit - len(found))
        page = await client.executions(cursor=cursor, size=size, count="none" if total else "capped", **filters)
        total = total or int(page.get("totalHits") or 0)
        found += page.get("results") or ()
        cursor = str(page.get("nextCursor") or "")
        if not cursor:
            break
    return found, max(total, len(found)), cursor


def filters_of(
    agent: str | None,
    status: str | None,
    session: str | None = None,
    since: str | None = None,
    text: str | None = None,
    waiting: str | None = None,
) -> Json:
    """The filters of a list of runs."""
    return {
        "agent_name": given.words_of(agent),
        "status": given.words_of(status.upper() if status else None),
        "session_id": session,
        "since": given.since_of(since),
        "free_text": text,
        "waiting": waiting,
    }


def code_of(body: Json) -> int:
    """The exit code of how a run stands: a run that asks a person waits."""
    waits = body.get("isWaiting") or body.get("requests")
    return codes.WAITING if waits else codes.code_of_run(str(body.get("status")))


def _asked(requests: Any) -> str:
    return ", ".join(f"{each['requestId']} ({each.get('tool') or each['kind']})" for each in requests or ())


def _said(messages: Any) -> str:
    return "".join(f"\n  {each.get('role')}: {each.get('content')}" for each in messages or ())


def _called(calls: Any) -> str:
    return "".join(f"\n  {each.get('name')}({each.get('args')}) -> {each.get('result')}" for each in calls or ())


def _answer(output: Any) -> str:
    value = output.get("result", output or "") if isinstance(output, dict) else output
    return "" if value in (None, "") else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


LONG = ("messages", "toolCalls")
RUN_COLUMNS = (
    Column("RUN", "executionId"),
    Column("AGENT", "agentName"),
    Column("STATUS", "status"),
    Column("WAITING", "waiting"),
    Column("STARTED", "startTime", moment),
    Column("TOOK", "durationMs", span),
    Column("COST", "cost", dollars),
    Column("PROMPT", "preview"),
)
STATUS_LINES = (
    Column("run", "executionId"),
    Column("agent", "agentName"),
    Column("status", "status"),
    Column("why", "why"),
    Column("asks", "requests", _asked),
    Column("started", "startTime", moment),
    Column("ended", "endTime", moment),
    Column("reason", "finishReason"),
    Column("problem", "reasonForIncompletion"),
    Column("tokens", "tokenUsage.totalTokens"),
    Column("cost", "cost", dollars),
    Column("answer", "output", _answer),
)
RESULT_LINES = (
    Column("run", "executionId"),
    Column("agent", "agentName"),
    Column("status", "status"),
    Column("problem", "reasonForIncompletion"),
    Column("messages", "messages", _said),
    Column("calls", "toolCalls", _called),
    Column("tokens", "tokenUsage.totalTokens"),
    Column("cost", "cost", dollars),
    Column("answer", "output", _answer),
)
WHY_LINES = (Column("status", "status"), Column("why", "sentence"))
STEP_COLUMNS = (
    Column("STEP", "seq"),
    Column("AGENT", "agent"),
    Column("TURN", "turn"),
    Column("WHAT", "kind"),
    Column("ABOUT", "summary"),
    Column("FORK CAN CHANGE", "edits"),
)
EVENT_COLUMNS = (
    Column("EVENT", "id"),
    Column("WHEN", "timestamp", moment),
    Column("AGENT", "path", "/".join),
    Column("WHAT", "type"),
    Column("TOOL", "toolName"),
    Column("ABOUT", "content"),
)
