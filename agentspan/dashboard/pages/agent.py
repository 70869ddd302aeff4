"""One agent: what it is made of, its versions and what differs between them, its start, and its schedules."""

import asyncio
import json
import time
from html import escape
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import panel as pn
from panel.viewable import Viewable

from agentspan.client.errors import AgentNotFoundError
from agentspan.dashboard import look
from agentspan.dashboard.address import Address
from agentspan.dashboard.beside import beside
from agentspan.dashboard.definition import definition
from agentspan.dashboard.figures import Figures
from agentspan.dashboard.listing import Calm
from agentspan.dashboard.pages.agents import DAYS, FAILED, share
from agentspan.dashboard.store import News, Store
from agentspan.dashboard.view import View
from agentspan.dashboard.widget import Widget, param
from agentspan.drawing import words
from agentspan.errors import AgentspanError

Json = dict[str, Any]

CALM_SECONDS = 2.0
MOMENTS = 5


class Head(Widget):
    """The top of the page: see `parts/agenthead.js`."""

    module = "agenthead.js"
    style = "agent.css"

    base = param.String(default="")
    server = param.String(default="")
    about = param.Dict(default={})
    notice = param.String(default="")
    tabs = param.List(default=[])


class Versions(Widget):
    """The versions and what differs: see `parts/versions.js`."""

    module = "versions.js"
    style = "agent.css"

    versions = param.List(default=[])
    before = param.Integer(default=0)
    after = param.Integer(default=0)
    changes = param.List(default=None, allow_None=True)


class Start(Widget):
    """The form that starts a run: see `parts/startform.js`."""

    module = "fields.js startform.js"
    style = "agent.css"

    version = param.Integer(default=0)
    busy = param.Boolean(default=False)
    problem = param.String(default="")
    unserved = param.List(default=[])


class Schedules(Widget):
    """The schedules and the form that makes one: see `parts/schedules.js`."""

    module = "fields.js schedules.js"
    style = "agent.css"

    agent = param.String(default="")
    versions = param.List(default=[])
    schedules = param.List(default=[])
    taken = param.List(default=[], doc="The names of the schedules of other agents.")
    preview = param.Dict(default={})
    problem = param.Dict(default={})
    saved = param.Integer(default=0)


