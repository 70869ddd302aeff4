"""The agents: those that are deployed, and those that only ran."""

import asyncio
import time
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.listing import Calm
from agentspan.dashboard.store import News
from agentspan.dashboard.table import Table
from agentspan.dashboard.view import View
from agentspan.dashboard.widget import Widget, param
from agentspan.drawing import words

Json = dict[str, Any]

DAYS = 30
"""Sums are over the runs that began within so many days."""
CALM_SECONDS = 2.0
RECENT = 200
"""So many of the newest runs say when an agent ran last; agents that are not among them are asked for one by one."""
ASKED_AT_ONCE = 40
SHOWN = 300
SEARCHED = 12
"""From so many agents on there is a field to search them."""


class Search(Widget):
    """A field that narrows a list: see `parts/search.js`."""

    module = "search.js"

    text = param.String(default="")
    label = param.String(default="Search")


class Agents(View):
    """A list of the deployed agents with what became of their runs, and one of agents that ran without being deployed.
    `?q=` narrows both."""

    title = "Agents"

    def build(self) -> Viewable:
        self._calm = Calm(self.again, CALM_SECONDS)
        self._last: dict[str, Json] = {}
        self.search = Search(label="Search agents", text=self.address.query.get("q", ""), visible=False, max_width=420,
                             margin=(0, 0, 12, 0))  # fmt: skip
        self.deployed = Table(label="Deployed agents", columns=DEPLOYED, empty=NOTHING)
        self.seen = Table(label="Agents seen in runs", columns=SEEN)
        self.more = pn.pane.HTML(visible=False, margin=(8, 0, 0, 0))
        self.loading = look.loading()
        self.deployed_card = look.card(self.deployed, self.more, visible=False)
        self.seen_card = look.card(
            self.seen, title=f"Not deployed, but seen in runs of the last {DAYS} days", visible=False
        )
        self.search.param.watch(lambda event: self.address.note(q=event.new), "text")
        return pn.Column(
            look.heading("Agents", about=f"Runs, success and cost are those of the last {DAYS} days."),
            self.loading, self.search, self.deployed_card, self.seen_card,
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    async def read(self) -> Any:
        client, begun = self.store.client, time.monotonic()
        now = int(time.time() * 1000)
        agents, schedules, stats, recent = await asyncio.gather(
            client.agents(),
            client.schedules(),
            client.stats(since=now - DAYS * words.DAY, buckets=1),
            client.executions(size=RECENT, count="none"),
        )
        sums = {each["agentName"]: each for each in stats["agents"]}
        await self._look_back(recent["results"], [*(each["name"] for each in agents), *sums])
        self._calm.begin(time.monotonic() - begun)
        return {"agents": agents, "schedules": schedules, "sums": sums}

    def fill(self, data: Any) -> None:
        sums, wanted = data["sums"], self.address.query.get("q", "").strip().lower()
        agents = sorted(data["agents"], key=lambda each: str(each["name"]).lower())
        known = {each["name"] for each in agents}
        others = [each for name, each in sums.items() if name not in known]
        found = [each for each in agents if _fits(each, wanted)]
        self.loading.visible, self.deployed_card.visible = False, True
        self.search.param.update(visible=len(agents) + len(others) >= SEARCHED or bool(wanted), text=wanted)
        ticks = self._ticks(data["schedules"])
        self.deployed.param.update(
            empty=UNFOUND if agents else NOTHING,
            rows=[self._deployed(each, sums.get(each["name"]), ticks.get(each["name"])) for each in found[:SHOWN]],
        )
        self.more.param.update(
            visible=len(found) > SHOWN, object=f"The first {SHOWN} of {words.count(len(found))}: search for others."
        )
        self.seen.rows = [self._seen(each) for each in others if wanted in each["agentName"].lower()]
        self.seen_card.visible = bool(self.seen.rows)

    def arrived(self) -> None:
        if self.data is not None:
            self.fill(self.data)
        super().arrived()

    def concerns(self, news: News) -> bool:
        return bool(news.all or (news.runs and self._calm.lets()))

    def close(self) -> None:
        self._calm.close()
        super().close()

    async def _look_back(self, recent: list[Json], names: list[str]) -> None:
        """Learn of each agent's last run. Who is not among the newest runs has not run since it was last asked for."""
        self._last |= {each["agentName"]: each for each in reversed(recent)}
        unknown = [name for name in dict.fromkeys(names) if name not in self._last][:ASKED_AT_ONCE]
        pages = await asyncio.gather(
            *(self.store.client.executions(agent_name=name, size=1, count="none") for name in unknown)
        )
        self._last |= {name: next(iter(page["results"]), {}) for name, page in zip(unknown, pages, strict=True)}

    def _ticks(self, schedules: list[Json]) -> dict[str, Json]:
        """The schedules of each agent in a word."""
        told: dict[str, list[Json]] = {}
        for each in schedules:
            told.setdefault(each["startWorkflowRequest"]["name"], []).append(each)
        return {
            name: {
                "text": len(those),
                "href": self.address.link(f"/agents/{name}", tab="schedules"),
                "title": "\n".join(f"{each['name']}: {each['cronExpression']}" for each in those),
            }
            for name, those in told.items()
        }

    def _deployed(self, agent: Json, spent: Json | None, ticks: Json | None) -> Json:
        name, tools, below = agent["name"], agent.get("tools") or [], agent.get("agents") or []
        return {
            "id": name,
            "name": {
                "text": name,
                "note": f"v{agent['version']}",
                "href": self.address.link(f"/agents/{name}"),
                "title": agent.get("description") or name,
            },
            "made": _made(agent),
            "tools": {"text": len(tools), "title": "\n".join(tools)} if tools else None,
            "agents": {"text": len(below), "title": "\n".join(below)} if below else None,
            "schedules": ticks,
            **self._sums(name, spent),
        }

    def _seen(self, spent: Json) -> Json:
        name = spent["agentName"]
        return {
            "id": name,
            "name": {"text": name, "href": self.address.link("/runs", agent=name)},
            **self._sums(name, spent),
        }

    def _sums(self, name: str, spent: Json | None) -> Json:
        """What became of the runs of an agent."""
        last, runs = self._last.get(name) or {}, spent["runs"] if spent else 0
        failed = spent["failed"] if spent else 0
        link = self.address.link
        return {
            "last": {
                "text": last["startTime"],
                "href": link(f"/runs/{last['executionId']}"),
            }
            if last
            else None,
            "runs": {"text": runs, "href": link("/runs", agent=name, range=f"{DAYS}d")} if runs else None,
            "success": {
                "text": share(runs - failed, runs),
                "title": f"{words.count(failed)} of {words.plural(runs, 'run')} failed",
                "tone": "FAILED" if 2 * failed >= runs else None,
                "href": link("/runs", agent=name, status=FAILED, range=f"{DAYS}d") if failed else None,
            }
            if runs and (failed or (spent and spent["p50"]))
            else None,
            "cost": spent["cost"] if spent else None,
        }


def share(part: int, whole: int) -> str:
    """`96%`; 100% and 0% only for all and nothing."""
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "< 1%"
    return "> 99%" if 99 < percent < 100 else f"{percent:.0f}%"


def _made(agent: Json) -> Json:
    """What an agent is made of: its model, or how its agents take turns."""
    model, strategy = agent.get("model") or "", (agent.get("strategy") or "").replace("_", " ")
    return {
        "text": model.rpartition("/")[2] or strategy,
        "title": " · ".join(each for each in (model, strategy) if each),
        "note": strategy if model else "",
    }


def _fits(agent: Json, wanted: str) -> bool:
    told = [agent["name"], agent.get("description"), agent.get("model"), *(agent.get("tools") or [])]
    return any(wanted in str(each).lower() for each in told if each)


FAILED = ["FAILED", "TIMED_OUT"]

SUMS = [
    {"key": "last", "name": "Last run", "kind": "since", "align": "right"},
    {"key": "runs", "name": "Runs", "kind": "count"},
    {"key": "success", "name": "Success", "align": "right"},
    {"key": "cost", "name": "Cost", "kind": "money"},
]
DEPLOYED = [
    {"key": "name", "name": "Agent", "grows": True},
    {"key": "made", "name": "Model or strategy", "spare": 3},
    {"key": "agents", "name": "Agents", "kind": "count", "spare": 2},
    {"key": "tools", "name": "Tools", "kind": "count", "spare": 2},
    {"key": "schedules", "name": "Schedules", "kind": "count", "spare": 1},
    *SUMS,
]
SEEN = [{"key": "name", "name": "Agent", "grows": True}, *SUMS]

NOTHING = {
    "title": "No agent is deployed",
    "text": "A deployed agent can be started by its name, from here, by a schedule or by any program.",
    "code": 'AgentRuntime().deploy(Agent("hello", "openai/gpt-4o-mini"))',
}
UNFOUND = {"title": "No agent has this", "text": "Names, descriptions, models and tools are searched."}
