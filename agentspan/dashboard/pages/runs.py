"""The list of runs: searched, narrowed, paged, kept up to date, and acted upon.

All that narrows it stands in the address. The first page shows new runs as they begin, unless the person has scrolled
down or chosen some: then they are counted, and the rows stay where they are.
"""

import asyncio
import logging
import time
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.figures import RANGES
from agentspan.dashboard.listing import Calm, Filters, Listbar, Pager
from agentspan.dashboard.store import News
from agentspan.dashboard.table import Table
from agentspan.dashboard.view import View
from agentspan.drawing import words
from agentspan.errors import AgentspanError

Json = dict[str, Any]

log = logging.getLogger("agentspan.dashboard")

SIZE, MOST = 50, 200
NEWEST = "startTime:DESC"
CALM_SECONDS = 2.0
AT_ONCE = 8
"""So many runs are acted upon at the same time."""


class Runs(View):
    """All runs, newest first."""

    title = "Runs"

    def build(self) -> Viewable:
        self._calm = Calm(self.again, CALM_SECONDS)
        self._counted: Json | None = None
        self._counting: asyncio.Task[None] | None = None
        self._held: int | None = None
        self._before: dict[str, Json] = {}
        self._shown: dict[str, Json] = {}
        self._chosen: dict[str, Json] = {}
        self.filters = Filters()
        self.bar = Listbar(styles=STICKY)
        self.table = Table(label="Runs", columns=COLUMNS, selectable=True, leads=True, empty=LOADING)
        self.pager = Pager()
        self.filters.on_message(self._narrow)
        self.bar.on_message(self._act)
        self.bar.param.watch(lambda _: self.again(), "top")
        self.table.on_message(self._open)
        self.table.param.watch(lambda _: self._choose(), "chosen")
        self.table.param.watch(lambda event: self._sort(event.new), "sort")
        body = look.card(self.filters, self.bar, self.table, self.pager)
        return pn.Column(look.heading("Runs"), body, sizing_mode="stretch_width", margin=0)

    # What is read, and how it is shown

    async def read(self) -> Any:
        query, client = self.address.query, self.store.client
        self.filters.param.update(query=narrowing(query), here=self.address.link("/runs"))
        wanted, stays = asked(query, time.time() * 1000), self._stays
        until = self._held if stays and self._held else None
        frozen = {**wanted, "until": min(until, wanted.get("until", until))} if until else wanted
        page, fresh = await asyncio.gather(
            client.executions(
                **frozen,
                cursor=query.get("cursor", ""),
                size=number(query, "size", SIZE, MOST),
                sort=query.get("sort", NEWEST),
            ),
            self._count_fresh(wanted, until),
        )
        if query != self.address.query:  # the person was faster
            return await self.read()
        self._count_values(query, wanted)
        return {"query": query, "page": page, "fresh": fresh, "held": until}

    def fill(self, data: Any) -> None:
        query, page, runs = data["query"], data["page"], data["page"]["results"]
        if data["held"] is None:
            self._held = max((each["startTime"] for each in runs), default=0) + 1 if _is_first(query) else None
        has_session = any(each["sessionId"] for each in runs)
        self.table.param.update(
            columns=[each for each in COLUMNS if has_session or each["key"] != "sessionId"],
            rows=[self._line(each) for each in runs],
            sort=query.get("sort", NEWEST),
            empty=NONE_SUCH if narrowing(query) else NONE_YET,
        )
        self._shown = {each["executionId"]: each for each in runs}
        self._chosen = {name: self._shown.get(name, each) for name, each in self._chosen.items()}
        self.bar.param.update(
            summary=_summary(page), held=data["held"] is not None, fresh=data["fresh"], **self._choice()
        )
        self._turn(query, page)

    def concerns(self, news: News) -> bool:
        return bool(news.all or news.runs)

    def close(self) -> None:
        self._calm.close()
        if self._counting is not None:
            self._counting.cancel()
        super().close()

    @property
    def _stays(self) -> bool:
        """Whether the rows must stay where they are: the person has scrolled down, or has chosen some."""
        return _is_first(self.address.query) and (not self.bar.top or bool(self._chosen))

    def _count_values(self, query: Json, wanted: Json) -> None:
        """Count how many runs have which value, beside the list, which does not wait for it."""
        narrowed = narrowing(query)
        if narrowed != self._counted or self._calm.lets():
            self._counted = narrowed
            if self._counting is not None:
                self._counting.cancel()
            self._counting = asyncio.ensure_future(self._read_facets(wanted))

    async def _read_facets(self, wanted: Json) -> None:
        """The counts of each thing that is narrowed are those without it."""
        begun, client = time.monotonic(), self.store.client
        chosen = [name for name in FACETS if wanted.get(FACETS[name])]
        try:
            found = await asyncio.gather(
                client.facets(**wanted), *(client.facets(**{**wanted, FACETS[name]: None}) for name in chosen)
            )
        except AgentspanError as problem:
            log.info("no counts: %s", problem)
            return
        self._calm.begin(time.monotonic() - begun)
        self.filters.facets = {
            **found[0],
            **{name: each[name] for name, each in zip(chosen, found[1:], strict=True)},
        }

    async def _count_fresh(self, wanted: Json, until: int | None) -> int:
        if until is None:
            return 0
        since = max(until, wanted.get("since") or 0)
        return int((await self.store.client.executions(**{**wanted, "since": since}, size=1))["totalHits"])

    def _turn(self, query: Json, page: Json) -> None:
        """The links to the pages beside this one."""
        cursor, place, older = query.get("cursor", ""), number(query, "page", 1, 10**9), page["nextCursor"]
        if older:
            self._before[older] = {"cursor": cursor, "page": place if place > 1 else None}
        kept = {key: value for key, value in query.items() if key not in ("cursor", "page")}
        before = self._before.get(cursor, {}) if cursor else None
        first = (place - 1) * number(query, "size", SIZE, MOST) + 1
        shown = len(page["results"])
        self.pager.param.update(
            newer="" if before is None else self.address.link("/runs", **kept, **before),
            older=self.address.link("/runs", **kept, cursor=older, page=place + 1) if older else "",
            first=before == {},
            place=f"{words.count(first)} to {words.count(first + shown - 1)}" if shown else "",
        )

    def _line(self, run: Json) -> Json:
        """A run as a row."""
        name, session, link = run["executionId"], run["sessionId"], self.address.link
        href, ends = link(f"/runs/{name}"), run["durationMs"] if run["endTime"] else None
        state = {"person": "WAITING", "worker": "SCHEDULED"}.get(run["waiting"], run["status"])
        return {
            "id": name,
            "href": href,
            "status": {"text": state, "said": "waits for a worker" if run["waiting"] == "worker" else None,
                       "note": said_of(run), "title": run["reason"] or words.status_word(run["status"])},
            "agentName": {"text": run["agentName"], "note": f"v{run['version']}", "href": href},
            "preview": {"text": run["preview"], "note": "fork" if run["forkedFrom"] else None},
            "startTime": run["startTime"],
            "duration": {"text": ends} if run["endTime"] else {"from": run["startTime"], "text": 0},
            "turns": run["turns"],
            "tokens": run["promptTokens"] + run["completionTokens"],
            "cost": {"text": run["cost"], "unknown": run["costUnknown"]},
            "sessionId": {"text": session, "href": link("/runs", session=session)} if session else "",
            "executionId": {"text": name[-6:], "title": name, "copy": name},
        }  # fmt: skip

    # What the person does

    def _narrow(self, message: Json) -> None:
        """A filter has been set."""
        query = {**self.address.query, **message.get("set", {}), "cursor": None, "page": None}
        self._held = None
        if message.get("clear"):
            self.address.go("/runs")
        elif message.get("typed"):
            self.address.note(**query)
        else:
            self.address.go(self.address.path, **query)

    def _sort(self, order: str) -> None:
        if order != self.address.query.get("sort", NEWEST):
            sort = None if order == NEWEST else order
            self.address.go(self.address.path, **{**self.address.query, "sort": sort, "cursor": None, "page": None})

    def _open(self, message: Json) -> None:
        if name := message.get("open"):
            self.address.go(f"/runs/{name}")

    def _choose(self) -> None:
        """The rows that are ticked: kept while the person turns pages."""
        known = {**self._chosen, **self._shown}
        self._chosen = {name: known[name] for name in self.table.chosen if name in known}
        self.bar.param.update(**self._choice())
        self.again()

    def _choice(self) -> Json:
        """What the line above the list says of the chosen runs."""
        chosen = list(self._chosen.values())
        two = [each["executionId"] for each in sorted(chosen, key=lambda each: each["startTime"])]
        return {
            "chosen": len(chosen),
            "actions": [
                {**action, "able": able, "ask": f"{action['name']} {words.plural(able, 'run')}?"}
                for action, fits in ACTIONS
                if self.store.may(action["key"])
                for able in (sum(each["status"] in fits for each in chosen),)
            ],
            "compare": self.address.link("/compare", a=two[0], b=two[1]) if len(two) == 2 else "",
            "exported": {"columns": EXPORTED, "rows": [[_exported(each, key) for key in EXPORTED] for each in chosen]},
        }  # fmt: skip

    def _act(self, message: Json) -> None:
        """A button of the line above the list."""
        if message.get("clear"):
            self.table.chosen = []
        elif message.get("fresh"):
            self._held = None
            self.table.chosen = []
            self.again()
        elif action := message.get("act"):
            self.begin(self._do(action, message.get("reason") or ""))

    async def _do(self, action: str, reason: str) -> None:
        """Do something with each of the chosen runs that it fits, and say for each what became of it."""
        fits = next(fits for each, fits in ACTIONS if each["key"] == action)
        chosen = [each for each in self._chosen.values() if each["status"] in fits]
        names = [each["executionId"] for each in chosen]
        refused = await (self._stop(names) if action == "stop" else self._bulk(action, names, reason))
        self.bar.outcome = [
            {"id": each["executionId"], "name": f"{each['agentName']} {each['executionId'][-6:]}",
             "href": self.address.link(f"/runs/{each['executionId']}"),
             "done": each["executionId"] not in refused, "why": refused.get(each["executionId"], "")}
            for each in chosen
        ]  # fmt: skip
        self.table.chosen = [name for name in self.table.chosen if name in refused]
        self.again()

    async def _bulk(self, action: str, names: list[str], reason: str) -> dict[str, str]:
        """Why which runs refused."""
        try:
            answer = await self.store.client.bulk(action, names, reason=reason or None)
        except AgentspanError as problem:
            return dict.fromkeys(names, problem.message)
        return dict(answer["bulkErrorResults"])

    async def _stop(self, names: list[str]) -> dict[str, str]:
        refused: dict[str, str] = {}
        gate = asyncio.Semaphore(AT_ONCE)

        async def stop(name: str) -> None:
            async with gate:
                try:
                    await self.store.client.stop(name)
                except AgentspanError as problem:
                    refused[name] = problem.message

        await asyncio.gather(*map(stop, names))
        return refused


