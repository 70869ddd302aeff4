"""Built-in workers in a process of their own: one more replica of the engines, without the API."""

from msgspec.structs import replace

import agentspan
from agentspan.config import Settings, mask_url
from agentspan.engine.secrets import check_start
from agentspan.engine.tenants import Tenants
from agentspan.errors import ConfigurationProblem
from agentspan.server.app import address, bind, check_bind, listen, make_app, run, told_to_stop

PATHS = frozenset({"/livez", "/readyz", "/metrics", "/actuator/prometheus"})
"""What such a process answers, if it is given a port."""


def work(settings: Settings, *, listens: bool) -> int:
    """Perform the tasks of `settings.workers` until SIGTERM or SIGINT; the exit code."""
    return run(_work(bounded(settings), listens), settings)


def bounded(settings: Settings) -> Settings:
    """The settings without what a server may do by default that only its own machine reaches: this process makes the
    calls of servers that others may reach."""
    return replace(settings, outgoing_allow=settings.outgoing_allow or ("none",))


async def _work(settings: Settings, listens: bool) -> None:
    check(settings)
    check_start(settings)
    if listens:
        check_bind(settings)
    sockets = bind(settings) if listens else []
    tenants = await Tenants.open(settings)
    try:
        server = listen(make_app(tenants, settings, paths=PATHS), sockets, settings)
        where = f", see {address(settings, sockets)}/readyz" if sockets else ""
        with told_to_stop() as stop:
            database = mask_url(settings.database_url)
            print(f"agentspan {agentspan.__version__} works on {settings.workers} of {database}{where}", flush=True)
            await stop.wait()
        await tenants.drain(settings.drain_seconds)
        server.stop()
        await server.close_all_connections()
    finally:
        await tenants.close()


def check(settings: Settings) -> None:
    """Refuse a database that no second process can work on."""
    if settings.database_url.startswith("sqlite"):
        raise ConfigurationProblem(
            "built-in workers can only be processes of their own on PostgreSQL: one process alone may hold an SQLite"
            " file. Set AGENTSPAN_DATABASE_URL to a PostgreSQL database, or let the server make the calls"
            " (agentspan server start --workers all)"
        )
