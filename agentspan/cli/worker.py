"""`agentspan worker`: the tools of Python modules, or built-in workers, in a process of their own."""

import logging
import signal
import sys
import threading
from pathlib import Path

import typer

import agentspan
from agentspan.cli import session
from agentspan.cli.extras import needs
from agentspan.cli.given import plain_url
from agentspan.config import Settings
from agentspan.errors import BadInput

GRACE_SECONDS = 10.0
LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


MODULES = typer.Argument(None, metavar="[MODULE]...", help="Modules, packages or FILE.py that have agents or tools.")


def worker(
    modules: list[str] | None = MODULES,
    kinds: str | None = typer.Option(None, help="Built-in workers instead: llm,http,mcp. They need PostgreSQL."),
    port: str | None = typer.Option(None, help="With --kinds: where to answer /livez, /readyz and /metrics."),
    host: str | None = typer.Option(None, help="With --kinds and --port: the address to listen on."),
    database: str | None = typer.Option(None, help="With --kinds: postgresql://USER@HOST/DATABASE", callback=plain_url),
    data_dir: str | None = typer.Option(None, "--data-dir", help="With --kinds: folder of scripts."),
    log_level: str | None = typer.Option(None, help="debug, info, warning or error"),
    concurrency: int = typer.Option(16, min=1, help="With MODULE: so many tools that are plain functions run at once."),
    grace: float = typer.Option(GRACE_SECONDS, min=0, help="With MODULE: seconds that tools have to end at SIGTERM."),
) -> None:
    """Serve tools of Python modules for runs that others start, or perform the server's own work, until SIGTERM.

    MODULE serves against AGENTSPAN_SERVER_URL: no new tasks after SIGTERM, and what does not end within the grace
    period is given back. --kinds is one more replica of the server, without its API.
    """
    if bool(modules) == bool(kinds):
        raise BadInput("name the modules to serve, or --kinds of built-in workers such as llm,http; not both")
    if kinds:
        options = {
            "--workers": kinds, "--port": port, "--host": host, "--database": database, "--data-dir": data_dir,
            "--log-level": log_level,
        }  # fmt: skip
        with needs("server"):
            from agentspan.server.worker import work
        sys.exit(work(Settings.load(options=options), listens=port is not None))
    _serve(modules or [], concurrency, grace, log_level)


def _serve(modules: list[str], concurrency: int, grace: float, log_level: str | None) -> None:
    with needs("sdk"):
        from agentspan.agents.discovery import discover_served
    level = {"log_level": log_level.upper()} if log_level else {}
    settings = {"worker_thread_count": concurrency, "auto_start_workers": True, "auto_start_server": False}
    runtime = session.runtime(**settings, **level)
    logging.basicConfig(level=runtime.config.log_level.upper(), stream=sys.stderr, format=LINE)
    try:
        agents = discover_served([_imported(name) for name in modules])
    except ValueError as problem:
        raise BadInput(str(problem)) from problem
    stop = threading.Event()

    def told(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, told)
    runtime.serve(*agents, blocking=False)
    names = ", ".join(sorted(agent.name for agent in agents))
    print(f"agentspan {agentspan.__version__} serves {names} to {runtime.config.server_url}", flush=True)
    stop.wait()
    runtime.shutdown(grace)


def _imported(name: str) -> str:
    """The name by which Python imports a module that is named as such, or as a file."""
    path = Path(name)
    is_file = path.suffix == ".py"
    if is_file and not path.exists():
        raise BadInput(f"there is no file {name}")
    sys.path.insert(0, str(path.resolve().parent if is_file else Path.cwd()))
    return path.stem if is_file else name
