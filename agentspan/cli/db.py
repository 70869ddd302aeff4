"""`agentspan db`: upgrade, check, back up, restore, copy and measure the database; remove old runs from it."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from agentspan.cli import profiles, session
from agentspan.cli.extras import needs
from agentspan.cli.given import plain_url
from agentspan.cli.output import Column, Listed, moment, reads
from agentspan.client import launch
from agentspan.config import Settings
from agentspan.errors import BadInput

app = typer.Typer(help="The database: upgrade, check, backup, restore, copy, size, prune.", no_args_is_help=True)

TELL_SECONDS = 0.1

DatabaseOption = typer.Option(
    None, "--database", help="sqlite:////FILE or postgresql://USER@HOST/DATABASE", callback=plain_url
)
DataDir = typer.Option(None, "--data-dir", help="Folder of the database.")
File = typer.Argument(help="The file to write; with --tenant all, a folder for a file of each.")
Backup = typer.Argument(help="A file that `agentspan db backup` wrote.")
Tenant = typer.Option("", "--tenant", help="The tenant whose database is meant; without it, the first one's.")
Status = typer.Option([], "--status", help="Only runs that ended so: COMPLETED, FAILED, TERMINATED or TIMED_OUT.")
Tenants = typer.Option("", "--tenant", help="The tenant whose database is meant, or all.")


@app.callback()
def _group() -> None:
    """The database."""


@app.command()
def upgrade(
    database: str | None = DatabaseOption,
    data_dir: str | None = DataDir,
    tenant: str = typer.Option("all", "--tenant", help="Only this tenant's database."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what there is to do."),
) -> None:
    """Bring the database to this version's schema; an SQLite file that holds data is copied first."""
    settings = _settings(database, data_dir)
    with needs("server"):
        from agentspan.server import upkeep
    if dry_run:
        steps = list(upkeep.pending(settings, tenant))
        for step in steps:
            print(f"{step['tenant']}: {step['revision']} {step['about']}")
        print(f"{len(steps)} to do" if steps else "nothing to do: the schema is that of this version")
        return
    for done in upkeep.upgrade(settings, tenant):
        whose = "" if done["tenant"] == settings.tenant else f"{done['tenant']}: "
        copied = f"; the file as it was is {done['copy']}" if done["copy"] else ""
        print(f"{whose}the schema is that of this version{copied}")


@app.command()
@reads
def check(
    database: str | None = DatabaseOption,
    data_dir: str | None = DataDir,
    tenant: str = Tenants,
    full: bool = typer.Option(False, "--full", help="Fold the log of every run, not of a sample."),
) -> Listed:
    """Say whether the database holds together; exit code 1 if not. A server may go on meanwhile."""
    settings = _settings(database, data_dir)
    with needs("server"):
        from agentspan.server import upkeep
    with _told() as told:
        found = upkeep.check(settings, tenant, full=full, told=told)
    wrong = sum(each["wrong"] for each in found)
    for each in found:
        for problem in each["problems"]:
            print(problem, file=sys.stderr)
    note = f"{wrong} problems" if wrong else "the database is sound"
    return Listed(found, CHECKED, "check", note, int(wrong > 0))


@app.command()
def backup(
    file: Path = File,
    database: str | None = DatabaseOption,
    data_dir: str | None = DataDir,
    tenant: str = Tenants,
    as_json: bool = typer.Option(False, "--json", help="Print what is in it as JSON."),
) -> None:
    """Write the whole database, as it is now, into one file. A server may go on meanwhile."""
    settings = _settings(database, data_dir)
    with needs("server"):
        from agentspan.server import upkeep
    with _told() as told:
        done = upkeep.back_up(settings, file, tenant, told)
    if as_json:
        print(json.dumps(done, indent=2))
        return
    for each in done:
        print(f"{each['file']}: {_counted(each)} as of {moment(each['taken_at'])}")
    if any(each["keys"] for each in done):
        print("the master key of its secrets is not in it: keep a copy of that elsewhere", file=sys.stderr)


@app.command()
def restore(
    file: Path = Backup,
    database: str | None = DatabaseOption,
    data_dir: str | None = DataDir,
    tenant: str = Tenant,
) -> None:
    """Fill an empty database with a backup. What was running when it was taken goes on when a server starts."""
    settings = _settings(database, data_dir)
    with needs("server"):
        from agentspan.server import upkeep
    with _told() as told:
        done = upkeep.restore(file, settings, tenant, told)
    print(f"restored {_counted(done)} as of {moment(done['taken_at'])}")
    for key in done["keys"]:
        print(f"its secrets need the master key with the id {key}", file=sys.stderr)


