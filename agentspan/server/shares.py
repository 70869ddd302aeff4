"""Shared runs: a link by which whoever has it sees one run, and changes nothing, until it ends or is revoked."""

from typing import Any

import msgspec

from agentspan.errors import BadInput
from agentspan.server.handler import Handler, Route
from agentspan.store.access import Share

Json = dict[str, Any]

USUAL_SECONDS = 7 * 24 * 3600


class NewShare(msgspec.Struct, rename="camel"):
    """How long the link is good, 0 for until it is revoked, and what it is for."""

    expires_seconds: int = USUAL_SECONDS
    note: str = ""


class OfRun(Handler):
    async def post(self, execution_id: str) -> None:
        """A link to this run and all below it."""
        asked = self.body(NewShare)
        root, _, below = execution_id.partition(".")
        if below:
            raise BadInput(f"a link shows a whole run: share {root}, which this one is a part of")
        await self.reads.row(execution_id)
        tenants = self.context.tenants
        share = await tenants.access.add_share(self.principal, execution_id, asked.note, asked.expires_seconds)
        self.detail = {"share": share.id}
        token = self.context.door.shared(share.id, share.expires_at)
        self.answer({**shown(share), "token": token, "path": f"/shared/{token}"}, 201)


class All(Handler):
    may_be_a_link = True

    async def get(self) -> None:
        """What the tenant has shared, without the links."""
        access = self.context.tenants.access
        await access.fresh()
        self.answer([shown(each) for each in access.shares(self.principal.tenant)])


class One(Handler):
    async def delete(self, share_id: str) -> None:
        """Revoke a link: at once here, within seconds on other servers."""
        await self.context.tenants.access.revoke_share(self.principal, share_id)
        self.answer_nothing(204)


def shown(share: Share) -> Json:
    return {
        "id": share.id,
        "executionId": share.execution,
        "note": share.note,
        "createdBy": share.created_by,
        "createdAt": share.created_at,
        "expiresAt": share.expires_at,
        "revokedAt": share.revoked_at,
    }


ROUTES = [
    Route("/api/agent/executions/{execution_id}/share", OfRun),
    Route("/api/shares", All),
    Route("/api/shares/{share_id}", One),
]
