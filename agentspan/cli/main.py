"""The command `agentspan`: one group of commands per file, loaded when it is used."""

import sys

import typer

import agentspan
from agentspan.cli import credentials, dashboard, db, doctor, inbox, model, runs, server
from agentspan.errors import AgentspanError

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
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True, callback=_version),
) -> None:
    """Durable AI agents that start in a notebook cell."""


app.add_typer(server.app, name="server")
app.add_typer(db.app, name="db")
app.add_typer(model.app, name="model")
app.add_typer(credentials.app, name="credentials")
app.command("dashboard")(dashboard.dashboard)
app.command("doctor")(doctor.doctor)
app.command("export")(runs.export)
app.command("import")(runs.take_in)
app.command("compare")(runs.compare)
app.command("inbox")(inbox.inbox)
app.command("approve")(inbox.approve)
app.command("reject")(inbox.reject)
app.command("answer")(inbox.answer)


def main() -> None:
    """Run the command; what went wrong is one sentence and exit code 1."""
    try:
        app()
    except AgentspanError as problem:
        print(f"agentspan: {problem.message}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
