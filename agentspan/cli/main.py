"""The command `agentspan`: one group of commands per file; what is heavy is loaded when it is used."""

from collections.abc import Callable

import typer

import agentspan
from agentspan.cli import (
    access,
    agent,
    completion,
    config,
    control,
    credentials,
    dashboard,
    db,
    doctor,
    events,
    files,
    inbox,
    model,
    profiles,
    run,
    runs,
    schedule,
    server,
    worker,
)
from agentspan.cli.failing import told_in_a_sentence

app = typer.Typer(
    name="agentspan",
    help="Durable AI agents that start in a notebook cell.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(agentspan.__version__)
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True, callback=_version),
    profile: str | None = typer.Option(
        None, "--profile", help="Use this profile; else AGENTSPAN_PROFILE.", autocompletion=completion.profile_names
    ),
    server: str | None = typer.Option(None, "--server", help="Speak to the server at this address."),
) -> None:
    """Durable AI agents that start in a notebook cell."""
    profiles.profile_option.set(profile)
    profiles.server_option.set(server)
    profiles.may_be_new.set(context.invoked_subcommand in ("config", "login"))


RUNS, ANSWERS, AGENTS, ACCESS, MACHINES = "Runs", "What runs ask people", "Agents", "Who may do what", "Servers"
"""The parts of the help."""

COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    RUNS: {
        "run": run.run,
        "ps": runs.ps,
        "status": runs.status,
        "show": runs.show,
        "why": runs.why,
        "tail": events.tail,
        "wait": runs.wait,
        "events": runs.events,
        "steps": runs.steps,
        "cancel": control.cancel,
        "pause": control.pause,
        "resume": control.resume,
        "stop": control.stop,
        "signal": control.signal,
        "send": control.send,
        "budget": control.budget,
        "retry": control.retry,
        "fork": control.fork,
        "diff": files.compare,
        "export": files.export,
        "import": files.take_in,
    },
    ANSWERS: {
        "approve": inbox.approve,
        "reject": inbox.reject,
        "answer": inbox.answer,
        "edit": inbox.edit,
    },
    AGENTS: {"deploy": agent.deploy},
    ACCESS: {
        "login": access.login,
        "logout": access.logout,
        "whoami": access.whoami,
        "password": access.password,
        "audit": access.audit,
    },
    MACHINES: {"worker": worker.worker, "dashboard": dashboard.dashboard, "doctor": doctor.doctor},
}
GROUPS = {
    ANSWERS: {"inbox": inbox.app},
    AGENTS: {"agent": agent.app, "schedule": schedule.app, "credentials": credentials.app, "model": model.app},
    ACCESS: {"users": access.users, "keys": access.keys, "tenants": access.tenants, "shares": access.shares},
    MACHINES: {"server": server.app, "db": db.app, "config": config.app},
}
ALIASES: dict[str, Callable[..., None]] = {"ls": runs.ps, "logs": events.tail, "compare": files.compare}

for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(command)
for name, command in ALIASES.items():
    app.command(name, hidden=True)(command)
for panel, groups in GROUPS.items():
    for name, group in groups.items():
        app.add_typer(group, name=name, rich_help_panel=panel)


def main() -> None:
    """Run the command; what went wrong is one sentence and an exit code (agentspan.cli.codes)."""
    with told_in_a_sentence():
        app()


if __name__ == "__main__":
    main()
