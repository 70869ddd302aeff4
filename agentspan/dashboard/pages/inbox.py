"""The inbox: what waits for a person, one beside the list, and what was decided."""

import asyncio
from html import escape
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.figures import Choices
from agentspan.dashboard.may import why_not
from agentspan.dashboard.store import News
from agentspan.dashboard.view import View
from agentspan.dashboard.widget import Widget, param
from agentspan.drawing import telling, words
from agentspan.drawing.asking import title, verdict
from agentspan.drawing.value import inline
from agentspan.errors import AgentspanError, NotFound

Json = dict[str, Any]

PAGE = 100
SAID = 4
"""So many of the last messages stand below a request."""
SETTLED = ("status", "answer", "decidedBy", "decidedAt")


class Asked(Widget):
    """The list of requests: see `parts/inbox.js`."""

    module = "inbox.js"

    items = param.List(default=[])
    selected = param.String(default="")
    chosen = param.List(default=[])
    more = param.Boolean(default=False)
    outcome = param.List(default=[])


class Card(Widget):
    """One request with the ways to answer it: the card that notebooks show too."""

    module = "../../drawing/card.js"
    is_whole = True

    request = param.Dict(default={})
    decision = param.Dict(default=None, allow_None=True)
    busy = param.Boolean(default=False)
    error = param.String(default="")
    note = param.String(default="")
    locked = param.String(default="", doc="Why the person may not answer.")
    answer = param.Dict(default=None, allow_None=True)


