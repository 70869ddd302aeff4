"""Chat: a conversation with a deployed agent. The server keeps it, as the runs of one session."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import msgspec
from panel.viewable import Viewable

from agentspan.client.errors import AgentConflictError
from agentspan.dashboard.address import Address
from agentspan.dashboard.conversation import ENDED, Turn
from agentspan.dashboard.listing import Calm
from agentspan.dashboard.store import News, Store
from agentspan.dashboard.view import View
from agentspan.dashboard.widget import Widget, param
from agentspan.drawing import words
from agentspan.errors import AgentspanError

Json = dict[str, Any]

log = logging.getLogger("agentspan.dashboard")

TURNS = 20
"""So many turns are shown at first, and so many more for whoever wants earlier ones."""
RECENT = 200
"""The conversations of so many of the agent's newest runs stand beside this one."""
SESSIONS = 40
PAGE = 1000
CUT = 200
"""Previews of prompts are no longer; of a longer prompt the whole is read."""
LIST_SECONDS = 2.0
WORDS_SECONDS = 0.1
"""Words that are said within this time are shown at once; more when showing them takes long."""
QUIET_SECONDS = 1.0
"""After so long without an event it is asked why."""
LONG_SECONDS = 5.0
"""After so long it is asked no more often than this."""
SHARE = 5


class Screen(Widget):
    """The page of a conversation. What is JSON here is shown as `parts/chat.js` says.

    It sends {say: text, click: number}, {stop: id}, {session: id or ""}, {agent: name}, {earlier: true} and
    {answer: {request, value}}.
    """

    module = "chat.js"
    inside = "../../drawing/card.js"
    style = "chat.css"

    base = param.String(default="")
    name_asked = param.String(default="", doc="The agent that is talked to; none while one is chosen.")
    agents = param.String(default="", doc="JSON: the deployed agents; empty until they are known.")
    sessions = param.String(default="[]", doc="JSON: the recent conversations.")
    session = param.String(default="")
    turns = param.String(default="", doc="JSON: the turns that are over; empty until they are known.")
    now = param.String(default="", doc="JSON: the turn that is being answered.")
    writing = param.String(default="[]", doc="JSON: what is being written.")
    why = param.Dict(default={}, doc="Why the answer does not come: sentence and remedy.")
    earlier = param.Boolean(default=False, doc="Whether there are turns before these.")
    taken = param.Dict(default={}, doc="What became of a message that was sent: its click, and the problem, if any.")
    asking = param.Dict(default={}, doc="Of requests that are being answered: busy and error.")


