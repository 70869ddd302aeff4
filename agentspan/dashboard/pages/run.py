"""One run: its header, its waterfall with the inspector, its transcript, its graph and its events, live.

The browser holds the picture: it gets the whole once, and then what each read brings that is new.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from panel.viewable import Viewable

from agentspan.agents import story
from agentspan.client.client import Client
from agentspan.client.errors import AgentNotFoundError
from agentspan.dashboard.address import Address
from agentspan.dashboard.picture import Picture
from agentspan.dashboard.store import News, Store
from agentspan.dashboard.view import View
from agentspan.dashboard.widget import Widget, param
from agentspan.drawing.prose import markdown
from agentspan.errors import AgentspanError

Json = dict[str, Any]

SOON_SECONDS, LATER_SECONDS = 0.5, 5.0
"""No event tells when a worker takes a task, or that it was waited for in vain: an open run is read again so soon."""
WORDS_SECONDS = 0.1
"""Words that a model says within this time are shown at once."""
LOG_SHARE = 5
"""A log is read again after so many times the time that reading it took."""
PAGE = 1000
SPOKEN_AT_ONCE = 400
"""Of so many events the words become HTML at once; those before them are shown as they are."""


class Screen(Widget):
    """The page of a run. `whole`, `detail`, `moment`, `log` and `talk` are JSON; what is new of them comes as messages.

    It sends {select: number}, {tab: name}, {act: name}, {fork: {at, edits}}, {moment: number}, {export: suffix},
    {shares: true}, {share: {seconds, note}}, {unshare: id}, and {has: {number, log, talk}}: the last patch and how many
    lines it has, when it begins and when it has missed one.
    """

    module = "rows.js waterfall.js forking.js inspector.js transcript.js asran.js log.js sharing.js head.js run.js"
    style = "run.css"

    base = param.String(default="")
    server = param.String(default="", doc="The address of the server, where the page does not come from it.")
    whole = param.String(default="")
    detail = param.String(default="")
    moment = param.String(default="")
    log = param.String(default="")
    talk = param.String(default="")
    missing = param.String(default="", doc="What is said where there is no such run.")
    step = param.Integer(default=0)
    tab = param.String(default="timeline")


class Run(View):
    """A run by its id. `?step=` is the number of the event that is looked into, `?tab=` what is shown of the run."""

    takes = ""  # whoever has the link of a shared run may see this, and nothing else
    pause_seconds = 0.08

    def __init__(self, store: Store, address: Address | None = None, *, id: str, **params: Any) -> None:
        self.id, self.tree = id, id.partition(".")[0]
        self.title = f"Run {id[-8:]}"
        self.picture = Picture()
        self.why: Json = {}
        self.about: Json = {}
        self.log: list[Json] = []
        self.talk: list[Json] = []
        self._detail: tuple[int, Json | None] = (0, None)
        self._doing: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._log_due = 0.0
        self._heard_to = 0
        self._logged_to = 0
        self._number = 0
        self._why_due = 0.0
        self._why_is_old = False
        self._words: dict[str, str] = {}
        self._tail: asyncio.Task[None] | None = None
        self._timers: dict[Any, asyncio.TimerHandle] = {}
        super().__init__(store, address, **params)

    def build(self) -> Viewable:
        self.screen = Screen(base=self.address.base, server=self.store.client.url)
        self.screen.on_message(self._told)
        self._place()
        return self.screen

    def arrived(self) -> None:
        before = self.screen.step, self.screen.tab
        self._place()
        if before != (self.screen.step, self.screen.tab):
            self.again()

    def concerns(self, news: News) -> bool:
        return news.all or self.tree in news.runs

    def _place(self) -> None:
        """What the address says of this page."""
        step, tab = (self.address.query.get(name, "") for name in ("step", "tab"))
        self.screen.param.update(step=int(step) if step.isdecimal() else 0, tab=tab if tab in TABS else TABS[0])

    def close(self) -> None:
        super().close()
        if self._tail is not None:
            self._tail.cancel()
        for timer in self._timers.values():
            timer.cancel()

    # Reading

    async def read(self) -> Any:
        client, last = self.store.client, self.picture.frame.get("last", 0)
        try:
            if self.about:
                about, timeline = self.about, await client.timeline(self.id, last)
                why = await self._read_why(timeline["status"])
            else:
                about, timeline, why = await asyncio.gather(
                    self._about(), client.timeline(self.id), client.why(self.id)
                )
        except AgentNotFoundError as problem:
            return {"missing": problem.message}
        new = self.picture.take(timeline)
        await self._look(timeline["spans"])
        found: Json = {"new": new, "why": why, "about": about}
        if self.screen.tab == "events":
            found["log"] = await self._more_log()
        if self.screen.tab == "transcript":
            found["talk"] = await self._more_talk()
        return found

    async def _about(self) -> Json:
        """What stays while a run goes on: its agent's definition, its input, its forks."""
        client = self.store.client
        run, forks = await asyncio.gather(client.execution(self.id), self._forks())
        return {"agent": run.get("agentDef") or {}, "input": run.get("input") or {}, "forks": forks}

    async def _forks(self) -> list[Json]:
        return await self.store.client.forks(self.tree) if self.store.may("browse") else []

    async def _read_why(self, status: str) -> Json:
        """Why the run stands as it does; while steps come thick and fast, the answer of a moment ago."""
        self._why_is_old = status == self.why.get("status") and time.monotonic() < self._why_due
        if self._why_is_old:
            return self.why
        self._why_due = time.monotonic() + SOON_SECONDS
        return await self.store.client.why(self.id)

    async def _look(self, moved: list[Json]) -> None:
        """Read the selected step closely, and again when it has moved."""
        step = self.screen.step
        span = self.picture.span(step)
        known, detail = self._detail
        if span is None:
            self._detail = (step, None)
        elif known != step or detail is None or any(each["seq"] == span["seq"] for each in moved):
            found = await self.store.client.task_detail(span["taskId"])
            if step == self.screen.step:
                self._detail = (step, found)

    async def _more_log(self) -> list[Json]:
        """The lines of the log that are new. The server tells them all, so it is asked at a measured pace."""
        last, began = self._logged_to, time.monotonic()
        if last >= self.picture.frame["last"]:
            return []
        if began < self._log_due:
            self._after("log", self._log_due - began, self.again)
            return []
        path = self.picture.executions[self.id]["path"]
        lines = [
            line
            for line in await self.store.client.steps(self.tree)
            if line["seq"] > last and line["path"][: len(path)] == path
        ]
        self._log_due = time.monotonic() + LOG_SHARE * (time.monotonic() - began)
        self._logged_to = max(self.picture.frame["last"], lines[-1]["seq"] if lines else 0)
        self.log += lines
        return lines

    async def _more_talk(self) -> list[Json]:
        """What was said and called that is new."""
        found: list[Json] = []
        while self._heard_to < self.picture.frame["last"]:
            page = await self.store.client.events(self.id, after=self._heard_to, limit=PAGE)
            found += page["events"]
            is_all = len(page["events"]) < PAGE
            self._heard_to = self.picture.frame["last"] if is_all else page["events"][-1]["id"]
        said = [*found[:-SPOKEN_AT_ONCE], *map(_said, found[-SPOKEN_AT_ONCE:])]
        self.talk += said
        return said

    # Showing

    def fill(self, data: Any) -> None:
        if "missing" in data:
            self.screen.missing = data["missing"]
            return
        new, self.why, self.about = data["new"], data["why"], data["about"]
        self.title = f"{self.picture.frame['agentName']} {self.id[-8:]}"
        if not self.screen.whole:
            self._show_all()
        else:
            self._number += 1
            self.screen._send_msg({"patch": {**new, "why": self.why, "number": self._number}})
        self._show_more("log", self.log, data.get("log"))
        self._show_more("talk", self.talk, data.get("talk"))
        self._show_detail()
        self._go_on()

    def _show_all(self) -> None:
        whole = {**self.picture.whole(), "why": self.why, "about": self.about, "number": self._number}
        self.screen.whole = _json(whole)

    def _show_more(self, name: str, known: list[Json], new: list[Json] | None) -> None:
        """The lines of the log or of the talk, or those that are new."""
        if new is None:
            return
        if not getattr(self.screen, name):
            setattr(self.screen, name, _json(known))
        elif new:
            self.screen._send_msg({name: {"from": len(known) - len(new), "lines": new}})

    def _show_detail(self) -> None:
        self.screen.detail = _json({"step": self._detail[0], "task": self._detail[1]})

    def _go_on(self) -> None:
        """While the run is open: hear its stream, and read again what no event tells of."""
        if self.picture.is_over:
            return
        if self._tail is None or self._tail.done():
            self._tail = asyncio.ensure_future(self._follow())
        is_late = self.picture.has_untaken or self._why_is_old
        self._after("read", SOON_SECONDS if is_late else LATER_SECONDS, self.again)

    def _after(self, name: str, seconds: float, do: Any) -> None:
        """Do something once, later; the same again only when it is done."""
        known = self._timers.get(name)
        if known is not None:
            known.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, do)

    async def _follow(self) -> None:
        """Hear each event and each word as it comes."""
        try:
            async for event in self.store.client.follow(self.id, after=self.picture.frame["last"]):
                if event["type"] == "token":
                    self._word(event)
                else:
                    self.again()
        except AgentspanError as problem:
            self._after("read", SOON_SECONDS, self.again)
            self.notify(problem.message, is_error=True)

    def _word(self, event: Json) -> None:
        if not self._words:
            self._after("words", WORDS_SECONDS, self._speak)
        name = event["executionId"]
        self._words[name] = self._words.get(name, "") + event["content"]

    def _speak(self) -> None:
        words, self._words = self._words, {}
        self.screen._send_msg({"words": words})

    # What the person does

    def _told(self, message: Json) -> None:
        for name, value in message.items():
            if name in TOLD:
                TOLD[name](self, value)

    def _select(self, step: int) -> None:
        self.screen.step = step
        self.address.note(step=step or None)
        if self._looking is not None:
            self._looking.cancel()
        self._looking = self._do(self._reselect())

    async def _reselect(self) -> None:
        await self._look([])
        self._show_detail()
        self.address.ready = self.address.place

    def _turn_to(self, tab: str) -> None:
        self.screen.tab = tab
        self.address.note(tab=None if tab == TABS[0] else tab)
        self.again()

    def _act(self, name: str) -> None:
        act, done = ACTS[name]
        self._do(self.attempt(act(self.store.client, self.id), done))

    def _fork(self, asked: Json) -> None:
        self._do(self._forked(asked))

    async def _forked(self, asked: Json) -> None:
        client = self.store.client
        made = await self.attempt(client.fork(self.tree, asked["at"], asked["edits"]))
        if made:
            self.notify(f"Forked at event {asked['at']}.")
            self.address.go(f"/runs/{made['executionId']}")
        else:
            self.screen._send_msg({"unforked": True})

    def _moment(self, step: int) -> None:
        self._do(self._at(step))

    async def _at(self, step: int) -> None:
        self.screen.moment = _json(await self.store.client.moment(self.tree, step))

    def _export(self, kind: str) -> None:
        self._do(self._exported(kind))

    async def _exported(self, kind: str) -> None:
        text = await self.store.client.export(self.tree)
        if kind == "ipynb":
            text = await story.told(self.store.client, self.tree, text)
        self.screen._send_msg({"file": {"name": f"{self.tree}.{kind}", "text": text}})

    def _share(self, asked: Json) -> None:
        self._do(self._shared(self._new_link(int(asked["seconds"]), str(asked["note"]))))

    def _unshare(self, share: str) -> None:
        self._do(self._shared(self.store.client.revoke_share(share)))

    def _list_shares(self, _: bool) -> None:
        self._do(self._shared(_nothing()))

    async def _new_link(self, seconds: int, note: str) -> str:
        made = await self.store.client.share(self.tree, {"expiresSeconds": seconds, "note": note})
        return str(made["path"])

    async def _shared(self, work: Awaitable[str | None]) -> None:
        """Do something with the links of this run, and say which there are then."""
        try:
            link, known = await work, await self.store.client.shares()
        except AgentspanError as problem:
            self.screen._send_msg({"sharing": {"problem": problem.message}})
            return
        now = time.time() * 1000
        shares = [
            each for each in known
            if each["executionId"] == self.tree and not each["revokedAt"] and not 0 < each["expiresAt"] <= now
        ]  # fmt: skip
        self.screen._send_msg({"sharing": {"link": link, "shares": shares}})

    def _has(self, has: Json) -> None:
        """The browser says up to which patch and line it knows the run; what was sent before it listened is lost."""
        if has["number"] != self._number:
            self._show_all()
        for name, known in (("log", self.log), ("talk", self.talk)):
            if getattr(self.screen, name) and has[name] != len(known):
                setattr(self.screen, name, _json(known))

    def _do(self, work: Any) -> "asyncio.Task[None]":
        """Do what was asked; what the server refuses is told to the person."""
        doing = asyncio.ensure_future(self._done(work))
        self._doing.add(doing)
        doing.add_done_callback(self._doing.discard)
        return doing

    async def _done(self, work: Any) -> None:
        try:
            await work
        except AgentspanError as problem:
            self.notify(problem.message, is_error=True)


