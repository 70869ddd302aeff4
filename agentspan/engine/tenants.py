"""The tenants of a server: an engine for each, on a database of its own, so that no query can see another's.

The home tenant's engine is there from the start to the end. The others are opened when the server starts and when a new
tenant becomes known, so that what is due in them is done, whoever asks.
"""

import asyncio
import logging
from collections.abc import Iterator

from agentspan.config import HOME, SCHEMA, Settings
from agentspan.engine.access import Access, Audit
from agentspan.engine.engine import Engine
from agentspan.errors import AgentspanError, Conflict, NotFound, Unavailable
from agentspan.store.database import has_schema

log = logging.getLogger("agentspan.tenants")

FOLLOW_SECONDS = 10.0
"""How often a server looks for tenants that another one has made."""


class House:
    """One tenant in one server."""

    def __init__(self, name: str, engine: Engine, access: Access) -> None:
        self.name, self.engine = name, engine
        self.audit = Audit(engine.reads, engine.writer)
        engine.quotas.limits = lambda: access.roll.tenants[name].quotas if name in access.roll.tenants else {}


class Tenants:
    """Made by `open`; used on the loop that opened it."""

    def __init__(self, settings: Settings, home: Engine) -> None:
        self.settings, self.home = settings, home
        self.access = Access(home.reads, home.writer)
        self._houses = {HOME: House(HOME, home, self.access)}
        self._opening: dict[str, asyncio.Task[House]] = {}
        self._following: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, settings: Settings) -> "Tenants":
        """Open the home tenant's database and begin to work in all. StoreProblem with a sentence if that cannot be; of
        another tenant's database, the log says it, and it is tried again."""
        tenants = cls(settings, await Engine.open(settings))
        try:
            await tenants.access.fresh()
            await tenants._look_after()
        except BaseException:
            await tenants.close()
            raise
        tenants._following = asyncio.create_task(tenants._follow())
        return tenants

    def __iter__(self) -> Iterator[House]:
        return iter(list(self._houses.values()))

    @property
    def at_home(self) -> House:
        return self._houses[HOME]

    def at_hand(self, name: str) -> House | None:
        """A tenant whose engine is open here."""
        return self._houses.get(name)

    async def house(self, name: str) -> House:
        """A tenant with its engine, opened if it was not. NotFound also where it is shut; StoreProblem."""
        if name != HOME and name not in self._living():
            raise NotFound(f"there is no tenant {name!r}")
        if found := self._houses.get(name):
            return found
        if name not in self._opening:
            opening = self._opening[name] = asyncio.create_task(self._open(name))
            opening.add_done_callback(lambda _: self._opening.pop(name, None))
        return await asyncio.shield(self._opening[name])

    async def check_new(self, name: str) -> None:
        """Conflict if a former tenant of that name has left its database, which is nothing for another to read."""
        settings = self.settings.of_tenant(name)
        if self.home.database.is_sqlite:
            is_there = (settings.data_dir / "agentspan.db").exists()
        else:
            is_there = await self.home.reads.query(lambda c: has_schema(c, f"{SCHEMA}{name}"))
        if is_there:
            raise Conflict(
                f"the database of a former tenant {name!r} is still there: remove it by hand, or say `adopt` to give it"
                " to the new one"
            )

    async def drain(self, seconds: float) -> None:
        """See Engine.drain; all at once."""
        await asyncio.gather(*(house.engine.drain(seconds) for house in self))

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        others = [house.engine for house in self if house.name != HOME]
        await asyncio.gather(*(engine.close() for engine in others))
        await self.home.close()

    async def _open(self, name: str) -> House:
        settings = self.settings.of_tenant(name)
        try:
            engine = await Engine.open(settings)
        except AgentspanError as problem:
            raise Unavailable(f"the database of the tenant {name!r} cannot be opened: {problem.message}") from problem
        house = self._houses[name] = House(name, engine, self.access)
        return house

    async def _follow(self) -> None:
        """Open what has become known, close what is no more. Where nobody else could have made a tenant, the database
        is not asked."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                if not self.home.database.is_sqlite:
                    await self.access.fresh()
            except AgentspanError as problem:
                log.warning("cannot ask which tenants there are: %s", problem.message)
            await self._look_after()

    async def _look_after(self) -> None:
        """What is shut is closed and what is not is opened, whatever of another cannot be."""
        shut = self._houses.keys() - set(self._living()) - {HOME}
        work = [*map(self._close, shut), *map(self.house, self._living())]
        for problem in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(problem, Exception):
                log.warning("cannot look after all tenants: %s", problem)

    async def _close(self, name: str) -> None:
        if house := self._houses.pop(name, None):
            await house.engine.close()

    def _living(self) -> list[str]:
        return [name for name, each in self.access.roll.tenants.items() if not each.disabled and name != HOME]