class Chat(View):
    """A conversation with the agent `name`, or the choice of one. `?session=` is the conversation."""

    title = "Chat"

    def __init__(self, store: Store, address: Address | None = None, *, name: str = "", **params: Any) -> None:
        self.name_asked = name
        self.title = f"{name} · Chat" if name else "Chat"
        self._calm = Calm(self.again, LIST_SECONDS)
        self._agents: list[Json] = []
        self._recent: list[Json] = []
        self._turns: dict[str, Turn] = {}
        self._rows: dict[str, Json] = {}
        self._requests: dict[str, Json] = {}
        self._live: Turn | None = None
        self._tail: asyncio.Task[None] | None = None
        self._showing: asyncio.TimerHandle | None = None
        self._waking: asyncio.TimerHandle | None = None
        self._pause = WORDS_SECONDS
        self._heard_at = 0.0
        self._limit = TURNS
        self._session = ""
        super().__init__(store, address, **params)

    def build(self) -> Viewable:
        self.screen = Screen(base=self.address.base, name_asked=self.name_asked)
        self.screen.on_message(self._told)
        self._session = self.screen.session = self._asked
        return self.screen

    def arrived(self) -> None:
        if self._asked != self._session:
            self._leave()
            self._session = self._asked
            self.screen.param.update(session=self._session, turns="", now="", writing="[]", why={}, taken={})
        self.again()

    def concerns(self, news: News) -> bool:
        if news.all or news.requests or news.runs & self._rows.keys():
            return True
        return bool(news.runs) and self._calm.lets()

    def close(self) -> None:
        super().close()
        self._calm.close()
        self._leave()

    @property
    def _asked(self) -> str:
        return self.address.query.get("session", "")

    def _leave(self) -> None:
        """This conversation is looked at no more; its runs go on."""
        for each in (self._tail, self._showing, self._waking):
            if each is not None:
                each.cancel()
        self._live = self._tail = self._showing = self._waking = None
        self._turns, self._rows, self._requests, self._limit = {}, {}, {}, TURNS

    # Reading

    async def read(self) -> Any:
        client, session, name = self.store.client, self._session, self.name_asked
        if self._calm.lets():
            began = time.monotonic()
            listing = client.executions(agent_name=name, size=RECENT, count="none") if name else _nothing()
            self._agents, page = await asyncio.gather(client.agents(), listing)
            self._recent = page["results"]
            self._calm.begin(time.monotonic() - began)
        if not session or not name:
            return {"session": session, "turns": [], "earlier": False, "why": {}}
        page = await client.executions(agent_name=name, session_id=session, size=self._limit, count="none")
        rows = [each for each in reversed(page["results"]) if each["sessionId"] == session]
        turns = await asyncio.gather(*(self._turn(row) for row in rows))
        if session == self._session:
            self._rows = {row["executionId"]: row for row in rows}
        await asyncio.gather(*map(self._ask, turns))
        earlier = bool(page["nextCursor"]) and len(rows) >= self._limit
        return {"session": session, "turns": turns, "earlier": earlier, "why": await self._why(turns)}

    async def _turn(self, row: Json) -> Turn:
        """The turn of a run; one that has ended is read to its end."""
        name, is_over = row["executionId"], row["status"] in ENDED
        turn = self._turns.get(name)
        if turn is None or (turn.is_over and not is_over):  # it may have been retried
            turn = self._turns[name] = Turn(name, await self._prompt(row))
        is_followed = self._tail is not None and not self._tail.done() and turn is self._live
        if is_over and not turn.is_over and not is_followed:
            more = True
            while more:
                page = await self.store.client.events(name, after=turn.last, limit=PAGE)
                for event in page["events"]:
                    turn.take(event)
                more = len(page["events"]) == PAGE
            turn.status = row["status"]
        return turn

    async def _prompt(self, row: Json) -> str:
        if len(row["preview"]) < CUT:
            return str(row["preview"])
        run = await self.store.client.execution(row["executionId"])
        return str((run.get("input") or {}).get("prompt") or row["preview"])

    async def _ask(self, turn: Turn) -> None:
        """What a turn asks people, and what they decided."""
        asked, client = set(turn.asked), self.store.client
        if all(self._requests.get(each, {}).get("status", "open") != "open" for each in asked):
            return
        found = await client.inbox(execution_id=turn.id)
        if not asked <= {each["requestId"] for each in found}:
            found += await client.inbox(status="answered", execution_id=turn.id)
        self._requests.update({each["requestId"]: each for each in found})

    async def _why(self, turns: list[Turn]) -> Json:
        """Why an open turn is silent, if it is for something that a person can mend."""
        turn = next((each for each in turns if not each.is_over), None)
        if turn is None or time.monotonic() - self._heard_at < QUIET_SECONDS:
            return {}
        why = await self.store.client.why(turn.id)
        held = next((each for each in why["reasons"] if each["code"] in HELD), None)
        return {"sentence": held["sentence"], "remedy": held.get("remedy") or ""} if held else {}

    # Showing

    def fill(self, data: Any) -> None:
        if data["session"] != self._session:
            return
        turns: list[Turn] = data["turns"]
        opened = next((each for each in turns if not each.is_over), None)
        if opened is not None and opened is not self._live:
            self._begin(opened)
        if self._live is not None and self._live.is_over and self._live.id in self._rows:
            self._live = None
        self.screen.param.update(
            agents=_json([_agent(each) for each in self._agents]),
            sessions=_json(self._sessions()),
            turns=_json([self._shown(each) for each in turns if each is not self._live]),
            earlier=data["earlier"],
            why=data["why"],
            **self._answering(),
        )
        if self._live is not None:
            self._wake()

    def _answering(self) -> Json:
        """The turn that is being answered, and what is being written."""
        if self._live is None:
            return {"now": "", "writing": "[]"}
        return {"now": _json(self._shown(self._live)), "writing": _json(self._live.spoken())}

    def _shown(self, turn: Turn) -> Json:
        row = self._rows.get(turn.id, {})
        items = [self._request(each["id"]) if each["kind"] == "request" else each for each in turn.items]
        return {
            "id": turn.id,
            "prompt": turn.prompt,
            "items": items,
            "status": turn.status if turn.is_over else row.get("status") or turn.status,
            "since": row.get("startTime"),
            "duration": row.get("durationMs") if turn.is_over else None,
            "tokens": (row.get("promptTokens") or 0) + (row.get("completionTokens") or 0),
            "cost": row.get("cost") or 0,
            "costUnknown": bool(row.get("costUnknown")),
            "href": self.address.link(f"/runs/{turn.id}"),
        }

    def _request(self, name: str) -> Json:
        known = self._requests.get(name)
        if known is None:
            return {"kind": "request", "id": name, "request": None, "decision": None}
        is_open = known.get("status", "open") == "open"
        decision = None if is_open else {key: known.get(key) for key in SETTLED}
        link = self.address.link(f"/inbox/{name}")
        return {"kind": "request", "id": name, "request": {**known, "link": link}, "decision": decision}

    def _sessions(self) -> list[Json]:
        """The recent conversations with this agent, by what was said first in each."""
        found: dict[str, Json] = {}
        for row in self._recent:
            if session := row["sessionId"]:
                known = found.setdefault(session, {"id": session, "at": row["startTime"], "status": row["status"]})
                known["title"] = words.short(row["preview"] or session, 80)
        path = f"/chat/{self.name_asked}"
        return [
            {**each, "href": self.address.link(path, session=each["id"])} for each in list(found.values())[:SESSIONS]
        ]

    def _begin(self, turn: Turn) -> None:
        """Hear a run while it answers."""
        if self._tail is not None:
            self._tail.cancel()
        self._live, self._heard_at = turn, time.monotonic()
        self._turns[turn.id] = turn
        self._tail = asyncio.ensure_future(self._follow(turn))

    async def _follow(self, turn: Turn) -> None:
        """Take each event and each word as it comes; after a break it goes on from the last one."""
        since = int(time.time() * 1000)
        try:
            async with aclosing(self.store.client.follow(turn.id, after=turn.last)) as events:
                async for event in events:
                    self._heard_at = time.monotonic()
                    turn.take(event, since)
                    self._show_soon()
                    if event["type"] == "waiting":
                        self.again()
        except AgentspanError as problem:
            log.info("the answer of %s broke off: %s", turn.id, problem)
        if turn is self._live and not turn.is_over:
            self._live = None  # the next read begins again
        self.again()

    def _show_soon(self) -> None:
        if self._showing is None:
            self._showing = asyncio.get_running_loop().call_later(self._pause, self._show)

    def _show(self) -> None:
        self._showing, began = None, time.monotonic()
        if self._live is not None:
            self.screen.param.update(**self._answering(), **({"why": {}} if self.screen.why else {}))
        self._pause = max(WORDS_SECONDS, SHARE * (time.monotonic() - began))

    def _wake(self) -> None:
        """No event tells that nothing happens: an answer that is silent is looked at again."""
        if self._waking is not None:
            self._waking.cancel()
        is_new = time.monotonic() - self._heard_at < LONG_SECONDS
        seconds = QUIET_SECONDS if is_new else LONG_SECONDS
        self._waking = asyncio.get_running_loop().call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        if self._live is not None and time.monotonic() - self._heard_at < QUIET_SECONDS:
            self._wake()
        else:
            self.again()

    # What the person does

    def _told(self, message: Json) -> None:
        for name, value in message.items():
            if name in TOLD:
                TOLD[name](self, value, message)

    async def _send(self, text: str, click: Any) -> None:
        """Start the next run of the session. What the server refuses stays in the field."""
        session = self._session or str(uuid4())
        request = {"agentName": self.name_asked, "prompt": text, "sessionId": session, "idempotencyKey": str(uuid4())}
        try:
            started = await self.store.client.start(request)
        except AgentConflictError:
            self.screen.taken = {"click": click, "problem": BUSY}
        except AgentspanError as problem:
            self.screen.taken = {"click": click, "problem": problem.message}
        else:
            if not self._session:
                self._session = session
                self.address.note(session=session)
            if session == self._session:
                self._begin(Turn(started["executionId"], text))
                self.screen.param.update(session=session, taken={"click": click}, **self._answering())
            self._calm.close()
            self._calm = Calm(self.again, LIST_SECONDS)  # the list of conversations is read at once
        self.again()

    async def _answer(self, request: str, value: Json) -> None:
        known = self._requests.get(request)
        if known is None:
            return
        self._asking(request, busy=True, error="")
        error = ""
        try:
            await self.store.client.respond(known["executionId"], value, request_id=request, by=self.store.user or None)
        except AgentspanError as problem:
            error = problem.message
        self._asking(request, busy=False, error=error)
        self.again()

    def _asking(self, request: str, **how: Any) -> None:
        self.screen.asking = {**self.screen.asking, request: how}

    def _stop(self, run: str) -> None:
        self.begin(self.attempt(self.store.client.cancel(run, "stopped in the chat")))

    def _turn_to(self, session: str) -> None:
        self.address.go(f"/chat/{self.name_asked}", session=session)

    def _go_back(self) -> None:
        self._limit += TURNS
        self.again()


async def _nothing() -> Json:
    return {"results": []}


def _agent(listed: Json) -> Json:
    return {key: listed.get(key) for key in ("name", "version", "description", "model", "tools", "agents")}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


HELD = ("no_worker", "worker_silent", "paused", "retry_later", "limited", "queued", "budget", "message")
SETTLED = ("status", "answer", "decidedBy", "decidedAt")
BUSY = (
    "This conversation is still being answered, perhaps in another window. "
    "Your message is kept here: send it when the answer is there, or stop the answer."
)

TOLD: dict[str, Callable[[Chat, Any, Json], None]] = {
    "say": lambda chat, text, message: chat.begin(chat._send(str(text), message.get("click"))),
    "stop": lambda chat, run, _: chat._stop(str(run)),
    "session": lambda chat, session, _: chat._turn_to(str(session)),
    "agent": lambda chat, name, _: chat.address.go(f"/chat/{name}"),
    "earlier": lambda chat, *_: chat._go_back(),
    "answer": lambda chat, given, _: chat.begin(chat._answer(given["request"], given["value"])),
}
"""What the page says, by name."""
