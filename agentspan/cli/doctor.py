"""`agentspan doctor`: every setting with its source, every version, and what would stop a server or a client here."""

import importlib.metadata
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import typer

import agentspan
from agentspan.cli import examining, profiles
from agentspan.cli.examining import CONNECT_SECONDS, FAIL, OK, WARN, Check
from agentspan.client import launch
from agentspan.config import Settings
from agentspan.errors import AgentspanError


def doctor(
    as_json: bool = typer.Option(False, "--json", help="As JSON."),
    data_dir: str | None = typer.Option(None, "--data-dir", help="Folder of the server to look at."),
    fix: bool = typer.Option(False, "--fix", help="Mend what can be mended: rights of the folder, an old schema."),
    live: bool = typer.Option(False, "--live", help="Ask the model providers whether they take their keys."),
    dev: bool = typer.Option(False, "--dev", help="Look also for what the tests of agentspan itself need."),
) -> None:
    """Print every setting with its source and check what a server and a client need; exit code 1 if something fails."""
    fixed: list[str] = []
    try:
        settings = Settings.load(options={"--data-dir": data_dir})
        if fix:
            fixed = [*mended(settings)]
        rows, found = settings.describe(), [*checks(settings, live=live, dev=dev)]
    except AgentspanError as problem:
        rows, found = [], [Check("settings", FAIL, problem.message)]
    failed = any(check.state == FAIL for check in found)
    if as_json:
        print(json.dumps({**report(rows, found, not failed), "fixed": fixed}, indent=2))
    else:
        for each in fixed:
            print(f"fixed {each}")
        show(rows, found)
    raise typer.Exit(int(failed))


def checks(settings: Settings, *, live: bool = False, dev: bool = False) -> Iterator[Check]:
    """The machine, the server that it has or could have, the server that its commands speak to."""
    yield examining.python()
    yield examining.packages()
    yield examining.kernel()
    yield examining.folder(settings.data_dir)
    yield examining.disk(settings.data_dir)
    running = launch.find(settings.data_dir)
    yield server(settings, running)
    kept = database(settings, running)
    yield kept
    yield from with_server(settings, kept.state == OK)
    yield from connection(running)
    if live:
        yield from examining.live(os.environ, enabled())
    if dev:
        yield examining.browser()


def mended(settings: Settings) -> Iterator[str]:
    """Mend what can be mended; says what was done."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    yield from examining.close_to_others(settings.data_dir)
    try:
        from agentspan.server import upkeep
    except ModuleNotFoundError:
        return
    if not old(settings):
        return
    for done in upkeep.upgrade(settings):
        copied = f"; the file as it was is {done['copy']}" if done["copy"] else ""
        yield f"brought the database of {done['tenant']} to this version's schema{copied}"


def server(settings: Settings, running: str | None) -> Check:
    if running:
        return Check("server", OK, f"runs at {running}")
    if settings.port and launch.is_taken(settings):
        owner = examining.owner_of(settings.port) or "another program"
        return Check("server", FAIL, f"none runs, and port {settings.port} is taken by {owner}; set AGENTSPAN_PORT")
    return Check("server", OK, f"none runs; port {settings.port} is free")


def database(settings: Settings, running: str | None) -> Check:
    parts = urlsplit(settings.database_url)
    if running and not launch.is_healthy(running, "/readyz"):
        return Check("database", FAIL, "the running server cannot reach its database; see agentspan server logs")
    if parts.scheme.startswith("sqlite"):
        file = file_of(settings)
        held = file.exists() and not os.access(file, os.W_OK)
        return Check("database", FAIL if held else OK, f"{file}{' cannot be written' if held else ''}")
    host, port = parts.hostname or "localhost", parts.port or 5432
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as problem:
        return Check("database", FAIL, f"nobody answers at {host}:{port}: {problem.strerror or problem}")
    return Check("database", OK, f"PostgreSQL answers at {host}:{port}")


def file_of(settings: Settings) -> Path:
    """The file of an SQLite database."""
    path = urlsplit(settings.database_url).path
    return Path(path[1:] if path.startswith("//") else path)


def with_server(settings: Settings, is_there: bool) -> Iterator[Check]:
    """What only the server's own code can say. `is_there`: the database answers."""
    try:
        import agentspan.server.app  # noqa: F401
    except ModuleNotFoundError:
        yield Check("models", WARN, "cannot be looked at without the server extra")
        return
    if is_there:
        yield schema(settings)
        yield from clock(settings)
    yield bind(settings)
    yield key(settings)
    yield tracing(settings)
    yield models(settings)


