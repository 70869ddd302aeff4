"""`agentspan doctor`: every setting with its source, every version, and what would stop a server here."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import typer

import agentspan
from agentspan.client import launch
from agentspan.config import Settings
from agentspan.errors import AgentspanError

OK, WARN, FAIL = "ok", "warn", "FAIL"
LOW_DISK_BYTES, NO_DISK_BYTES = 1 << 30, 100 << 20
CONNECT_SECONDS = 3.0


class Check(NamedTuple):
    name: str
    state: str
    detail: str


def doctor(
    as_json: bool = typer.Option(False, "--json", help="As JSON."),
    data_dir: str | None = typer.Option(None, "--data-dir", help="Folder of the server to look at."),
) -> None:
    """Print every setting with its source and check what a server needs; exit code 1 if something fails."""
    try:
        settings = Settings.load(options={"--data-dir": data_dir})
        rows, found = settings.describe(), [*checks(settings)]
    except AgentspanError as problem:
        rows, found = [], [Check("settings", FAIL, problem.message)]
    failed = any(check.state == FAIL for check in found)
    if as_json:
        print(json.dumps(report(rows, found, not failed), indent=2))
    else:
        show(rows, found)
    raise typer.Exit(int(failed))


def checks(settings: Settings) -> Iterator[Check]:
    yield python()
    yield packages()
    yield folder(settings.data_dir)
    yield disk(settings.data_dir)
    running = launch.find(settings.data_dir)
    yield server(settings, running)
    yield database(settings, running)
    yield models(settings)


def python() -> Check:
    return Check(
        "python", OK if sys.version_info >= (3, 11) else FAIL, f"{platform.python_version()} ({sys.executable})"
    )


def packages() -> Check:
    missing = [
        extra for extra, names in EXTRAS.items() if any(importlib.util.find_spec(name) is None for name in names)
    ]
    have = f"extras installed: {', '.join(extra for extra in EXTRAS if extra not in missing) or 'none'}"
    if "server" in missing:
        return Check("packages", WARN, f'{have}; a local server needs: pip install "agentspan[server]"')
    return Check("packages", OK, have)


def folder(path: Path) -> Check:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=path):
            return Check("data folder", OK, str(path))
    except OSError as problem:
        return Check("data folder", FAIL, f"{path} cannot be written: {problem.strerror}; set AGENTSPAN_DATA_DIR")


def disk(path: Path) -> Check:
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free
    state = FAIL if free < NO_DISK_BYTES else WARN if free < LOW_DISK_BYTES else OK
    return Check("disk", state, f"{free / (1 << 30):.1f} GB free")


def server(settings: Settings, running: str | None) -> Check:
    if running:
        return Check("server", OK, f"runs at {running}")
    if settings.port and launch.is_taken(settings):
        return Check(
            "server", FAIL, f"none runs, and port {settings.port} is taken by another program; set AGENTSPAN_PORT"
        )
    return Check("server", OK, f"none runs; port {settings.port} is free")


def database(settings: Settings, running: str | None) -> Check:
    parts = urlsplit(settings.database_url)
    if running and not launch.is_healthy(running, "/readyz"):
        return Check("database", FAIL, "the running server cannot reach its database; see agentspan server logs")
    if parts.scheme.startswith("sqlite"):
        file = Path(parts.path[1:] if parts.path.startswith("//") else parts.path)
        held = file.exists() and not os.access(file, os.W_OK)
        return Check("database", FAIL if held else OK, f"{file}{' cannot be written' if held else ''}")
    host, port = parts.hostname or "localhost", parts.port or 5432
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as problem:
        return Check("database", FAIL, f"nobody answers at {host}:{port}: {problem.strerror or problem}")
    return Check("database", OK, f"PostgreSQL answers at {host}:{port}")


def models(settings: Settings) -> Check:
    try:
        from agentspan.server import maintenance
    except ModuleNotFoundError:
        return Check("models", WARN, "cannot be looked at without the server extra")
    found = maintenance.enabled_providers(os.environ)
    local = maintenance.has_weights("smollm2", settings)
    if not found and not local:
        return Check("models", WARN, "no provider key is set; try: agentspan model pull smollm2")
    return Check("models", OK, ", ".join([*found, *(["local/smollm2"] if local else [])]))


def versions() -> dict[str, str]:
    found = {"agentspan": agentspan.__version__}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def report(rows: list[tuple[str, str, str]], found: list[Check], fine: bool) -> dict[str, object]:
    return {
        "ok": fine,
        "checks": [check._asdict() for check in found],
        "settings": [{"name": name, "value": value, "source": source} for name, value, source in rows],
        "versions": versions(),
    }


def show(rows: list[tuple[str, str, str]], found: list[Check]) -> None:
    for check in found:
        print(f"{check.state:<5} {check.name}: {check.detail}")
    print("\nversions")
    for name, version in versions().items():
        print(f"  {name:<22} {version}")
    print("\nsettings")
    for name, value, source in rows:
        print(f"  {name:<22} {value}  ({source})")


EXTRAS = {
    "server": ("tornado", "sqlalchemy", "alembic", "psycopg", "litellm", "jwt", "prometheus_client"),
    "local": ("xllamacpp",),
    "notebook": ("ipykernel", "anywidget"),
    "dashboard": ("panel",),
}
DISTRIBUTIONS = (
    "msgspec",
    "httpx",
    "pydantic",
    "tornado",
    "sqlalchemy",
    "alembic",
    "psycopg",
    "litellm",
    "xllamacpp",
    "ipykernel",
    "panel",
)
