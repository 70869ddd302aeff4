"""The overview: how the runs of a time went, what they cost, why they failed, and what waits for somebody."""

import asyncio
import time
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.figures import RANGES, SAID, Chart, Choices, Figures, Welcome, ranges, window
from agentspan.dashboard.listing import Calm
from agentspan.dashboard.store import News
from agentspan.dashboard.table import Table
from agentspan.dashboard.view import View
from agentspan.drawing import words

Json = dict[str, Any]

CALM_SECONDS = 1.0
WAITING_SHOWN = 6
FAILURES_SHOWN = 6


class Overview(View):
    """All runs of a time, in sums."""

    title = "Overview"

    def build(self) -> Viewable:
        self._calm = Calm(self.again, CALM_SECONDS)
        self.range = Choices(label="Time", sizing_mode=None)
        self.figures = Figures()
        self.chart = Chart(series=SERIES, label="Runs by state over time", min_height=196)
        self.failures = Table(label="Why runs failed", columns=FAILURES)
        self.waiting = Table(label="What waits", columns=WAITING, empty=NOTHING_WAITS)
        self.agents = Table(label="Agents", columns=AGENTS)
        self.welcome = Welcome(code=CODE)
        halves = look.card(self.failures, title="Why runs failed"), look.card(self.waiting, title="What waits")
        for each in halves:
            each.styles = {**each.styles, "flex": "1 1 420px", "min-width": "0"}
        beside = pn.FlexBox(*halves, gap="0 16px", sizing_mode="stretch_width", margin=0)
        self.full = pn.Column(
            look.card(self.figures),
            look.card(self.chart, title="Runs by state"),
            beside,
            look.card(self.agents, title="Agents"),
            sizing_mode="stretch_width", margin=0, visible=False,
        )  # fmt: skip
        self.start = look.card(self.welcome, visible=False)
        self.loading = look.loading()
        self.range.choices = ranges(self.address, "/", self._range)
        heading = look.heading("Overview", self.range)
        return pn.Column(heading, self.loading, self.full, self.start, sizing_mode="stretch_width", margin=0)

    async def read(self) -> Any:
        client, begun, chosen = self.store.client, time.monotonic(), self._range
        since, until, buckets = window(chosen, int(time.time() * 1000))
        stats, requests, stuck, any_run = await asyncio.gather(
            client.stats(since=since, until=until, buckets=buckets),
            client.inbox_page(limit=WAITING_SHOWN),
            client.executions(waiting="worker", size=WAITING_SHOWN, count="none"),
            client.executions(size=1, count="none"),
        )
        self._calm.begin(time.monotonic() - begun)
        if chosen != self._range:  # the person was faster
            return await self.read()
        return {
            "stats": stats,
            "requests": requests["requests"],
            "stuck": stuck["results"],
            "new": not any_run["results"],
        }

    def fill(self, data: Any) -> None:
        self.loading.visible, is_new = False, data["new"]
        self.start.visible, self.full.visible, self.range.visible = is_new, not is_new, not is_new
        stats = data["stats"]
        self.figures.figures = self._figures(stats)
        width = stats["bucketMs"]
        self.chart.param.update(
            length=width,
            buckets=[
                {"at": at, "values": each["counts"], "href": self._runs(since=at, until=at + width)}
                for each in stats["buckets"]
                for at in (each["at"],)
            ],
        )
        self.failures.param.update(
            empty=NOTHING_FAILED | {"text": f"No run that began in {SAID[self._range]} has failed."},
            rows=[self._failure(each) for each in stats["failures"][:FAILURES_SHOWN]],
        )
        self.waiting.rows = self._waiting(data)
        self.agents.param.update(
            empty={"title": "No runs", "text": f"No run began in {SAID[self._range]}."},
            rows=[self._agent(each) for each in stats["agents"]],
        )

    def concerns(self, news: News) -> bool:
        return bool(news.all or ((news.runs or news.requests or news.workers) and self._calm.lets()))

    def arrived(self) -> None:
        self.range.choices = ranges(self.address, "/", self._range)
        super().arrived()

    def close(self) -> None:
        self._calm.close()
        super().close()

    # Parts of it

    @property
    def _range(self) -> str:
        asked = self.address.query.get("range", "24h")
        return asked if asked in RANGES else "24h"

    def _runs(self, **query: Any) -> str:
        return self.address.link("/runs", **query)

    def _figures(self, stats: Json) -> list[Json]:
        totals, durations, waiting = stats["totals"], stats["durations"], stats["waiting"]
        status, within = totals["status"], {"range": self._range}
        failed = sum(status.get(word, 0) for word in FAILED)
        judged = status.get("COMPLETED", 0) + failed
        tokens = totals["promptTokens"] + totals["completionTokens"]
        alone, oldest = waiting["withoutWorker"], waiting["oldestRequestAt"]
        return [
            {"name": "Runs", "value": totals["runs"], "href": self._runs(**within),
             "note": f"{words.count(status['RUNNING'])} running" if status.get("RUNNING") else ""},
            {"name": "Succeeded", "kind": "share", "value": status.get("COMPLETED", 0) / judged if judged else None,
             "note": f"{words.count(failed)} failed" if failed else "", "href": self._runs(status=FAILED, **within),
             "tone": "FAILED" if failed > judged / 10 else None, "title": "Of those that completed or failed"},
            {"name": "Median time", "kind": "duration", "value": durations["p50"] if durations["count"] else None,
             "title": "Half of the runs that have ended took less (p50)"},
            {"name": "p95 time", "kind": "duration", "value": durations["p95"] if durations["count"] else None,
             "title": "95 of 100 runs that have ended took less"},
            {"name": "Cost", "kind": "money", "value": totals["cost"], "unknown": totals["costUnknown"],
             "note": f"{_brief(tokens)} tokens", "href": self.address.link("/costs", range=self._range)},
            {"name": "Wait for people", "value": waiting["requests"], "href": self.address.link("/inbox"),
             "tone": "WAITING" if waiting["requests"] else None,
             "note": f"oldest {words.since(oldest, time.time() * 1000)}" if oldest else ""},
            {"name": "Without a worker", "value": alone, "href": self._runs(waiting="worker"),
             "tone": "FAILED" if alone else None, "title": "Runs with a task that no worker polls for"},
        ]  # fmt: skip

    def _failure(self, failure: Json) -> Json:
        last = failure["lastExecutionId"]
        return {
            "id": last,
            "reason": {"text": failure["reason"] or "no reason given", "href": self.address.link(f"/runs/{last}")},
            "agentName": failure["agentName"],
            "count": failure["count"],
            "lastAt": failure["lastAt"],
        }

    def _waiting(self, data: Json) -> list[Json]:
        link = self.address.link
        asked = [
            {
                "id": each["requestId"],
                "agent": {
                    "text": PATH.join([each["rootAgentName"], *each["path"]]),
                    "href": link(f"/inbox/{each['requestId']}"),
                },
                "what": {"text": f"a person: {each.get('tool') or each['kind']}", "tone": "WAITING"},
                "since": each["since"],
            }
            for each in data["requests"]
        ]  # fmt: skip
        stuck = [
            {
                "id": each["executionId"],
                "agent": {"text": each["agentName"], "href": link(f"/runs/{each['executionId']}")},
                "what": {"text": "a worker that is not there", "tone": "FAILED"},
                "since": each["updateTime"],
            }
            for each in data["stuck"]
        ]
        return sorted([*asked, *stuck], key=lambda each: each["since"])[:WAITING_SHOWN]

    def _agent(self, agent: Json) -> Json:
        name, within = agent["agentName"], {"agent": agent["agentName"], "range": self._range}
        return {
            **agent,
            "id": name,
            "agentName": {"text": name, "href": self.address.link(f"/agents/{name}")},
            "runs": {"text": agent["runs"], "href": self._runs(**within)},
            "failed": {"text": agent["failed"], "href": self._runs(status=FAILED, **within), "tone": "FAILED"}
            if agent["failed"]
            else 0,
            "p50": agent["p50"] or None,
            "p95": agent["p95"] or None,
        }


