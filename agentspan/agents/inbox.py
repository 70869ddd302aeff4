"""What runs ask people: each open request, to be looked at and answered from any process."""

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agentspan.agents import watching
from agentspan.agents.host import Host, own_host

Json = dict[str, Any]
T = TypeVar("T")

DAY_SECONDS = 24 * 3600
APPROVAL, QUESTION, TURN = "approval", "question", "turn"


@dataclass(frozen=True)
class Request:
    """One thing that a run asks a person.

    `kind`: approval (may this call be made?), question (by a tool), review (of what a guardrail stopped), selection
    (who speaks next?), turn (what does a proxy agent say?) or message (a tool waits for one). `tool` and `arguments`:
    the call that it is about. `content`: the question, the text to review, or what was said so far. `response_schema`:
    the JSON Schema of the answer. `execution_id` asks, `root_id` is the whole run; `agent_name` and `path` (names from
    the root down) say who asks. `since` and `deadline` in ms since the epoch. `to`: whom it is addressed to. `status`:
    open, answered, expired or canceled; then `decision` is the answer, `decided_by` (if they said who they are) and
    `decided_at` whose and when. `data`: all of it, as the server sent it.

    Each method has a twin with `_async`; `by` says who answers and is kept with the answer. A request that was
    answered otherwise already raises AgentConflictError.
    """

    request_id: str
    execution_id: str
    root_id: str = ""
    agent_name: str = ""
    path: tuple[str, ...] = ()
    kind: str = APPROVAL
    tool: str = ""
    arguments: Json = field(default_factory=dict)
    content: Any = None
    response_schema: Json | None = None
    since: int | None = None
    deadline: int | None = None
    to: tuple[str, ...] = ()
    status: str = "open"
    decision: Json | None = None
    decided_by: str | None = None
    decided_at: int | None = None
    data: Json = field(default_factory=dict, repr=False, compare=False)
    host: Host | None = field(default=None, repr=False, compare=False)

    def _ipython_display_(self) -> None:
        """As the value of a cell it is answered by a click, where somebody looks on."""
        watcher = watching.watcher()
        if watcher is None or not watcher.ask(self):
            raise NotImplementedError  # IPython then shows it as it stands

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Json:
        from agentspan.drawing.asking import asking

        body = {"kind": self.kind, "tool": self.tool, "agentName": self.agent_name, "path": self.path}
        asked = {"arguments": self.arguments, "content": self.content, "deadline": self.deadline, "status": self.status}
        settled = {"answer": self.decision, "decidedBy": self.decided_by, "decidedAt": self.decided_at}
        return {"text/plain": repr(self), "text/html": str(asking({**body, **asked, **settled}))}

    async def answer_async(self, answer: Any, *, by: str | None = None) -> None:
        """Answer with an object, or with text (`{"message": text}`)."""
        client = await (self.host or own_host()).client()
        await client.respond(self.execution_id, message_of(answer), request_id=self.request_id, by=by)

    async def approve_async(self, arguments: Json | None = None, *, by: str | None = None) -> None:
        """Say yes; `arguments` replace those of the call."""
        await self.answer_async(approval(arguments), by=by)

    async def reject_async(self, reason: str = "", *, by: str | None = None) -> None:
        """Say no, and why: the model is told."""
        await self.answer_async(rejection(reason), by=by)

    async def edit_async(self, output: Any) -> None:
        """Let pass what a guardrail stopped, with this in its place."""
        await self.answer_async({"approved": True, "edited_output": output})

    async def select_async(self, name: str) -> None:
        """Say which agent speaks next."""
        await self.answer_async({"selected": name})

    async def link_async(self, expires_seconds: int = DAY_SECONDS, *, by: str | None = None) -> str:
        """The address of a link by which a person without credentials answers this request, once, until it expires.

        A GET shows the request, a POST of the answer as JSON answers it; as `by`, if the link is for somebody.
        """
        client = await (self.host or own_host()).client()
        found = await client.link(self.request_id, expires_seconds=expires_seconds, by=by)
        return f"{client.url}{found['url']}"

    def answer(self, answer: Any, *, by: str | None = None) -> None:
        """See `answer_async`."""
        self._call(self.answer_async(answer, by=by))

    def approve(self, arguments: Json | None = None, *, by: str | None = None) -> None:
        """See `approve_async`."""
        self._call(self.approve_async(arguments, by=by))

    def reject(self, reason: str = "", *, by: str | None = None) -> None:
        """See `reject_async`."""
        self._call(self.reject_async(reason, by=by))

    def edit(self, output: Any) -> None:
        """See `edit_async`."""
        self._call(self.edit_async(output))

    def select(self, name: str) -> None:
        """See `select_async`."""
        self._call(self.select_async(name))

    def link(self, expires_seconds: int = DAY_SECONDS, *, by: str | None = None) -> str:
        """See `link_async`."""
        return self._call(self.link_async(expires_seconds, by=by))

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return (self.host or own_host()).portal.call(coroutine)


def request_of(body: Json, host: Host) -> Request:
    """The Request of the server's answer."""
    return Request(
        request_id=str(body["requestId"]),
        execution_id=str(body.get("executionId") or ""),
        root_id=str(body.get("rootExecutionId") or body.get("executionId") or ""),
        agent_name=str(body.get("agentName") or ""),
        path=tuple(body.get("path") or ()),
        kind=str(body.get("kind") or APPROVAL),
        tool=str(body.get("tool") or ""),
        arguments=dict(body.get("arguments") or {}),
        content=body.get("content"),
        response_schema=body.get("responseSchema"),
        since=body.get("since"),
        deadline=body.get("deadline") or None,
        to=tuple(body.get("to") or ()),
        status=str(body.get("status") or "open"),
        decision=body.get("answer"),
        decided_by=body.get("decidedBy"),
        decided_at=body.get("decidedAt"),
        data=body,
        host=host,
    )


def message_of(answer: Any) -> Json:
    """An answer as an object: text and other plain values become a message."""
    return dict(answer) if isinstance(answer, Mapping) else {"message": answer}


def approval(arguments: Json | None = None) -> Json:
    """The answer yes, with the call's arguments changed or not."""
    return {"approved": True} if arguments is None else {"approved": True, "arguments": dict(arguments)}


def rejection(reason: str = "") -> Json:
    """The answer no."""
    return {"approved": False, "reason": reason}


TOLD = (QUESTION, TURN)
"""The kinds of requests that are answered in words."""
