"""How one engine is, for whoever watches it: gathered when it is asked for."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from agentspan.clock import now_ms
from agentspan.config import Settings
from agentspan.engine.engine import Engine
from agentspan.engine.roster import QueueState
from agentspan.errors import Unavailable
from agentspan.store import vitals as stored
from agentspan.store.database import Database, unavailable
from agentspan.store.migrations import HEAD
from agentspan.store.presence import living

SECONDS = 5.0
"""A database that takes longer to tell of itself counts as away."""


class Health(Struct, frozen=True, kw_only=True):
    """What an engine's database says."""

    stored: stored.Vitals
    queues: Sequence[QueueState]
    workers: dict[str, int]
    servers: int
    now: int


async def health(engine: Engine) -> Health | None:
    """The numbers of the engine's database; None if it is away."""
    try:
        async with asyncio.timeout(SECONDS):
            roster, kept = await engine.roster(), await engine.reads.query(_stored(engine))
            servers = 1 if engine.database.is_sqlite else len(await engine.reads.query(living))
    except (TimeoutError, Unavailable):
        return None
    workers = dict.fromkeys(STATES, 0) | Counter(each.state for each in roster.workers)
    return Health(stored=kept, queues=roster.queues, workers=workers, servers=servers, now=now_ms())


def pool(engine: Engine) -> stored.Pool:
    return stored.pool(engine.database)


def clock_ahead_ms(settings: Settings) -> int | None:
    """How far the database's clock is ahead of this machine's; None for a file, which has none. Unavailable."""
    if settings.database_url.startswith("sqlite"):
        return None
    database = Database(settings.database_url, pool_size=1)
    try:
        return unavailable(lambda: stored.clock_ahead_ms(database))
    finally:
        database.close()


def free_bytes(folder: Path) -> int:
    """What is free on the disk of a folder."""
    return shutil.disk_usage(folder).free


def _stored(engine: Engine) -> "partial[stored.Vitals]":
    return partial(stored.vitals, database=engine.database)


STATES = ("busy", "idle", "silent", "gone")
SCHEMA = HEAD
"""The revision of the schema that this version works on."""
