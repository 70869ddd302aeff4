"""Webhooks: a call from outside, signed with a shared secret, starts a run of a deployed agent."""

from collections.abc import Awaitable, Iterable
from typing import Any

import msgspec

from agentspan.config import HOME
from agentspan.engine.access import Principal
from agentspan.engine.signing import Call, check_signed
from agentspan.errors import NotFound
from agentspan.server.handler import Handler, Route
from agentspan.store.views import Hook

Json = dict[str, Any]

SIGNATURES = ("X-Agentspan-Signature", "X-Hub-Signature-256")
DELIVERIES = ("X-Delivery-Id", "X-GitHub-Delivery")
TIMESTAMP = "X-Agentspan-Timestamp"


class PutHook(msgspec.Struct, rename="camel"):
    """Which agent the calls start, and the secret that they are signed with. `prompt` is used if the body has none."""

    agent: str
    secret: str
    version: int | None = None
    prompt: str | None = None
    tolerance_seconds: float | None = None


class All(Handler):
    may_be_a_link = True

    async def get(self) -> None:
        """All webhooks, without their secrets."""
        self.answer([shown(each) for each in await self.engine.life.hooks()])


class One(Handler):
    """To register a webhook takes the server's credentials; to call it, the signature alone."""

    accepts_text = True
    may_be_a_link = True

    def prepare(self) -> Awaitable[None] | None:
        # A caller from outside has no credentials of this server: what it has is the secret.
        self.without_credentials = self.request.method == "POST"
        return super().prepare()

    async def get(self, name: str) -> None:
        """A webhook, without its secret."""
        self.answer(shown(await self.engine.life.hook(name)))

    async def put(self, name: str) -> None:
        """Register a webhook, or replace the one of that name."""
        self.answer(shown(await self.engine.life.save_hook(hook_of(name, self.body(PutHook)))))

    async def delete(self, name: str) -> None:
        """Remove a webhook; runs that it began go on."""
        await self.engine.life.delete_hook(name)
        self.answer_nothing()

    async def post(self, name: str) -> None:
        """Start a run of the webhook's agent; the body is its `context.payload`. The same delivery twice is one run.
        `tenant` is whose webhook it is, if not the home tenant's."""
        call = Call(
            body=self.request.body,
            signature=self._first(SIGNATURES),
            timestamp=self._first([TIMESTAMP]),
            delivery=self._first(DELIVERIES),
        )
        check_signed(call)
        try:
            await self.admit_as(Principal(kind="hook", name=name, tenant=self.param("tenant", HOME)))
        except NotFound as problem:
            # Who is a stranger does not learn which tenants there are.
            raise NotFound(f"there is no webhook {name!r}") from problem
        started = await self.engine.life.call_hook(name, call)
        self.answer({"executionId": started.execution_id, "existing": started.existing})

    def _first(self, headers: Iterable[str]) -> str:
        return next((self.request.headers[each] for each in headers if self.request.headers.get(each)), "")


# Parts


def hook_of(name: str, given: PutHook) -> Hook:
    return Hook(
        name=name,
        agent=given.agent,
        secret=given.secret,
        version=given.version,
        prompt=given.prompt or "",
        tolerance_seconds=given.tolerance_seconds or 0,
    )


def shown(hook: Hook) -> Json:
    return {
        "name": hook.name,
        "agent": hook.agent,
        "version": hook.version,
        "prompt": hook.prompt,
        "toleranceSeconds": hook.tolerance_seconds,
        "createTime": hook.created_at,
        "updateTime": hook.updated_at,
    }


ROUTES = [Route("/api/hooks", All), Route("/api/hooks/{name}", One)]
