"""Several servers on one PostgreSQL: who lives, and what the others have just committed.

A server lives as long as its connection does: it holds an advisory lock under its number, which PostgreSQL gives back
the moment the connection ends, and it ends a connection on which nothing came for a while: a server that is cut off
from it, or stands still, does not live. All go by the database's clock. Notifications only make things faster; losing
them is harmless. Locks and notifications of one schema are nothing to those who work on another one.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.clock import follow
from agentspan.errors import StoreProblem
from agentspan.store.database import PATIENCE, Database, compatible_from, explain, revision
from agentspan.store.ledger import CHANNEL
from agentspan.store.migrations import HEAD

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger("agentspan.store")

LOOKS = 3
NOISE_SECONDS = 0.02
SKEW_SECONDS = 1.0
BEATS = 4
"""How often a server shows that it lives within the time for which it may be silent."""
ENDS_THE_IDLE = 140_000
"""The version of PostgreSQL since which it ends connections on which nothing comes."""
SPACE = "(hashtext(current_schema()) & 2147483647)"
"""The first key of the advisory locks."""


class Presence:
    """One server's connection for being alive and for listening. `heard` is called with each payload of the others,
    and with None after the connection was lost and made again: anything may have been missed."""

    def __init__(self, database: Database, number: int, hello: str, heard: Callable[[str | None], None]) -> None:
        self.database, self.number, self.hello, self.heard = database, number, hello, heard
        self.silence = database.silence
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def open(self) -> None:
        import psycopg  # slow to load, and of no use on SQLite

        url = self.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            connection = await psycopg.AsyncConnection.connect(
                url, autocommit=True, application_name="agentspan", **PATIENCE
            )
        except psycopg.OperationalError as problem:
            raise StoreProblem(explain(problem, self.database.url)) from problem
        try:
            await self._enter(connection)
        except BaseException:
            await connection.close()
            raise
        self._connection = connection

    async def _enter(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        """Be alive from now on, and listen."""
        import psycopg

        if connection.info.server_version >= ENDS_THE_IDLE:
            await connection.execute("select set_config('idle_session_timeout', %s, false)", (f"{self.silence}s",))
        ahead = await _ahead(connection)
        if abs(ahead) > NOISE_SECONDS:
            follow(ahead)
        if abs(ahead) > SKEW_SECONDS:
            word = "behind" if ahead > 0 else "ahead of"
            log.warning(
                "this machine's clock is %.1f s %s the database's, which is the one that counts", abs(ahead), word
            )
        await connection.execute(f"select pg_advisory_lock({SPACE}, %s)", (self.number,))
        answer = await connection.execute(f"select {CHANNEL}")
        channel = str((await answer.fetchone() or ("",))[0])
        await connection.execute(psycopg.sql.SQL("listen {}").format(psycopg.sql.Identifier(channel)))
        await connection.execute("select pg_notify(%s, %s)", (channel, self.hello))

    async def listen(self) -> None:
        """Hear the others for ever; connects again after a loss."""
        import psycopg

        while True:
            try:
                if self._connection is None:
                    await self.open()
                    self.heard(None)
                assert self._connection is not None
                async for notice in self._connection.notifies(timeout=self.silence / BEATS):
                    self.heard(notice.payload)
                async with asyncio.timeout(self.silence):
                    await self._connection.execute("select 1")
            except (psycopg.Error, StoreProblem, TimeoutError):
                await self.close()
                await asyncio.sleep(0.5)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _ahead(connection: "psycopg.AsyncConnection[Any]") -> float:
    """How many seconds the database's clock is ahead of this machine's: the quickest of some answers tells best."""
    found = []
    for _ in range(LOOKS):
        began, at = time.monotonic(), time.time()
        answer = await connection.execute("select extract(epoch from clock_timestamp())::float8")
        took = time.monotonic() - began
        [shown] = await answer.fetchone() or (at,)
        found.append((took, shown - at - took / 2))
    return min(found)[1]


def check_upgrade(database: Database) -> None:
    """StoreProblem if servers live on a schema of which the next one is not for them."""
    if database.is_sqlite:
        return
    with database.reading.connect() as connection:
        found = revision(connection)
        if found is None or found >= HEAD or compatible_from(HEAD) <= found:
            return
        if servers := living(connection):
            count = "1 server works" if len(servers) == 1 else f"{len(servers)} servers work"
            raise StoreProblem(
                f"{count} on this database, whose revision is {found}, and could not with {HEAD}: stop every server"
                " and worker process, then run `agentspan db upgrade` again"
            )


def living(connection: Connection) -> set[int]:
    """The numbers of the servers that live."""
    return {int(row[0]) for row in connection.execute(LIVING)}


LIVING = sa.text(
    f"select objid from pg_locks where locktype = 'advisory' and classid::bigint = {SPACE} and objsubid = 2 and granted"
    " and database = (select oid from pg_database where datname = current_database())"
)
