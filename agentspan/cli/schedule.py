"""`agentspan schedule`: when the server starts deployed agents by itself."""

from typing import Any

import typer

from agentspan.cli import completion, given, ids
from agentspan.cli.output import Column, Listed, Told, moment, reads
from agentspan.cli.session import ask
from agentspan.errors import BadInput

Json = dict[str, Any]

app = typer.Typer(help="When the server starts deployed agents by itself.", no_args_is_help=True)

Name = typer.Argument(help="The schedule.", autocompletion=completion.schedule_names)


@app.command("ls")
@reads
def ls(agent: str | None = ids.OfAgent) -> Listed:
    """List the schedules."""
    return Listed(ask(lambda client: client.schedules(agent)), COLUMNS, "name")


@app.command("show")
@reads
def show(name: str = Name) -> Told:
    """Show a schedule, with its next and its last run."""
    return Told(ask(lambda client: client.schedule(name)), LINES, "name")


@app.command("create")
def create(
    agent: str = ids.AgentName,
    name: str = typer.Argument(help="A name for it; it is kept as AGENT-NAME."),
    cron: str = typer.Argument(help="'minute hour day month weekday', or six fields with the seconds first."),
    timezone: str = typer.Option("UTC", "--timezone", help="Such as Europe/Berlin."),
    prompt: str | None = typer.Option(None, "--prompt", help="What the agent is asked."),
    inputs: str | None = typer.Option(None, "--input", help="JSON, @FILE or -: {prompt, context, media, session_id}."),
    overlap: str = typer.Option("skip", "--overlap", help="skip, allow or cancel_running."),
    catchup: bool = typer.Option(False, "--catchup", help="Start what was missed while no server ran."),
    paused: bool = typer.Option(False, "--paused", help="Let it rest until it is resumed."),
) -> None:
    """Keep a schedule, or replace the one of that name."""
    from agentspan.agents.schedules import Schedule, ScheduleError, request_of

    asked = given.object_of(inputs, "--input") if inputs is not None else {}
    if prompt is not None:
        asked["prompt"] = given.text_of(prompt)
    try:
        schedule = Schedule(name, cron, timezone, asked, catchup, paused, overlap=overlap)
    except ScheduleError as problem:
        raise BadInput(str(problem)) from problem
    kept = ask(lambda client: client.save_schedule(request_of(agent, schedule)))
    print(f"scheduled {kept['name']}, next {moment(kept.get('nextRunTime')) or 'never'}")


@app.command("pause")
def pause(name: str = Name) -> None:
    """Let a schedule rest."""
    ask(lambda client: client.pause_schedule(name))
    print(f"paused {name}")


@app.command("resume")
def resume(name: str = Name) -> None:
    """Let a schedule go on."""
    ask(lambda client: client.resume_schedule(name))
    print(f"resumed {name}")


@app.command("run")
def run(name: str = Name) -> None:
    """Start now what a schedule would start; the run's id is printed."""
    print(ask(lambda client: client.run_schedule(name))["executionId"])


@app.command("delete")
def delete(name: str = Name, yes: bool = ids.Yes) -> None:
    """Remove a schedule; runs that it began go on."""
    given.sure(f"Remove the schedule {name}?", yes)
    ask(lambda client: client.delete_schedule(name))
    print(f"deleted {name}")


@app.command("next")
@reads
def upcoming(
    cron: str = typer.Argument(help="A cron expression."),
    count: int = typer.Option(5, "--count", "-n", min=1, max=100, help="How many."),
    timezone: str = typer.Option("UTC", "--timezone", help="Such as Europe/Berlin."),
) -> Listed:
    """List the next times of a cron expression."""
    found = ask(lambda client: client.next_moments(cron, count, timezone))
    return Listed([{"at": each} for each in found], (Column("AT", "at", moment),), "at")


COLUMNS = (
    Column("SCHEDULE", "name"),
    Column("AGENT", "startWorkflowRequest.name"),
    Column("CRON", "cronExpression"),
    Column("ZONE", "zoneId"),
    Column("PAUSED", "paused"),
    Column("NEXT", "nextRunTime", moment),
    Column("LAST", "lastRunTime", moment),
    Column("PROBLEM", "problem"),
)
LINES = (
    *COLUMNS,
    Column("INPUT", "startWorkflowRequest.input"),
    Column("OVERLAP", "overlapPolicy"),
    Column("LAST RUN", "lastExecutionId"),
)
