"""What is done to a database beside its servers: back up, restore, copy, check, measure.

Each tenant's database is one of its own, and is named by its settings.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agentspan.config import HOME, Rule, Settings
from agentspan.engine.retention import Removed, Retention
from agentspan.store import access, backup, copying, database, integrity, sizes
from agentspan.store.backup import Manifest
from agentspan.store.copying import Tally, Told, quiet
from agentspan.store.database import Database
from agentspan.store.integrity import Finding
from agentspan.store.ledger import Ledger, Transaction
from agentspan.store.sizes import Size


def tenants(settings: Settings) -> list[str]:
    """The names of all tenants, the first one's first."""
    with copying.snapshot(settings.database_url) as connection:
        copying.fit(connection)
        names = access.roll(connection).tenants
    return [HOME, *sorted(name for name in names if name != HOME)]


def pending(settings: Settings) -> list[tuple[str, str]]:
    """The revisions that an upgrade would bring, each with what it is about."""
    if settings.database_url.startswith("sqlite") and not Path(settings.database_url.partition("///")[2]).exists():
        return database.pending(None)
    with copying.snapshot(settings.database_url) as connection:
        return database.pending(database.revision(connection))


def back_up(settings: Settings, path: Path, told: Told = quiet) -> Manifest:
    """The database into a file, while servers go on."""
    return backup.backup(settings.database_url, path, told)


def restore(path: Path, settings: Settings, told: Told = quiet) -> Manifest:
    """A backup into an empty database."""
    return backup.restore(path, settings.database_url, told)


def copy(source: Settings, target: Settings, told: Told = quiet) -> dict[str, Tally]:
    """A database into an empty one."""
    return backup.copy(source.database_url, target.database_url, told)


def check(settings: Settings, *, full: bool = False, told: Told = quiet) -> list[Finding]:
    """Whether the database holds together, as it is at this moment."""
    with copying.snapshot(settings.database_url) as connection:
        return integrity.check(connection, full=full, told=told)


def size(settings: Settings) -> list[Size]:
    """How much room each table takes."""
    with copying.snapshot(settings.database_url) as connection:
        copying.fit(connection)
        return sizes.sizes(connection)


@contextlib.contextmanager
def retention(settings: Settings) -> Iterator[Retention]:
    """What removes old runs where no server does: an SQLite file must not be in use."""
    opened = Database(settings.database_url, synchronous=settings.sqlite_synchronous)
    opened.open()
    ledger = Ledger(opened, settings.blob_bytes)

    async def query(work: Callable[[Any], Any]) -> Any:
        with opened.reading.connect() as connection:
            return work(connection)

    async def do(command: Any) -> Any:
        found: list[Any] = []

        def work(transaction: Transaction) -> None:
            transaction.lock(command.trees)
            found.append(command.apply(transaction, None))

        ledger.commit(work, lambda _: None)
        return found[0]

    try:
        yield Retention((), query, do)
    finally:
        opened.close()


async def prune(settings: Settings, rule: Rule, *, most: int = 0, dry_run: bool = False) -> Removed:
    """Remove the runs that a rule names."""
    with retention(settings) as removing:
        return await removing.sweep([rule], most=most, dry_run=dry_run)
