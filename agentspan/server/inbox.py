"""The inbox: what runs ask people, in one list of all runs or of one, and the answers."""

from typing import Any

import msgspec

from agentspan.engine.access import Principal, one_line
from agentspan.errors import BadInput, Conflict, NotFound
from agentspan.server.auth import Link as RequestLink
from agentspan.server.auth import WrongCredentials
from agentspan.server.executions import request
from agentspan.server.handler import Handler, Route
from agentspan.store.views import Receipt, RequestView

Json = dict[str, Any]

PAGE, MAX_PAGE = 1000, 5000
STATUSES = ("open", "answered")
DAY_SECONDS, MAX_SECONDS = 24 * 3600, 30 * 24 * 3600


class LinkRequest(msgspec.Struct, rename="camel"):
    """For how long the link is good (at most 30 days), and for whom: `by` is then who has answered."""

    expires_seconds: int = DAY_SECONDS
    by: str = ""


class Asking(Handler):
    """What lists of requests share."""

    may_be_a_link = True

    def wanted(self) -> dict[str, str]:
        """The filters that were asked for."""
        status = self.param("status")
        if status and status not in STATUSES:
            raise BadInput(f"status must be open or answered (settled in any way), not {status!r}")
        return {"status": status, **{name: self.param(name) for name in ("agent", "kind", "to")}}


class Inbox(Asking):
    async def get(self) -> None:
        """The open requests of all runs, oldest first, in pages; those that were settled in any way (`status=answered`)
        the last one first. With `executionId` those of one run and below it."""
        wanted = self.wanted()
        if execution_id := self.param("executionId"):
            wanted["status"] = wanted["status"] or "open"
            self.answer(await of_one(self, execution_id, wanted))
            return
        limit = self.number("limit", PAGE, 1, MAX_PAGE)
        read = self.reads.decided if wanted["status"] == "answered" else self.reads.inbox
        found, cursor = await read(self.param("cursor"), limit, **wanted)
        page: Json = {"totalHits": len(found), "requests": [request(each) for each in found]}
        self.answer({**page, "nextCursor": cursor} if cursor else page)


class Requests(Asking):
    async def get(self, execution_id: str) -> None:
        """What the run and those below it ask or ever asked people, with who answered what and when."""
        self.answer(await of_one(self, execution_id, self.wanted()))


class Answer(Handler):
    async def post(self, request_id: str) -> None:
        """Answer a request, whichever run asks."""
        await respond(self, request_id.partition(".")[0], request_id)


class Respond(Handler):
    async def post(self, execution_id: str) -> None:
        """Answer an open request of the run or of anything below it: `requestId`, or the oldest one."""
        await respond(self, execution_id)


class Link(Handler):
    async def post(self, request_id: str) -> None:
        """A link by which a person without credentials answers this request, once."""
        asked = self.body(LinkRequest)
        if not 1 <= asked.expires_seconds <= MAX_SECONDS:
            raise BadInput(f"expiresSeconds must be from 1 to {MAX_SECONDS}, not {asked.expires_seconds}")
        found = await one(self, request_id)
        if found.status != "open":
            raise Conflict(f"request {request_id} is {found.status}: there is nothing to answer any more")
        who = self.principal
        token = self.context.door.link(request_id, one_line(asked.by), asked.expires_seconds, who.tenant, who.person)
        self.answer({"token": token, "url": f"/api/inbox/answer/{token}"})


class Linked(Handler):
    """The signature in the path is the credential: it opens this one request."""

    without_credentials = True
    may_be_a_link = True

    async def get(self, token: str) -> None:
        """What the link is about; to look at it answers nothing."""
        link = await self._follow(token)
        self.answer(request(await one(self, link.request_id)))

    async def post(self, token: str) -> None:
        """Answer the request of the link; 409 when it was answered before, by this link or otherwise."""
        link = await self._follow(token)
        answer = self.json_object()
        by = link.by or self.person() or one_line(str(answer.pop("by", None) or ""))
        request_id = link.request_id
        given = await self.engine.respond(
            request_id.partition(".")[0], answer, request_id=request_id, by=by, behind=link.maker
        )
        if not given.landed:
            raise Conflict(f"request {request_id} was answered already: a link answers once")
        self.answer(receipt(given))

    async def _follow(self, token: str) -> RequestLink:
        link = self.context.door.linked(token)
        self.subject = link.request_id
        access = self.context.tenants.access
        await access.fresh()
        if link.maker and access.user(link.maker) is None:
            raise WrongCredentials("who gave this link may not come in any more; ask somebody else for one")
        await self.admit_as(Principal(kind="link", name=link.by, tenant=link.tenant))
        return link


async def one(handler: Handler, request_id: str) -> RequestView:
    """A request by its id, open or not."""
    found = await handler.reads.all_requests(request_id.partition(".")[0])
    if view := next((each for each in found if each.request_id == request_id), None):
        return view
    raise NotFound(f"there is no request {request_id}")


async def of_one(handler: Asking, execution_id: str, wanted: dict[str, str]) -> Json:
    reads = handler.reads.requests if wanted["status"] == "open" else handler.reads.all_requests
    found = await reads(execution_id, **wanted)
    return {"totalHits": len(found), "requests": [request(each) for each in found]}


async def respond(handler: Handler, execution_id: str, request_id: str = "") -> None:
    """The body is the answer. Who gives it is `by` or the header of `Handler.person`."""
    answer = handler.json_object()
    asked = request_id or str(answer.pop("requestId", None) or handler.param("requestId"))
    # A user answers in their own name; a program may speak for somebody.
    said = "" if handler.principal.person else one_line(handler.param("by"))
    by = said or handler.person() or one_line(str(answer.pop("by", None) or ""))
    handler.subject = asked or execution_id
    handler.detail = {"by": by, **{word: answer[word] for word in ("approved", "reason") if word in answer}}
    handler.answer(receipt(await handler.engine.respond(execution_id, answer, request_id=asked, by=by)))


def receipt(view: Receipt) -> Json:
    """What was decided, now or before."""
    body: Json = {"requestId": view.task_id, "status": "answered", "alreadyAnswered": not view.landed}
    if decision := view.decision:
        body |= {"answer": decision.answer, "decidedBy": decision.decided_by or None, "at": decision.decided_at}
    return body


ROUTES = [
    Route("/api/inbox", Inbox),
    Route("/api/inbox/{request_id}/respond", Answer),
    Route("/api/inbox/{request_id}/link", Link),
    Route("/api/inbox/answer/{token}", Linked),
    Route("/api/agent/{execution_id}/respond", Respond),
    Route("/api/agent/{execution_id}/requests", Requests),
]