def asked(query: Json, now: float) -> Json:
    """What the address asks for, as `client.executions` takes it."""
    found: Json = {name: query.get(key) or None for key, name in NARROWS.items() if name}
    for name in ("since", "until"):
        found[name] = number(found, name, 0, 10**15) if found[name] else None
    if (length := RANGES.get(query.get("range", ""))) and not found["since"]:
        found["since"] = int(now) - length[0]
    return {name: value for name, value in found.items() if value is not None}


def narrowing(query: Json) -> Json:
    """What of an address narrows the list."""
    return {name: value for name, value in query.items() if name in NARROWS}


def number(query: Json, name: str, otherwise: int, most: int) -> int:
    """A number of the address, within reason."""
    said = query.get(name, "")
    return min(max(1, int(said)), most) if said.isascii() and said.isdecimal() else otherwise


def said_of(run: Json) -> str | None:
    """How a run ended, where its state alone does not say it."""
    finish = run["finishReason"]
    return None if finish in PLAIN else str(finish).replace("_", " ")


def _is_first(query: Json) -> bool:
    """Whether this is the page on which new runs appear."""
    return not query.get("cursor") and query.get("sort", NEWEST) == NEWEST


def _summary(page: Json) -> str:
    if page["totalHits"] <= 0:
        return ""
    return f"{'at least ' if page.get('totalCapped') else ''}{words.plural(page['totalHits'], 'run')}"


