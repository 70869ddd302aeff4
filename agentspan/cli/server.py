"""`agentspan server`: start, stop, status, logs."""

import os
import signal
import sys
import time
from pathlib import Path

import typer

from agentspan.cli import codes, output
from agentspan.cli.extras import needs
from agentspan.cli.given import plain_url
from agentspan.config import Settings
from agentspan.errors import AgentspanError

app = typer.Typer(help="The server of this machine: start, stop, status, logs.", no_args_is_help=True)

STOP_SLACK_SECONDS = 10.0
LOOK_SECONDS = 0.05
FOLLOW_SECONDS = 0.25

DataDir = typer.Option(None, "--data-dir", help="Folder of the database, the logs and the record of the server.")


@app.command()
def start(
    port: str | None = typer.Option(None, help="Port to listen on; 0 for any free one."),
    host: str | None = typer.Option(None, help="Address to listen on; others than loopback need credentials."),
    database: str | None = typer.Option(
        None, help="sqlite:////FILE or postgresql://USER@HOST/DATABASE", callback=plain_url
    ),
    data_dir: str | None = DataDir,
    log_level: str | None = typer.Option(None, help="debug, info, warning or error"),
    ui: bool | None = typer.Option(None, "--ui/--no-ui", help="Show the dashboard at /ui, or not."),
    workers: str | None = typer.Option(None, help="Built-in workers of this server: all, none, or llm,http,mcp."),
    foreground: bool = typer.Option(False, "--foreground", help="Stay in this terminal until Ctrl-C."),
) -> None:
    """Start a server, in the background unless --foreground, and print its address."""
    settings = Settings.load(
        options={
            "--port": port,
            "--host": host,
            "--database": database,
            "--data-dir": data_dir,
            "--log-level": log_level,
            "--workers": workers,
            "--ui": None if ui is None else str(ui).lower(),
        }
    )
    if foreground:
        with needs("server"):
            from agentspan.server.app import serve
        sys.exit(serve(settings))
    from agentspan.client import launch

    server = launch.start(settings, may_move=False)
    if server.started:
        print(f"agentspan serves {server.url} (stop it with: agentspan server stop{_option(data_dir)})")
    else:
        print(f"agentspan serves {server.url} already")


@app.command()
def stop(data_dir: str | None = DataDir) -> None:
    """Stop the server: it finishes its work within the grace period and hands the rest back."""
    with needs("server"):
        from agentspan.server import record
    settings = _settings(data_dir)
    running = record.find(settings.data_dir)
    if running is None:
        print(f"no server runs on {settings.data_dir}")
        return
    os.kill(running.pid, signal.SIGTERM)
    give_up = time.monotonic() + settings.drain_seconds + STOP_SLACK_SECONDS
    while record.is_held(settings.data_dir):
        if time.monotonic() > give_up:
            raise AgentspanError(f"the server (process {running.pid}) has not stopped yet; see its log")
        time.sleep(LOOK_SECONDS)
    print(f"stopped {running.url}")


@app.command()
def status(
    data_dir: str | None = DataDir,
    form: str | None = typer.Option(None, "--output", "-o", help="table (sentences), json, jsonl, yaml, csv or id."),
    as_json: bool = typer.Option(False, "--json", help="As --output json."),
) -> None:
    """Say whether a server runs, and where; exit code 9 if none does."""
    with needs("server"):
        from agentspan.server import record
    from agentspan.client import launch

    style = output.style_of("json" if as_json else form)
    settings = _settings(data_dir)
    running = record.find(settings.data_dir)
    body: dict[str, object] = {"dataDir": str(settings.data_dir), "running": running is not None, "answers": False}
    told = [f"no server runs on {settings.data_dir}"]
    if running is not None:
        body |= {"url": running.url, "version": running.version, "pid": running.pid, "database": running.database}
        body |= {"startedAt": int(running.started_at * 1000), "answers": launch.is_healthy(running.url)}
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(running.started_at))
        told = [f"agentspan {running.version} serves {running.url}"]
        told += [f"process {running.pid} since {since}, database {running.database}"]
        told += [] if body["answers"] else [f"but it does not answer; its log is {launch.log_path(settings.data_dir)}"]
    if style.output == "table":
        print("\n".join(told))
    else:
        output.show(output.Told(body, STATUS_COLUMNS, "url"), style)
    raise typer.Exit(codes.DONE if body["answers"] else codes.UNREACHABLE)


@app.command()
def logs(
    data_dir: str | None = DataDir,
    lines: int = typer.Option(100, "--lines", "-n", min=0, help="How many of the last lines."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on as the server writes, until Ctrl-C."),
) -> None:
    """Print the last lines of the background server's log."""
    from agentspan.client import launch

    path = launch.log_path(_settings(data_dir).data_dir)
    if not path.exists():
        raise AgentspanError(f"there is no log yet: {path}")
    with path.open(errors="replace") as file:
        print("".join(file.readlines()[-lines:] if lines else []), end="", flush=True)
        while follow:
            if new := file.read():
                print(new, end="", flush=True)
            else:
                time.sleep(FOLLOW_SECONDS)


def _settings(data_dir: str | None) -> Settings:
    return Settings.load(options={"--data-dir": data_dir})


def _option(data_dir: str | None) -> str:
    return f" --data-dir {Path(data_dir)}" if data_dir else ""


STATUS_COLUMNS = tuple(
    output.Column(name.upper(), name)
    for name in ("running", "answers", "url", "version", "pid", "startedAt", "database", "dataDir")
)