class Inbox(View):
    """What runs ask people. `/inbox/ID` and `?request=ID` name the one that is looked at; without, it is the first."""

    title = "Inbox"

    def __init__(self, store: Any, address: Any = None, id: str = "", **params: Any) -> None:
        self._first = id
        self._limit = PAGE
        super().__init__(store, address, **params)

    def build(self) -> Viewable:
        self.kinds = Choices(label="Kind", sizing_mode=None, margin=(0, 0, 0, 12))
        self.states = Choices(label="State", sizing_mode=None)
        self.list = Asked()
        self.card = Card(visible=False)
        self.about = pn.pane.HTML(sizing_mode="stretch_width", margin=(0, 0, 8, 0))
        self.said = pn.pane.HTML(sizing_mode="stretch_width", margin=(12, 0, 0, 0))
        self.empty = pn.pane.HTML(visible=False, sizing_mode="stretch_width")
        self.loading = look.loading()
        self.list.on_message(self._told)
        self.card.param.watch(lambda event: self._answered(event.new), "answer")
        self.left = look.card(self.list, width=380, sizing_mode="fixed", margin=(0, 16, 16, 0), visible=False)
        self.right = look.card(self.about, self.card, self.said, visible=False)
        return pn.Column(
            look.heading("Inbox", self.states, self.kinds),
            self.loading,
            self.empty,
            pn.Row(self.left, self.right, sizing_mode="stretch_width", margin=0),
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    async def read(self) -> Any:
        client, wanted = self.store.client, self.address.query
        page = await client.inbox_page(
            status="answered" if self._is_decided else "open",
            limit=self._limit,
            kind=wanted.get("kind"),
            agent_name=wanted.get("agent"),
            to=wanted.get("to"),
        )
        requests = page.get("requests") or []
        asked = self._asked or (requests[0]["requestId"] if requests else "")
        shown = next((each for each in requests if each["requestId"] == asked), None)
        if shown is None and asked:
            shown = await self._settled(asked)
        return {
            "requests": requests,
            "more": bool(page.get("nextCursor")),
            "shown": shown,
            "said": await self._said(shown) if shown else [],
        }

    def fill(self, data: Any) -> None:
        requests, shown = data["requests"], data["shown"]
        known = {each["requestId"] for each in requests}
        self.loading.visible = False
        waits = requests and not self._is_decided
        self.title = f"({len(requests)}{'+' if data['more'] else ''}) Inbox" if waits else "Inbox"
        self.kinds.choices = self._choices("kind", KINDS)
        self.states.choices = self._choices("show", STATES)
        self.left.visible = bool(requests)
        self.list.param.update(
            items=[self._item(each) for each in requests],
            more=data["more"],
            selected=shown["requestId"] if shown else "",
            chosen=[each for each in self.list.chosen if each in known],
        )
        nothing = not requests and shown is None
        self.empty.param.update(visible=nothing, object=NOTHING[self._is_decided] if nothing else "")
        self.right.visible = shown is not None
        if shown is not None:
            self._show(shown, data["said"])

    def concerns(self, news: News) -> bool:
        return bool(news.all or news.requests)

    @property
    def _is_decided(self) -> bool:
        """Whether what was decided is looked at, instead of what waits."""
        return self.address.query.get("show") == "decided"

    @property
    def _asked(self) -> str:
        return self.address.query.get("request") or self._first

    async def _settled(self, request_id: str) -> Json | None:
        """A request that is open no longer, or is none of those that were asked for."""
        run = request_id.partition(".")[0]
        for status in ("open", "answered"):
            try:
                found = await self.store.client.inbox(status=status, execution_id=run)
            except NotFound:
                return None
            for each in found:
                if each["requestId"] == request_id:
                    return each
        return None

    async def _said(self, request: Json) -> list[Json]:
        """The last messages of the agent that asks."""
        result = await self.store.client.result(request["executionId"])
        said = list(result.get("messages") or ())
        while said and said[-1]["role"] == "tool":  # the calls that wait have no results yet
            said.pop()
        return said[-SAID:]

    def _show(self, request: Json, said: list[Json]) -> None:
        """The one that is looked at. What a person has typed into it stays while it is the same."""
        is_open = request.get("status", "open") == "open"
        decision = None if is_open else {key: request.get(key) for key in SETTLED}
        self.card.locked = "" if self.store.may("answer") else why_not(self.store.me, "answer")
        if self.card.request.get("requestId") != request["requestId"]:
            self.card.param.update(request=request, decision=decision, error="", busy=False, answer=None, visible=True)
        else:
            self.card.param.update(decision=decision, busy=self.card.busy and is_open)
        run, asked = self.address.link(f"/runs/{request['executionId']}"), words.moment(request["since"])
        self.about.object = ABOUT.format(path=escape(_path(request)), run=escape(run), asked=asked)
        self.said.object = TALK.format(telling.transcript(said))

    def _item(self, request: Json) -> Json:
        name = request["requestId"]
        content = request.get("arguments") if request["kind"] == "approval" else request.get("content")
        return {
            "id": name,
            "kind": request["kind"],
            "title": title(request),
            "detail": inline(content or ""),
            "who": _path(request),
            "since": (request.get("decidedAt") if self._is_decided else None) or request["since"],
            "deadline": None if self._is_decided else request.get("deadline"),
            "said": verdict(request, request) if self._is_decided else None,
            "to": request.get("to") or [],
            "href": self.address.link("/inbox", **{**self.address.query, "request": name}),
        }

    def _choices(self, name: str, words_of: dict[str, str]) -> list[Json]:
        """The values of a filter as links."""
        chosen = self.address.query.get(name, "")
        rest = {key: value for key, value in self.address.query.items() if key not in (name, "request")}
        return [
            {"name": said, "href": self.address.link("/inbox", **rest, **{name: value}), "current": value == chosen}
            for value, said in words_of.items()
        ]

    def _told(self, said: Json) -> None:
        match said:
            case {"more": True}:
                self._limit += PAGE
                self.again()
            case {"answer": str(word), "ids": list(ids)}:
                self.begin(self._answer_many(word, ids, str(said.get("reason") or "")))

    def _answered(self, given: Json | None) -> None:
        """The person has pressed a button of the card."""
        if given and given.get("requestId") == self.card.request.get("requestId") and self.card.decision is None:
            self.card.param.update(busy=True, error="")
            self.begin(self._answer(self.card.request, dict(given.get("answer") or {})))

    async def _answer(self, request: Json, answer: Json) -> None:
        error = await self._pass_on(request["requestId"], request["executionId"], answer)
        if self.card.request.get("requestId") == request["requestId"]:
            if not self._asked:  # stay with what was decided
                self.address.note(request=request["requestId"])
            self.card.param.update(busy=False, error=error)
        self.again()

    async def _answer_many(self, word: str, ids: list[str], reason: str) -> None:
        known = {each["requestId"]: each for each in self.data["requests"]}
        wanted = [known[each] for each in ids if each in known]
        answer = {"approved": True} if word == "approve" else {"approved": False, "reason": reason}
        errors = await asyncio.gather(
            *(self._pass_on(each["requestId"], each["executionId"], answer) for each in wanted)
        )
        self.list.param.update(
            chosen=[],
            outcome=[
                {"title": f"{title(each)} of {each['rootAgentName']}", "error": error}
                for each, error in zip(wanted, errors, strict=True)
            ],
        )
        self.again()

    async def _pass_on(self, request_id: str, run: str, answer: Json) -> str:
        """Give the server an answer; what it has against it. Whoever was first is then shown by the card."""
        try:
            await self.store.client.respond(run, answer, request_id=request_id, by=self.store.user or None)
        except AgentspanError as problem:
            return problem.message
        return ""


def _path(request: Json) -> str:
    """Who asks: the agents from the run's own down."""
    return " / ".join([request["rootAgentName"], *request["path"]])


STATES = {"": "Waiting", "decided": "Decided"}
KINDS = {
    "": "All",
    "approval": "Approvals",
    "question": "Questions",
    "review": "Reviews",
    "selection": "Choices",
    "message": "Messages",
}
ABOUT = """<div style="display:flex;gap:8px;justify-content:space-between;opacity:.75;font-size:13px">
<span>{path}</span><span>asked {asked} · <a href="{run}" style="color:inherit">the run</a></span></div>"""
TALK = """<div style="font-size:14px;line-height:1.5">
<div style="font-size:12px;font-weight:600;opacity:.65;margin-bottom:6px">What was said before</div>{}</div>"""
EMPTY = """<div style="text-align:center;padding:64px 16px"><b style="font-size:16px">{}</b>
<p style="opacity:.7;margin:4px 0 0">{}</p></div>"""
NOTHING = {
    False: EMPTY.format(
        "Nothing waits for a person",
        "A tool with <code>approval_required=True</code> asks here before it is called.",
    ),
    True: EMPTY.format("Nothing was decided yet", "What people answer is kept here, with who said it and when."),
}