def schema(settings: Settings) -> Check:
    """Whether the database is at this version's schema."""
    try:
        steps = old(settings)
    except AgentspanError as problem:
        return Check("schema", FAIL, problem.message)
    if steps:
        return Check("schema", FAIL, f"{len(steps)} migrations to do: agentspan db upgrade (or doctor --fix)")
    return Check("schema", OK, "that of this version, or none yet")


def old(settings: Settings) -> list[str]:
    """The migrations that a database which holds something needs. StoreProblem, Unavailable."""
    from agentspan.server import upkeep

    if settings.database_url.startswith("sqlite") and not file_of(settings).exists():
        return []
    found = [each["revision"] for each in upkeep.pending(settings)]
    # An empty database gets its schema from the first server that starts on it.
    return [] if FIRST_REVISION in found else found


def clock(settings: Settings) -> Iterator[Check]:
    """Whether the database's clock agrees; a file has none."""
    from agentspan.server import maintenance

    try:
        ahead = maintenance.clock_ahead_ms(settings)
    except AgentspanError as problem:
        yield Check("database's clock", WARN, problem.message)
        return
    if ahead is not None:
        yield examining.clock("database's clock", ahead / 1000)


def bind(settings: Settings) -> Check:
    """Who may reach a server with these settings."""
    from agentspan.server.app import check_bind
    from agentspan.server.origin import is_loopback

    try:
        check_bind(settings)
    except AgentspanError as problem:
        return Check("bind", FAIL, problem.message)
    if settings.auth_secret:
        return Check("bind", OK, f"{settings.host}, with credentials")
    if is_loopback(settings.host):
        return Check("bind", OK, f"{settings.host}, this machine alone")
    return Check("bind", WARN, f"whoever reaches {settings.host} may run agents: AGENTSPAN_ALLOW_INSECURE_BIND is set")


def key(settings: Settings) -> Check:
    """Whether credentials can be kept."""
    from agentspan.server import maintenance

    try:
        maintenance.check_key(settings)
    except AgentspanError as problem:
        return Check("master key", FAIL, problem.message)
    return Check("master key", OK, "set" if settings.master_key else KEY_FILE)


def tracing(settings: Settings) -> Check:
    if not settings.tracing:
        return Check("tracing", OK, "off")
    if versions()["opentelemetry-sdk"] == MISSING:
        return Check("tracing", FAIL, 'is on, and OpenTelemetry is missing: pip install "agentspan[otel]"')
    return Check("tracing", OK, "on")


def enabled() -> list[str]:
    """The model providers that have a key."""
    try:
        from agentspan.server import maintenance
    except ModuleNotFoundError:
        return []
    return maintenance.enabled_providers(os.environ)


def models(settings: Settings) -> Check:
    from agentspan.server import maintenance

    found, local = enabled(), maintenance.has_weights("smollm2", settings)
    if not found and not local:
        return Check("models", WARN, "no provider key is set; try: agentspan model pull smollm2")
    return Check("models", OK, ", ".join([*found, *(["local/smollm2"] if local else [])]))


def connection(running: str | None) -> Iterator[Check]:
    """The server that commands and programs of this machine speak to."""
    from agentspan.client.transport import auth_headers

    values = profiles.values()
    if "server_url" in values:
        url, source = values["server_url"]
    elif running:
        url, source = running, "the local server"
    else:
        yield Check("connection", OK, "a local server is started when it is needed")
        return
    shown = profiles.credentials()
    headers = auth_headers(*(shown.get(name) for name in ("api_key", "auth_key", "auth_secret")))
    yield from examining.client(url, headers, source)


def versions() -> dict[str, str]:
    found = {"agentspan": agentspan.__version__}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = MISSING
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


MISSING = "not installed"
FIRST_REVISION = "0001"
KEY_FILE = "a file of the data folder, made when it is needed"
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
    "opentelemetry-sdk",
)
