"""The audit: who decided and changed what, when and from where, of one tenant."""

from agentspan.server.handler import Handler, Route
from agentspan.store.access import AuditEntry

MOST = 1000
WANTED = ("action", "by", "subject", "outcome")


class Audit(Handler):
    may_be_a_link = True

    async def get(self) -> None:
        """The newest entries first; `cursor` goes on from a page. `action` may be a group, as in `user.`."""
        limit = self.number("limit", 100, 1, MOST)
        wanted = {name: value for name in WANTED if (value := self.param(name))}
        found = await self.house.audit.entries(
            wanted, since=self.number("since", 0), until=self.number("until", 0), before=self.param("cursor"),
            limit=limit,
        )  # fmt: skip
        self.answer(
            {
                "entries": [shown(each) for each in found],
                "nextCursor": found[-1].id if len(found) == limit else None,
            }
        )


def shown(entry: AuditEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "at": entry.at,
        "by": entry.by,
        "kind": entry.kind,
        "action": entry.action,
        "subject": entry.subject,
        "address": entry.address,
        "outcome": entry.outcome,
        "detail": entry.detail,
    }


ROUTES = [Route("/api/audit", Audit)]
