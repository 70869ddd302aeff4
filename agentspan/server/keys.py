"""API keys: what programs show. Each has a role or scopes, and can end by itself or be revoked."""

from typing import Any

import msgspec

from agentspan.engine.access import ROLES, ending
from agentspan.errors import BadInput
from agentspan.server.handler import Handler, Route
from agentspan.store.access import ApiKey

Json = dict[str, Any]


class NewKey(msgspec.Struct, rename="camel"):
    """A name to know it by, and a role or scopes. Without `expiresSeconds` it is good until it is revoked."""

    name: str
    role: str = ""
    scopes: list[str] = []
    expires_seconds: int = 0
    tenant: str = ""


class All(Handler):
    may_be_a_link = True

    async def get(self) -> None:
        """An admin's view of the tenant's keys; of anybody else, their own. Never the keys themselves."""
        access = self.context.tenants.access
        await access.fresh()
        self.answer([shown(each) for each in access.keys(self.principal)])

    async def post(self) -> None:
        """A new key. Its text is in this answer and nowhere else: keep it."""
        asked = self.body(NewKey)
        expires = ending(asked.expires_seconds, self.engine.now)
        if asked.role and asked.scopes:
            raise BadInput("a key has a role or scopes, not both")
        self.detail = {"name": asked.name, "role": asked.role, "scopes": asked.scopes}
        given = ApiKey(
            id="",
            digest="",
            tenant=asked.tenant or self.principal.tenant,
            name=asked.name,
            role=asked.role,
            scopes=" ".join(asked.scopes),
            expires_at=expires,
        )
        key, text = await self.context.tenants.access.add_key(self.principal, given)
        self.subject = key.id
        self.answer({**shown(key), "key": text}, 201)


class One(Handler):
    async def delete(self, key_id: str) -> None:
        """Revoke a key: at once here, within seconds on other servers."""
        await self.context.tenants.access.revoke_key(self.principal, key_id)
        self.answer_nothing(204)


def shown(key: ApiKey) -> Json:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role or None,
        "scopes": sorted(ROLES.get(key.role, key.scopes.split())),
        "tenant": key.tenant,
        "createdBy": key.created_by,
        "createdAt": key.created_at,
        "expiresAt": key.expires_at,
        "revokedAt": key.revoked_at,
        "lastUsedAt": key.used_at,
    }


ROUTES = [Route("/api/keys", All), Route("/api/keys/{key_id}", One)]
