"""Tenants: each with a database of its own. Only an admin of the home tenant sees that there are others."""

from typing import Any

import msgspec

from agentspan.config import HOME, tenant_problem
from agentspan.errors import BadInput, Forbidden
from agentspan.server.handler import Handler, Route
from agentspan.store.access import Tenant

Json = dict[str, Any]


class NewTenant(msgspec.Struct):
    """`quotas` may hold runningExecutions, startsPerMinute, tokensPerDay and dollarsPerDay; what is absent is not
    limited. `adopt`: take over what a former tenant of that name has left."""

    name: str
    title: str = ""
    quotas: dict[str, float] = {}
    adopt: bool = False


class ChangedTenant(msgspec.Struct):
    """What is not given stays."""

    title: str | None = None
    quotas: dict[str, float] | None = None
    disabled: bool | None = None


class AtHome(Handler):
    def check_home(self) -> None:
        if self.principal.tenant != HOME:
            raise Forbidden("only an admin of the home tenant looks after tenants")


class All(AtHome):
    may_be_a_link = True

    async def get(self) -> None:
        """All tenants, the home tenant first."""
        self.check_home()
        access = self.context.tenants.access
        await access.fresh()
        self.answer([shown(each) for each in access.tenants()])

    async def post(self) -> None:
        """A new tenant, with a new and empty database. Its first admin is made by POST /api/users with `tenant`."""
        self.check_home()
        asked = self.body(NewTenant)
        self.subject = asked.name
        given = Tenant(name=asked.name, title=asked.title, quotas=asked.quotas)
        if not asked.adopt and not tenant_problem(asked.name):
            await self.context.tenants.check_new(asked.name)
        tenant = await self.context.tenants.access.add_tenant(given)
        await self.context.tenants.house(tenant.name)
        self.answer(shown(tenant), 201)


class One(AtHome):
    may_be_a_link = True

    async def get(self, name: str) -> None:
        """A tenant."""
        self.check_home()
        access = self.context.tenants.access
        await access.fresh()
        self.answer(shown(access.tenant(name)))

    async def patch(self, name: str) -> None:
        """Change a tenant's title or quotas, or shut it: then nobody of it comes in, and nothing of it runs."""
        self.check_home()
        changes = msgspec.structs.asdict(self.body(ChangedTenant))
        self.detail = {field: value for field, value in changes.items() if value is not None}
        self.answer(shown(await self.context.tenants.access.change_tenant(name, changes)))

    async def delete(self, name: str) -> None:
        """Forget a tenant with its users, keys and shares. Its database stays, to be removed by hand."""
        self.check_home()
        if self.param("confirm") != name:
            raise BadInput(f"to delete the tenant {name!r}, say so: ?confirm={name}")
        await self.context.tenants.access.delete_tenant(name)
        self.answer_nothing(204)


def shown(tenant: Tenant) -> Json:
    return {
        "name": tenant.name,
        "title": tenant.title,
        "quotas": tenant.quotas,
        "disabled": tenant.disabled,
        "createdAt": tenant.created_at,
    }


ROUTES = [Route("/api/tenants", All), Route("/api/tenants/{name}", One)]