@app.command()
def copy(
    source: str = typer.Option(..., "--from", help="The database to read.", callback=plain_url),
    target: str = typer.Option(..., "--to", help="The empty database to fill.", callback=plain_url),
    tenant: str = Tenant,
) -> None:
    """Copy a database into an empty one, SQLite to PostgreSQL or back, and compare every row. Stop its servers first:
    what they do meanwhile is not in the copy."""
    settings = _settings(source, None), _settings(target, None)
    if settings[0].database_url == settings[1].database_url:
        raise BadInput("--from and --to are the same database")
    with needs("server"):
        from agentspan.server import upkeep
    with _told() as told:
        done = upkeep.copy(*settings, tenant, told)
    print(f"copied {_counted(done)}; every row is the same")


@app.command()
@reads
def size(database: str | None = DatabaseOption, data_dir: str | None = DataDir, tenant: str = Tenants) -> Listed:
    """Say how much room each table takes, with its indices."""
    settings = _settings(database, data_dir)
    with needs("server"):
        from agentspan.server import upkeep
    found = upkeep.size(settings, tenant)
    return Listed(found, SIZES, "table", f"{sum(each['bytes'] for each in found):,} bytes")


@app.command()
def prune(
    older_than: str | None = typer.Option(None, "--older-than", help="Runs that ended longer ago, such as 30d, 12h."),
    keep: int | None = typer.Option(None, "--keep", help="Runs that are not among so many newest of their agent."),
    status: list[str] = Status,
    agent: str = typer.Option("", "--agent", help="Only runs of this agent."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say how many there are."),
    database: str | None = DatabaseOption,
    data_dir: str | None = DataDir,
    tenant: str = Tenant,
) -> None:
    """Remove old runs for ever: through the server if there is one, else, or with --database, in the database."""
    asked = {"olderThan": older_than, "keep": keep, "status": status, "agent": agent, "dryRun": dry_run}
    request = {name: value for name, value in asked.items() if value is not None}
    settings = _settings(database, data_dir)
    runs = 0
    with _told() as told:
        while True:
            done = _pruned(request, settings, tenant, beside=database is not None)
            runs += done["runs"]
            told("removing runs", runs, 0)
            if not done["more"]:
                break
    print(f"{runs:,} runs {'would be ' if dry_run else ''}removed")


def _pruned(request: dict[str, Any], settings: Settings, tenant: str, *, beside: bool) -> dict[str, Any]:
    if not beside and not tenant and (server := _server(settings)):
        return session.ask(lambda client: client.prune(request), session.client(server))
    with needs("server"):
        from agentspan.server import upkeep
    return upkeep.prune(settings, request, tenant)


def _server(settings: Settings) -> session.Place | None:
    """The server that is named, or the one that runs on the data folder."""
    if url := profiles.setting("server_url"):
        return session.Place(url, profiles.credentials(), is_local=False)
    local = launch.find(settings.data_dir)
    return session.Place(local, profiles.credentials(), is_local=True) if local else None


def _settings(database: str | None, data_dir: str | None) -> Settings:
    return Settings.load(options={"--database": database, "--data-dir": data_dir})


def _counted(done: dict[str, Any]) -> str:
    tables = done["tables"]
    rows = sum(each["rows"] for each in tables.values())
    return f"{tables['trees']['rows']:,} runs, {tables['events']['rows']:,} events, {rows:,} rows"


@contextmanager
def _told() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each step, on the standard error of a terminal; nothing where nobody looks on."""
    if not sys.stderr.isatty():
        yield lambda step, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None)
        last, at = "", 0.0

        def told(step: str, done: int, of: int) -> None:
            nonlocal last, at
            if step != last or time.monotonic() - at > TELL_SECONDS:
                shown.update(task, description=step, completed=done, total=of or None)
                last, at = step, time.monotonic()

        yield told


def _number(count: Any) -> str:
    return f"{count:,}"


CHECKED = [
    Column("CHECK", "check"),
    Column("TENANT", "tenant"),
    Column("LOOKED AT", "looked_at", _number),
    Column("WRONG", "wrong", _number),
]
SIZES = [
    Column("TABLE", "table"),
    Column("TENANT", "tenant"),
    Column("ROWS", "rows", _number),
    Column("BYTES", "bytes", _number),
]