class Agent(View):
    """A deployed agent by its name. `?version=` is the one that is shown, else the latest; `?tab=` what of it; `?from=`
    and `?to=` are the versions that are compared."""

    def __init__(self, store: Store, address: Address | None = None, *, name: str, **params: Any) -> None:
        self.name_asked = unquote(name)
        self.title = self.name_asked
        self._configs: dict[str, Json] = {}
        self._changes: dict[tuple[int, int], list[Json]] = {}
        self._moments: dict[tuple[str, str, int], list[int]] = {}
        super().__init__(store, address, **params)

    def build(self) -> Viewable:
        self._calm = Calm(self.again, CALM_SECONDS)
        self.head = Head(base=self.address.base, server=self.store.client.url)
        self.figures = Figures()
        self.definition = pn.pane.HTML(sizing_mode="stretch_width", margin=0)
        self.versions = Versions()
        self.start = Start()
        self.schedules = Schedules(agent=self.name_asked)
        self.missing = pn.pane.HTML(visible=False, sizing_mode="stretch_width")
        self.loading = look.loading()
        self.head.on_message(self._told)
        self.versions.on_message(self._told)
        self.start.on_message(self._told)
        self.schedules.on_message(self._told)
        self.tabs = {
            "definition": pn.Column(
                look.card(self.figures), look.card(self.definition),
                sizing_mode="stretch_width", margin=0, visible=False,
            ),
            "versions": look.card(self.versions, visible=False),
            "start": look.card(self.start, visible=False),
            "schedules": look.card(self.schedules, visible=False),
        }  # fmt: skip
        return pn.Column(
            self.head, self.loading, self.missing, *self.tabs.values(), sizing_mode="stretch_width", margin=0
        )

    # Reading

    async def read(self) -> Any:
        client, name, begun = self.store.client, self.name_asked, time.monotonic()
        try:
            versions = await client.versions(name)
        except AgentNotFoundError:
            page = await client.executions(agent_name=name, size=1)
            return {"missing": page.get("totalHits", len(page["results"]))}
        known = {each["version"]: each for each in versions}
        version, tab = self._number("version"), self._tab
        shown = known.get(version or 0, versions[0])
        config = await self._config(shown)
        schedules, details = await asyncio.gather(client.schedules(), self._details(tab, known, config))
        self._calm.begin(time.monotonic() - begun)
        return {
            "versions": versions,
            "shown": shown,
            "config": config,
            "schedules": schedules,
            "tab": tab,
            "lost": version if version and version not in known else None,
            **details,
        }

    async def _config(self, shown: Json) -> Json:
        """The agentConfig of a version; it never changes."""
        if shown["checksum"] not in self._configs:
            self._configs[shown["checksum"]] = await self.store.client.agent(self.name_asked, shown["version"])
        return self._configs[shown["checksum"]]

    async def _details(self, tab: str, known: dict[int, Json], config: Json) -> Json:
        """What one tab alone shows."""
        client, name = self.store.client, self.name_asked
        match tab:
            case "definition":
                since = int(time.time() * 1000) - DAYS * words.DAY
                stats, last = await asyncio.gather(
                    client.stats(agent_name=name, since=since, buckets=1),
                    client.executions(agent_name=name, size=1, count="none"),
                )
                return {"stats": stats, "last": next(iter(last["results"]), None)}
            case "versions":
                before, after = self._compared(known)
                return {"compared": (before, after), "changes": await self._differences(before, after)}
            case "start":
                plan, roster = await asyncio.gather(client.compile({"agentConfig": config}), client.workers())
                served = {each["name"] for each in roster["queues"] if each["state"] != "unserved"}
                return {"unserved": [each for each in plan["requiredWorkers"] if each not in served]}
            case _:
                return {"moments": await self._next(await client.schedules(name))}

    def _compared(self, known: dict[int, Json]) -> tuple[int, int]:
        """The versions that are compared: those of the address, else the last two."""
        order = list(known)
        asked = self._number("from"), self._number("to")
        after = asked[1] if asked[1] in known else order[0]
        before = asked[0] if asked[0] in known else next((each for each in order if each < (after or 0)), order[-1])
        return before or order[-1], after or order[0]

    async def _differences(self, before: int, after: int) -> list[Json]:
        if before == after:
            return []
        if (before, after) not in self._changes:
            found = await self.store.client.diff(self.name_asked, before, after)
            self._changes[before, after] = [_change(each) for each in found]
        return self._changes[before, after]

    async def _next(self, schedules: list[Json]) -> dict[str, list[int]]:
        """When each schedule comes next, a few times ahead."""
        return {each["name"]: await self._ahead(each) for each in schedules if not each["paused"]}

    async def _ahead(self, schedule: Json) -> list[int]:
        due = schedule["nextRunTime"]
        if not due:
            return []
        key = schedule["cronExpression"], schedule["zoneId"], int(due)
        if key not in self._moments:
            coming = await self.store.client.next_moments(key[0], MOMENTS, key[1])
            self._moments[key] = [due, *(each for each in coming if each > due)][:MOMENTS]
        return self._moments[key]

    # Showing

    def fill(self, data: Any) -> None:
        self.loading.visible = False
        is_missing = "missing" in data
        self.missing.param.update(visible=is_missing, object=self._say_missing(data["missing"]) if is_missing else "")
        self.head.visible = not is_missing
        if is_missing:
            for each in self.tabs.values():
                each.visible = False
            return
        config, shown = data["config"], data["shown"]
        self.title = self.name_asked
        self.head.param.update(
            about=self._about(config, shown, data["versions"]),
            notice=LOST.format(data["lost"], shown["version"]) if data["lost"] else "",
            tabs=self._tabs(data),
        )
        FILLS[data["tab"]](self, data)
        for name, each in self.tabs.items():
            each.visible = name == data["tab"]

    def _fill_definition(self, data: Json) -> None:
        self.figures.figures = self._figures(data["stats"], data["last"])
        self.definition.object = str(definition(data["config"]))

    def _fill_versions(self, data: Json) -> None:
        latest = data["versions"][0]
        before, after = data["compared"]
        self.versions.param.update(
            versions=[
                {
                    "version": each["version"],
                    "at": each["updateTime"],
                    "checksum": each["checksum"],
                    "same": each["checksum"] == latest["checksum"],
                    "href": self._here(tab="definition", version=each["version"]),
                }
                for each in data["versions"]
            ],
            before=before,
            after=after,
            changes=data["changes"],
        )

    def _fill_start(self, data: Json) -> None:
        self.start.param.update(version=data["shown"]["version"], unserved=data["unserved"])

    def _fill_schedules(self, data: Json) -> None:
        name = self.name_asked
        own = [each for each in data["schedules"] if each["startWorkflowRequest"]["name"] == name]
        self.schedules.param.update(
            versions=[each["version"] for each in data["versions"]],
            schedules=[self._schedule(each, data["moments"].get(each["name"], [])) for each in own],
            taken=[each["name"] for each in data["schedules"] if each not in own],
        )

    def concerns(self, news: News) -> bool:
        return bool(news.all or (news.runs and self._calm.lets()))

    def close(self) -> None:
        self._calm.close()
        super().close()

    @property
    def _tab(self) -> str:
        asked = self.address.query.get("tab", "")
        is_there = asked in TABS and (asked != "start" or self.store.may("start"))
        return asked if is_there else next(iter(TABS))

    def _number(self, name: str) -> int | None:
        asked = self.address.query.get(name, "")
        return int(asked) if asked.isdecimal() else None

    def _here(self, **query: Any) -> str:
        return self.address.link(f"/agents/{self.name_asked}", **query)

    def _about(self, config: Json, shown: Json, versions: list[Json]) -> Json:
        name, link = self.name_asked, self.address.link
        model, below = config.get("model") or "", config.get("agents") or []
        strategy = str(config.get("strategy") or "handoff").replace("_", " ") if below else ""
        made = [model, f"{strategy} of {words.plural(len(below), 'agent')}" if below else ""]
        return {
            "name": name,
            "description": config.get("description") or "",
            "made": " · ".join(each for each in made if each),
            "version": shown["version"],
            "versions": [{"version": each["version"], "at": each["updateTime"]} for each in versions],
            "links": {
                "Runs": link("/runs", agent=name),
                **({"Chat": link(f"/chat/{name}")} if self.store.may("start") else {}),
            },
            "copies": _copies(name, shown["version"], shown is versions[0], config),
        }

    def _tabs(self, data: Json) -> list[Json]:
        own = [each for each in data["schedules"] if each["startWorkflowRequest"]["name"] == self.name_asked]
        badges = {"versions": len(data["versions"]), "schedules": len(own)}
        version = self._number("version")
        return [
            {
                "key": key,
                "name": name,
                "href": self._here(tab=key if key != "definition" else None, version=version),
                "current": key == data["tab"],
                "badge": badges.get(key) or 0,
            }
            for key, name in TABS.items()
            if key != "start" or self.store.may("start")
        ]

    def _figures(self, stats: Json, last: Json | None) -> list[Json]:
        totals, times, name = stats["totals"], stats["durations"], self.name_asked
        runs, failed = totals["runs"], sum(totals["status"].get(each, 0) for each in FAILED)
        link = self.address.link
        return [
            {"name": f"Runs in {DAYS} days", "value": runs, "href": link("/runs", agent=name, range=f"{DAYS}d")},
            {"name": "Failed", "value": failed, "note": share(failed, runs) if failed else "",
             "tone": "FAILED" if failed else None,
             "href": link("/runs", agent=name, status=FAILED, range=f"{DAYS}d") if failed else None},
            {"name": "Median", "kind": "duration", "value": times["p50"] if times["count"] else None},
            {"name": "p95", "kind": "duration", "value": times["p95"] if times["count"] else None},
            {"name": "Cost", "kind": "money", "value": totals["cost"], "unknown": totals["costUnknown"]},
            {"name": "Last run", "value": words.since(last["startTime"], int(time.time() * 1000)) if last else None,
             "href": link(f"/runs/{last['executionId']}") if last else None},
        ]  # fmt: skip

    def _schedule(self, schedule: Json, moments: list[int]) -> Json:
        name, begun = schedule["name"], schedule["startWorkflowRequest"]
        given, last = begun["input"], schedule["lastExecutionId"]
        return {
            "name": name,
            "brief": name.removeprefix(f"{self.name_asked}-"),
            "cron": schedule["cronExpression"],
            "zone": schedule["zoneId"],
            "moments": moments,
            "paused": schedule["paused"],
            "last": schedule["lastRunTime"],
            "lastHref": self.address.link(f"/runs/{last}") if last else None,
            "problem": schedule["problem"] or "",
            "prompt": str(given.get("prompt") or ""),
            "hasMore": bool(given.get("context") or given.get("media")),
            "version": begun.get("version"),
            "overlap": schedule["overlapPolicy"],
        }

    def _say_missing(self, runs: int) -> str:
        link, name = self.address.link, self.name_asked
        said = f"It has {words.plural(runs, 'run')}: " if runs else "It may be a part of another agent. "
        where = f'<a style="color:inherit" href="{escape(link("/runs", agent=name))}">see them</a>. ' if runs else ""
        code = f'with AgentRuntime() as runtime:\n    runtime.deploy(Agent("{name}", …))'
        return MISSING.format(
            name=escape(name), said=said, where=where, agents=escape(link("/agents")), code=escape(code)
        )

    # What the person asks for

    def _told(self, said: Json) -> None:
        match said:
            case {"version": int(version)}:
                self.address.go(self.address.path, **{**self.address.query, "version": version})
            case {"tab": str(tab)}:
                self.address.note(tab=tab)
            case {"compare": [int(before), int(after)]}:
                self.versions.param.update(before=before, after=after, changes=self._changes.get((before, after)))
                self.address.note(**{"from": before, "to": after})
            case {"back": int(version)}:
                self.begin(self._roll_back(version))
            case {"start": dict(given)}:
                self.begin(self._start(given))
            case {"preview": {"cron": str(cron), "zone": str(zone)}}:
                self.begin(self._preview(cron, zone))
            case {"save": dict(given)}:
                self.begin(self._save(given))
            case {"do": str(what), "name": str(name)} if what in ACTS:
                self.begin(self._act(what, name))

    async def _roll_back(self, version: int) -> None:
        made = await self.attempt(self.store.client.rollback(self.name_asked, version))
        if made:
            self.notify(f"Version {made['version']} is what version {version} was.")
            self.address.note(**{"from": None, "to": None, "version": None})

    async def _start(self, given: Json) -> None:
        """Start a run, and go there."""
        if self.start.busy:
            return
        self.start.param.update(busy=True, problem="")
        request = {key: given[key] for key in STARTED if key in given}
        try:
            started = await self.store.client.start(
                {
                    **request,
                    "agentName": self.name_asked,
                    "version": self.start.version,
                    "idempotencyKey": str(uuid4()),
                }
            )
        except AgentspanError as problem:
            self.start.param.update(busy=False, problem=problem.message)
            return
        self.start.busy = False
        self.address.go(f"/runs/{started['executionId']}")

    async def _preview(self, cron: str, zone: str) -> None:
        shown: Json = {"cron": cron, "zone": zone, "moments": [], "error": "", "field": ""}
        try:
            shown["moments"] = await self.store.client.next_moments(cron, MOMENTS, zone)
        except AgentspanError as problem:
            shown |= {"error": problem.message, "field": _field(problem.message)}
        self.schedules.preview = shown

    async def _save(self, given: Json) -> None:
        """Keep a schedule; what this form does not show of the one before stays as it was."""
        before = next((each for each in self.data["schedules"] if each["name"] == given["name"]), None)
        try:
            await self.store.client.save_schedule(self._request(given, before))
        except AgentspanError as problem:
            self.schedules.problem = {
                "field": _field(problem.message), "text": problem.message, "number": time.monotonic(),
            }  # fmt: skip
            return
        self.schedules.param.update(problem={}, saved=self.schedules.saved + 1)
        self.again()

    def _request(self, given: Json, before: Json | None) -> Json:
        kept = {key: before[key] for key in KEPT if before.get(key) is not None} if before else {}
        begun = dict(before["startWorkflowRequest"]) if before else {"input": {}}
        begun["input"] = {**begun["input"], "prompt": given.get("prompt") or ""}
        begun |= {"name": self.name_asked, "version": given.get("version")}
        return {
            **kept,
            "name": given["name"],
            "cronExpression": given["cron"],
            "zoneId": given["zone"],
            "overlapPolicy": given.get("overlap") or "skip",
            "startWorkflowRequest": begun,
        }

    async def _act(self, what: str, name: str) -> None:
        client, brief = self.store.client, name.removeprefix(f"{self.name_asked}-")
        done = await self.attempt(getattr(client, ACTS[what][0])(name), ACTS[what][1].format(brief))
        if what == "run" and isinstance(done, dict):
            self.address.go(f"/runs/{done['executionId']}")


