"""Users: the people of a tenant, and what each may do. An admin sees and changes those of their own tenant; one of the
home tenant may make users for another."""

from typing import Any

import msgspec

from agentspan.engine.access import ROLES
from agentspan.errors import BadInput
from agentspan.server.handler import Handler, Route
from agentspan.store.access import User

Json = dict[str, Any]


class NewUser(msgspec.Struct, rename="camel"):
    """Who, and what they may do. Without a password they come in by an identity provider alone."""

    name: str
    role: str
    password: str = ""
    display_name: str = ""
    email: str = ""
    tenant: str = ""


class ChangedUser(msgspec.Struct, rename="camel"):
    """What is not given stays."""

    role: str | None = None
    disabled: bool | None = None
    display_name: str | None = None
    email: str | None = None
    password: str | None = None


class All(Handler):
    may_be_a_link = True

    async def get(self) -> None:
        """The users of the tenant."""
        access = self.context.tenants.access
        await access.fresh()
        self.answer([shown(each) for each in access.users(self.principal.tenant)])

    async def post(self) -> None:
        """A new user."""
        asked = self.body(NewUser)
        self.subject, self.detail = asked.name, {"role": asked.role}
        given = User(
            name=asked.name,
            tenant=asked.tenant or self.principal.tenant,
            role=asked.role,
            display_name=asked.display_name,
            email=asked.email,
        )
        user = await self.context.tenants.access.add_user(self.principal, given, asked.password)
        self.answer(shown(user), 201)


class One(Handler):
    may_be_a_link = True

    async def get(self, name: str) -> None:
        """A user of the tenant."""
        access = self.context.tenants.access
        await access.fresh()
        self.answer(shown(access.one_user(self.principal.tenant, name)))

    async def patch(self, name: str) -> None:
        """Change a user. Who gets another role or password must log in again, and whoever is disabled is out."""
        changes = msgspec.structs.asdict(self.body(ChangedUser))
        self.detail = {field: value for field, value in changes.items() if value is not None and field != "password"}
        if not any(value is not None for value in changes.values()):
            raise BadInput(f"say what to change: {', '.join(ChangedUser.__struct_encode_fields__)}")
        self.answer(shown(await self.context.tenants.access.change_user(self.principal, name, changes)))

    async def delete(self, name: str) -> None:
        """Delete a user; their sessions end, and what they did stays in the audit."""
        await self.context.tenants.access.delete_user(self.principal, name)
        self.answer_nothing(204)


def shown(user: User) -> Json:
    return {
        "name": user.name,
        "displayName": user.display_name,
        "email": user.email,
        "role": user.role,
        "scopes": sorted(ROLES.get(user.role, ())),
        "tenant": user.tenant,
        "disabled": user.disabled,
        "oidc": bool(user.subject),
        "createdAt": user.created_at,
        "lastSeenAt": user.seen_at,
    }


ROUTES = [Route("/api/users", All), Route("/api/users/{name}", One)]
