"""What the command line does to databases, of one tenant or of all, as JSON.

Each tenant has a database of its own; `tenant` is its name, "" for the first one, "all" for every one.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import convert, to_builtins

from agentspan.config import HOME, Settings
from agentspan.engine import upkeep
from agentspan.server import maintenance
from agentspan.server.removal import PruneRequest

Json = dict[str, Any]
Told = Callable[[str, int, int], None]

ALL = "all"


def quiet(step: str, done: int, of: int) -> None:
    """For who does not want to be told."""


def upgrade(settings: Settings, tenant: str = ALL) -> Iterator[Json]:
    """Bring schemas to this version's, the first tenant's before those that it knows of."""
    if tenant in ("", HOME, ALL):
        yield {"tenant": HOME, "copy": maintenance.upgrade(settings)}
    others = upkeep.tenants(settings)[1:] if tenant == ALL else [tenant] if tenant not in ("", HOME) else []
    for name in others:
        yield {"tenant": name, "copy": maintenance.upgrade(settings.of_tenant(name))}


def pending(settings: Settings, tenant: str = ALL) -> Iterator[Json]:
    """What an upgrade would do; of further tenants only once the first one's database is at this version."""
    first = upkeep.pending(settings) if tenant in ("", HOME, ALL) else []
    yield from ({"tenant": HOME, "revision": each, "about": about} for each, about in first)
    others = [] if first else upkeep.tenants(settings)[1:] if tenant == ALL else [tenant]
    for name in others:
        if name not in ("", HOME):
            for each, about in upkeep.pending(settings.of_tenant(name)):
                yield {"tenant": name, "revision": each, "about": about}


def back_up(settings: Settings, path: Path, tenant: str = "", told: Told = quiet) -> list[Json]:
    """One tenant into the file `path`, or every one into a file of its own in the folder `path`."""
    if tenant == ALL:
        return [_backed_up(each, path / f"{each.tenant}.db", told) for each in named(settings, ALL)]
    return [_backed_up(each, path, told) for each in named(settings, tenant)]


def restore(path: Path, settings: Settings, tenant: str = "", told: Told = quiet) -> Json:
    """A backup into the empty database of a tenant."""
    [one] = named(settings, tenant)
    return _manifest(path, one, upkeep.restore(path, one, told))


def copy(source: Settings, target: Settings, tenant: str = "", told: Told = quiet) -> Json:
    """The database of a tenant into an empty one."""
    [one], [other] = named(source, tenant), named(target, tenant)
    tables = upkeep.copy(one, other, told)
    return {"tenant": one.tenant, "tables": to_builtins(tables)}


def check(settings: Settings, tenant: str = "", *, full: bool = False, told: Told = quiet) -> list[Json]:
    """What each check has found."""
    return [
        {"tenant": each.tenant, **to_builtins(finding), "ok": not finding.wrong}
        for each in named(settings, tenant)
        for finding in upkeep.check(each, full=full, told=told)
    ]


def size(settings: Settings, tenant: str = "") -> list[Json]:
    """How much room tables take."""
    return [
        {"tenant": each.tenant, **to_builtins(found)} for each in named(settings, tenant) for found in upkeep.size(each)
    ]


def prune(settings: Settings, request: Json, tenant: str = "") -> Json:
    """Remove old runs of a tenant where no server runs: see PruneRequest."""
    [one] = named(settings, tenant)
    asked = convert(request, PruneRequest)
    removed = asyncio.run(upkeep.prune(one, asked.rule(), dry_run=asked.dry_run))
    return {**to_builtins(removed), "dryRun": asked.dry_run}


def named(settings: Settings, tenant: str) -> list[Settings]:
    """The settings of who is meant."""
    if tenant in ("", HOME):
        return [settings]
    if tenant == ALL:
        return [settings.of_tenant(name) for name in upkeep.tenants(settings)]
    return [settings.of_tenant(tenant)]


def _backed_up(settings: Settings, path: Path, told: Told) -> Json:
    return _manifest(path, settings, upkeep.back_up(settings, path, told))


def _manifest(path: Path, settings: Settings, manifest: Any) -> Json:
    return {"tenant": settings.tenant, "file": str(path), **to_builtins(manifest)}