def _change(change: Json) -> Json:
    """A place that differs, for the eye."""
    before, after = change["before"], change["after"]
    what = "added" if before is None else "removed" if after is None else "changed"
    return {"path": change["path"] or "all", "what": what, "rows": beside(before, after)}


def _field(message: str) -> str:
    """Which field of the schedule a refusal is about."""
    return next((field for word, field in FIELDS.items() if word in message), "")


def _copies(name: str, version: int, is_latest: bool, config: Json) -> list[list[str]]:
    """Ways to start this agent from elsewhere, and what it is."""
    asked = "" if is_latest else f", version={version}"
    body = {"agentName": name, **({} if is_latest else {"version": version}), "prompt": "Your prompt"}
    return [
        ["Python", f'{PYTHON}    result = runtime.run({json.dumps(name)}, "Your prompt"{asked})\n'],
        ["curl", f"curl {{server}}/api/agent/start -H 'Content-Type: application/json' -d '{json.dumps(body)}'"],
        ["JSON", json.dumps(config, indent=2, ensure_ascii=False)],
    ]


TABS = {"definition": "Definition", "versions": "Versions", "start": "Start", "schedules": "Schedules"}
FILLS = {
    "definition": Agent._fill_definition,
    "versions": Agent._fill_versions,
    "start": Agent._fill_start,
    "schedules": Agent._fill_schedules,
}
STARTED = ("prompt", "sessionId", "media", "context", "budget")
KEPT = ("paused", "runCatchupScheduleInstances", "scheduleStartTime", "scheduleEndTime", "description")
FIELDS = {"cron expression": "cron", "time zone": "zone"}
ACTS = {
    "run": ("run_schedule", "{} has begun a run."),
    "pause": ("pause_schedule", "{} rests."),
    "resume": ("resume_schedule", "{} goes on."),
    "delete": ("delete_schedule", "{} is deleted."),
}
"""By name: the method of the client, and what is said then."""

LOST = "There is no version {0}; this is version {1}."
PYTHON = "from agentspan.agents import AgentRuntime\n\nwith AgentRuntime() as runtime:\n"
MISSING = """<div style="padding:48px 16px;text-align:center;font-size:14px">
<h1 style="font-size:18px;font-weight:600;margin:0 0 6px">No agent “{name}” is deployed</h1>
<p style="margin:0 0 16px">{said}{where}The <a href="{agents}" style="color:inherit">deployed agents</a> are here.</p>
<pre style="display:inline-block;text-align:left;margin:0;font-size:12.5px;opacity:.8">{code}</pre></div>"""