def _brief(n: int) -> str:
    """`950`, `12.3k`, `4.5M`."""
    for unit, sign in ((1_000_000, "M"), (1_000, "k")):
        if n >= 10 * unit or (unit > 1_000 and n >= unit):
            return f"{n / unit:.1f}{sign}"
    return words.count(n)


PATH = " \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "
FAILED = ["FAILED", "TIMED_OUT"]

SERIES = [
    {"key": word, "name": words.status_word(word), "status": word}
    for word in ("COMPLETED", "RUNNING", "PAUSED", "TERMINATED", "TIMED_OUT", "FAILED")
]
"""From the ground up."""

FAILURES = [
    {"key": "reason", "name": "Reason", "grows": True},
    {"key": "agentName", "name": "Agent", "narrow": True},
    {"key": "count", "name": "Runs", "kind": "count"},
    {"key": "lastAt", "name": "Last", "kind": "since", "align": "right", "spare": 3},
]

WAITING = [
    {"key": "agent", "name": "Agent", "narrow": True},
    {"key": "what", "name": "Waits for", "grows": True},
    {"key": "since", "name": "Since", "kind": "since", "align": "right"},
]

AGENTS = [
    {"key": "agentName", "name": "Agent"},
    {"key": "runs", "name": "Runs", "kind": "count"},
    {"key": "failed", "name": "Failed", "kind": "count"},
    {"key": "p50", "name": "Median", "kind": "duration"},
    {"key": "p95", "name": "p95", "kind": "duration"},
    {"key": "cost", "name": "Cost", "kind": "money"},
]

NOTHING_FAILED = {"title": "Nothing failed"}
NOTHING_WAITS = {"title": "Nothing waits", "text": "No person and no worker is waited for."}

CODE = """\
import os
os.environ["AGENTSPAN_SERVER_URL"] = "{server}"

from agentspan.agents import Agent, AgentRuntime

with AgentRuntime() as runtime:
    runtime.run(Agent("hello", "openai/gpt-4o-mini"), "Say hello in five languages.")"""