def _exported(run: Json, key: str) -> Any:
    if key in ("startTime", "endTime"):
        return words.moment(run[key]) if run[key] else ""
    return run[key]


NARROWS: dict[str, str | None] = {
    "q": "free_text",
    "status": "status",
    "agent": "agent_name",
    "model": "model",
    "finish": "finish_reason",
    "session": "session_id",
    "version": "version",
    "cost": "min_cost",
    "waiting": "waiting",
    "since": "since",
    "until": "until",
    "range": None,
}
"""What the list is narrowed by: the name in the address, and the filter."""

FACETS = {
    "status": "status",
    "agentName": "agent_name",
    "model": "model",
    "finishReason": "finish_reason",
    "waiting": "waiting",
}
"""By the facet's name: the filter of it."""

PLAIN = ("", "stop", "error", None)

COLUMNS: list[Json] = [
    {"key": "status", "name": "State", "kind": "status"},
    {"key": "agentName", "name": "Agent", "narrow": True},
    {"key": "preview", "name": "Prompt", "grows": True},
    {"key": "startTime", "name": "Started", "kind": "since", "sortable": True},
    {"key": "duration", "name": "Took", "kind": "duration"},
    {"key": "turns", "name": "Turns", "kind": "count", "spare": 1},
    {"key": "tokens", "name": "Tokens", "kind": "count", "spare": 2},
    {"key": "cost", "name": "Cost", "kind": "money", "spare": 3},
    {"key": "sessionId", "name": "Session", "spare": 1, "narrow": True},
    {"key": "executionId", "name": "Run", "kind": "mono", "spare": 2},
]

