"""`agentspan cancel`, `pause`, `resume`, `stop`, `signal`, `send`, `retry`, `fork`: what runs are told."""

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import typer

from agentspan.cli import given, ids
from agentspan.cli.codes import code_of
from agentspan.cli.progress import progress
from agentspan.cli.session import ask, note
from agentspan.errors import AgentspanError, BadInput

if TYPE_CHECKING:
    from agentspan.client.client import Client

Json = dict[str, Any]

Step = typer.Option(..., "--from-step", "--at", help="The last event that both share, as `agentspan steps` counts.")
Changes = typer.Option(
    [], "--set", help="args.NAME=VALUE (an argument of the call there), or prompt=, model=, ...: JSON or text."
)


def cancel(
    execution_ids: list[str] = ids.RunIds,
    reason: str = typer.Option("", "--reason", help="Why; it is kept with the run."),
) -> None:
    """End runs, and all below them, now."""
    each(execution_ids, "cancelled", lambda client, run: client.cancel(run, reason))


def pause(execution_ids: list[str] = ids.RunIds) -> None:
    """Start nothing new in runs until they are resumed."""
    each(execution_ids, "paused", lambda client, run: client.pause(run))


def resume(execution_ids: list[str] = ids.RunIds) -> None:
    """Let paused runs go on."""
    each(execution_ids, "resumed", lambda client, run: client.resume(run))


def stop(execution_ids: list[str] = ids.RunIds) -> None:
    """Let runs end after their present turn, as completed."""
    each(execution_ids, "stopping", lambda client, run: client.stop(run))


def retry(execution_ids: list[str] = ids.RunIds) -> None:
    """Let failed runs go on from where they failed."""
    each(execution_ids, "retried", lambda client, run: client.retry(run))


def signal(
    execution_id: str = ids.RunId,
    message: str = typer.Argument(help='What the model sees from its next turn on; "" takes it back.'),
) -> None:
    """Give a run a standing instruction."""
    ask(lambda client: client.signal(execution_id, given.text_of(message)))
    print(f"signalled {execution_id}")


def send(
    execution_id: str = ids.RunId,
    message: str = typer.Argument(help="A JSON object, or text; - reads the standard input."),
) -> None:
    """Send a run a message; its id is printed."""
    text = given.text_of(message)
    body = given.object_of(text, "the message") if text.lstrip().startswith("{") else {"message": text}
    print(ask(lambda client: client.send_message(execution_id, body)))


def budget(
    execution_id: str = ids.RunId,
    limits: str = typer.Argument(help="The limits from now on: cost=0.5,tokens=10000,seconds=60 or JSON."),
) -> None:
    """Give a run other limits; one that was ended for them goes on."""
    from agentspan.agents.budget import Budget

    try:
        config = Budget.of(given.limits_of(limits)).to_config()
    except (TypeError, ValueError) as problem:
        raise BadInput(str(problem)) from problem
    ask(lambda client: client.change_budget(execution_id, config))
    print(f"changed the budget of {execution_id}")


def fork(
    execution_id: str = ids.RunId,
    step: int = Step,
    changes: list[str] = Changes,
    model: str | None = typer.Option(None, "--model", help="Another model."),
    prompt: str | None = typer.Option(None, "--prompt", help="Another prompt."),
    instructions: str | None = typer.Option(None, "--instructions", help="Other instructions."),
    answer: str | None = typer.Option(None, "--answer", help="What the model is to have said there."),
    tool_result: str | None = typer.Option(None, "--tool-result", help="What the tool is to have given there."),
    agent: str | None = typer.Option(None, "--agent", help="Whose model or instructions are changed."),
    version: str | None = typer.Option(None, "--version", help="Go on by this version of the agent, or latest."),
    limits: str | None = typer.Option(None, "--budget", help="Other limits."),
) -> None:
    """Begin a new run that shares a run's history up to a step, with changes; its id is printed."""
    edits: Json = {
        "model": model,
        "prompt": prompt,
        "instructions": instructions,
        "answer": answer,
        "tool_result": None if tool_result is None else given.value_of(tool_result),
        "agent": agent,
        "version": None if version is None else given.value_of(version),
        "budget": given.limits_of(limits) if limits else None,
    }
    edits = {key: value for key, value in edits.items() if value is not None}
    arguments: Json = {}
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals:
            raise BadInput(f"--set is NAME=VALUE, not {change!r}")
        first, _, inner = path.partition(".")
        if first in ("args", "arguments") and inner:
            _put(arguments, inner, given.value_of(text))
        else:
            edits[path] = text if path in TEXTS else given.value_of(text)

    async def forked(client: "Client") -> Json:
        if arguments:
            edits["arguments"] = _merged(await _arguments(client, execution_id, step), arguments)
        return await client.fork(execution_id, step, edits)

    print(ask(forked)["executionId"])


# Parts


def each(execution_ids: list[str], done: str, work: "Callable[[Client, str], Awaitable[object]]") -> None:
    """Do it with each run, and say so; what fails does not keep the others from it, and gives the exit code."""

    async def asked(client: "Client") -> list[AgentspanError]:
        problems = []
        for run in progress(execution_ids, done):
            try:
                await work(client, run)
            except AgentspanError as problem:
                if isinstance(problem, ConnectionError) or len(execution_ids) == 1:
                    raise
                problems.append(problem)
                note(f"agentspan: {run}: {problem.message}")
            else:
                print(f"{done} {run}")
        return problems

    if problems := ask(asked):
        sys.exit(code_of(problems[0]))


async def _arguments(client: "Client", execution_id: str, step: int) -> Json:
    """The arguments of the one call that is made, or asked for, at a step."""
    page = await client.events(execution_id, after=step - 1, limit=10)
    found = [event for event in page["events"] if event.get("id") == step]
    calls = [
        event.get("args") or (event.get("pendingTool") or {}).get("parameters")
        for event in found
        if event.get("type") in ("tool_call", "waiting")
    ]
    if len(calls) != 1 or not isinstance(calls[0], dict):
        raise BadInput(
            f"step {step} makes no single call whose arguments could be set: see agentspan steps {execution_id}"
        )
    return calls[0]


def _put(into: Json, path: str, value: Any) -> None:
    """Put a value at a path of dots."""
    *way, last = path.split(".")
    for part in way:
        into = into.setdefault(part, {})
    into[last] = value


def _merged(before: Json, changes: Json) -> Json:
    """The changes laid over what was there."""
    return {
        **before,
        **{
            key: _merged(before[key], value) if isinstance(value, dict) and isinstance(before.get(key), dict) else value
            for key, value in changes.items()
        },
    }


TEXTS = ("prompt", "model", "instructions", "agent", "answer")
"""Edits that are text whatever they look like."""