def _said(event: Json) -> Json:
    """An event of the transcript, its words as HTML as well."""
    words = event.get("content") if event["type"] in SPOKEN else None
    return {**event, "html": str(markdown(words))} if isinstance(words, str) and words else event


async def _nothing() -> None:
    pass


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


TABS = ("timeline", "transcript", "graph", "events")
SPOKEN = ("message", "user_message")

ACTS: dict[str, tuple[Callable[[Client, str], Awaitable[None]], str]] = {
    "pause": (lambda client, name: client.pause(name), "Paused: what runs ends, nothing new begins."),
    "resume": (lambda client, name: client.resume(name), "The run goes on."),
    "stop": (lambda client, name: client.stop(name), "The run ends after its present turn."),
    "cancel": (lambda client, name: client.cancel(name, "cancelled in the dashboard"), "Cancelled."),
    "retry": (lambda client, name: client.retry(name), "The run goes on from where it failed."),
}

TOLD: dict[str, Callable[[Run, Any], None]] = {
    "select": Run._select,
    "tab": Run._turn_to,
    "act": Run._act,
    "fork": Run._fork,
    "moment": Run._moment,
    "export": Run._export,
    "shares": Run._list_shares,
    "share": Run._share,
    "unshare": Run._unshare,
    "has": Run._has,
}
"""What the page says, by name."""