ACTIONS: list[tuple[Json, tuple[str, ...]]] = [
    ({"key": "pause", "name": "Pause",
      "says": "What runs now is finished; nothing new begins until they are resumed."}, ("RUNNING",)),
    ({"key": "resume", "name": "Resume", "says": "They go on where they were paused."}, ("PAUSED",)),
    ({"key": "stop", "name": "Stop",
      "says": "They end after the turn that they are in, with what they have."}, ("RUNNING", "PAUSED")),
    ({"key": "terminate", "name": "Cancel", "danger": True, "reason": True,
      "says": "They end now. What they were about to do is not done."}, ("RUNNING", "PAUSED")),
    ({"key": "retry", "name": "Retry", "says": "They go on from the step that failed; what is done is not done again."},
     ("FAILED", "TIMED_OUT", "TERMINATED")),
]  # fmt: skip
"""What can be done with chosen runs, and in which states."""

EXPORTED = [
    "executionId", "agentName", "version", "status", "finishReason", "reason", "startTime", "endTime", "durationMs",
    "turns", "promptTokens", "completionTokens", "cachedTokens", "cost", "costUnknown", "model", "sessionId", "preview",
]  # fmt: skip

STICKY = {"position": "sticky", "top": "0", "z-index": "4", "background": "var(--panel-surface-color)"}
LOADING = {"title": "", "text": "Loading…", "late": True}
NONE_SUCH = {"title": "No such runs", "text": "No run fits all of these filters."}
NONE_YET = {
    "title": "No runs yet",
    "text": "Start one from a notebook or a program:",
    "code": 'runtime.run(Agent("hello", "openai/gpt-4o-mini"), "Say hello.")',
}
